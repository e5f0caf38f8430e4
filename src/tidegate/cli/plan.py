"""The verb `plan`: the jobs that a batch file means."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from tidegate import agents, batch, files, settings
from tidegate.look.desk import note


def plan(args: Namespace) -> int:
    """Print the expanded jobs as lines of a JSONL batch, and run nothing; 0. Raises BadInput."""
    loaded = settings.load(args.config, os.environ)
    for warning in loaded.warnings:
        note(warning)
    known = agents.known()
    read = files.read_batch(
        args.file,
        agents=known.names,
        recognise=known.recognise,
        has_limits=known.has_limits,
        accounts=settings.accounts(loaded.settings),
    )
    sys.stdout.write(batch.as_jsonl(read.jobs))
    return 0
