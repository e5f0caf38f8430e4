"""The verb `plan`: the jobs that a batch file means."""

from __future__ import annotations

import sys
from argparse import Namespace

from tidegate import agents, batch, files, settings
from tidegate.cli.config import loaded


def plan(args: Namespace) -> int:
    """Print the expanded jobs, and the hours that were said, as lines of a JSONL batch; 0. Raises BadInput."""
    said = loaded(args).settings
    known = agents.known(settings.agents(said))
    read = files.read_batch(
        args.file,
        agents=known.names,
        recognise=known.recognise,
        has_limits=known.has_limits,
        accounts=settings.accounts(said),
    )
    sys.stdout.write(batch.head_as_jsonl(read) + batch.as_jsonl(read.jobs))
    return 0
