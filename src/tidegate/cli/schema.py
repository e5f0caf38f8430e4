"""The verb `schema`: what a batch file may say, as JSON Schema."""

from __future__ import annotations

import json
from argparse import Namespace

from tidegate.batch.schema import schema as of_batch


def schema(args: Namespace) -> int:
    """Print the JSON Schema of batch files; 0."""
    print(json.dumps(of_batch(), indent=None if args.json else 2))
    return 0
