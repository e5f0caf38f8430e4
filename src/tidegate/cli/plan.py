"""The verb `plan`: the jobs that a batch file means."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from tidegate import batch, files, settings
from tidegate.agents.roster import known
from tidegate.look.desk import note


def plan(args: Namespace) -> int:
    """Print the expanded jobs as lines of a JSONL batch, and run nothing; 0. Raises BadInput."""
    loaded = settings.load(args.config, os.environ)
    for warning in loaded.warnings:
        note(warning)
    agents = known(loaded.settings)
    read = files.read_batch(
        args.file,
        agents=agents.names,
        recognise=agents.recognise,
        has_limits=agents.has_limits,
        accounts=settings.accounts(loaded.settings),
    )
    sys.stdout.write(batch.as_jsonl(read.jobs))
    return 0
