"""The verbs by which a person steers: what each does, its arguments and an example."""

from __future__ import annotations

from argparse import ArgumentParser

from tidegate.cli.arguments import Verb, config_flag, job_argument, jobs_argument, json_flag, scope_argument, text


def _definition(parser: ArgumentParser, *, of: str) -> None:
    """What a new job and a changed one may say alike."""
    parser.add_argument("--agent", metavar="AGENT", help="the agent that gets the PROMPT")
    parser.add_argument("--stdin", action="store_true", help="the prompt, or a command's input, is standard input")
    parser.add_argument("--cwd", metavar="DIR", help=f"where it works (default: {of})")
    parser.add_argument("--account", metavar="ACCOUNT", help="whose limits bind it (default: named like its agent)")
    parser.add_argument("--priority", metavar="N", help="greater ones go first")
    parser.add_argument("--timeout", metavar="D", help='end an attempt after this much work ("2h")')
    parser.add_argument("--max-output", metavar="SIZE", help='end an attempt that prints more than this ("200MB")')
    parser.add_argument("--memory", metavar="SIZE", help='the most that its processes may use together ("6GB")')
    parser.add_argument("--pids", metavar="N", help="the most processes and threads it may have")
    parser.add_argument("--cpu-weight", metavar="N", help="its share of the processors beside others (100 is usual)")
    parser.add_argument("--max-attempts", metavar="N", help="how often it is tried")
    parser.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="a label to find it by; again for more"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable for it, without a value as it is here; again for more",
    )
    config_flag(parser)


def _submit(parser: ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what the agent is to do")
    _definition(parser, of="here")
    parser.add_argument(
        "--after", action="append", type=text, default=[], metavar="JOB", help="only when this one has succeeded"
    )
    parser.add_argument("--at", metavar="TIME", help='not before this ("07:00", "fri 7pm", "2026-01-31 07:00")')
    parser.add_argument("--in", dest="delay", metavar="D", help='not before this long from now ("90m")')
    parser.add_argument("--name", dest="id", metavar="NAME", help="the same name again is the same job (default: new)")
    parser.add_argument("--batch", default="cli", metavar="BATCH", help="the batch that it belongs to (default: cli)")
    parser.add_argument("--group", metavar="GROUP", help="its part of the batch")
    parser.add_argument("--update", action="store_true", help="a queued job of that name takes the new definition")
    parser.add_argument("--wait", action="store_true", help="wait for its end; the exit code is that of `wait`")
    json_flag(parser, "the job as one object")


def _edit(parser: ArgumentParser) -> None:
    job_argument(parser)
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what the agent is to do instead")
    _definition(parser, of="as it was")
    json_flag(parser, "the job as one object")


def _cancel(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    json_flag(parser, "one object for each job, one a line")


def _published(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    json_flag(parser, "one object for each job, one a line")


def _retry(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    parser.add_argument("--again", action="store_true", help="also a job that has succeeded")
    parser.add_argument(
        "--clean", action="store_true", help="from the beginning: without its session, and its agent too"
    )
    json_flag(parser, "one object for each job, one a line")


def _priority(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    parser.add_argument("priority", metavar="N", help="greater ones go first; 0 is usual")
    json_flag(parser, "one object for each job, one a line")


def _pause(parser: ArgumentParser) -> None:
    scope_argument(parser, "pause")
    parser.add_argument("--until", metavar="TIME", help='when the pause ends by itself ("07:00", "2h", "fri 7pm")')
    parser.add_argument(
        "--now", dest="now", action="store_const", const="setting", default="", help="stop what runs too"
    )
    for how, does in (("freeze", "let it stand still"), ("interrupt", "end it, and queue it again with its session")):
        parser.add_argument(f"--now={how}", dest="now", action="store_const", const=how, default="", help=does)
    parser.add_argument("--reason", type=text, default="", metavar="TEXT", help="why, for whoever looks")
    config_flag(parser)


def _resume(parser: ArgumentParser) -> None:
    scope_argument(parser, "resume")


def _drain(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until it has left")
    json_flag(parser, "one object")


def _upgrade(parser: ArgumentParser) -> None:
    json_flag(parser, "one object")


VERBS = {
    "submit": Verb(
        "Queue one job and print its number",
        "tidegate.cli.submit:submit",
        _submit,
        'tidegate submit --label night=1 -- claude -p "Bring the docs in line with the code"',
        "Either --agent AGENT with a PROMPT, or -- and a whole command. `tidegate serve` starts what is queued.",
        command=True,
    ),
    "edit": Verb(
        "Change what a queued job is to do; what is not said stays",
        "tidegate.cli.edit:edit",
        _edit,
        'tidegate edit 17 --account claude-work "Bring the README in line with the code"',
        command=True,
    ),
    "cancel": Verb(
        "End jobs: a queued one at once, a running one with its agent",
        "tidegate.cli.jobs:cancel",
        _cancel,
        "tidegate cancel 17-20",
    ),
    "published": Verb(
        "Say that the work of jobs is published, where nobody knew and a person has looked: they have succeeded",
        "tidegate.cli.jobs:published",
        _published,
        "tidegate published 17",
        "Where it is not published after all, `tidegate resume job:17` lets it be done again.",
    ),
    "retry": Verb(
        "Queue jobs again that have failed, been cancelled or skipped, with all their attempts and their session",
        "tidegate.cli.jobs:retry",
        _retry,
        "tidegate retry 'nightly:*'",
    ),
    "priority": Verb(
        "Move queued jobs in the queue",
        "tidegate.cli.jobs:priority",
        _priority,
        "tidegate priority 17 18 10",
    ),
    "pause": Verb(
        "Start nothing more in a scope; with --now, what runs stops too",
        "tidegate.cli.steer:pause",
        _pause,
        'tidegate pause claude-max --until 07:00 --reason "I need it myself"',
        "The pause outlives a reset, a restart and a reboot: only its own end or `tidegate resume` of the same scope\n"
        "ends it. --now alone does what the setting supervisor.pause says.",
    ),
    "resume": Verb(
        "End a pause, or a wait for a person, of a scope; of an account also its wait for a reset",
        "tidegate.cli.steer:resume",
        _resume,
        "tidegate resume claude-max",
        "Without SCOPE it ends a pause of everything or of this host; pauses of single scopes stay, and are listed.\n"
        "After a usage limit one job goes first, then 2, 4 and so on; a new refusal shuts the account again.",
    ),
    "drain": Verb(
        "Let the supervisor start nothing more, and leave when what runs has ended",
        "tidegate.cli.steer:drain",
        _drain,
        "tidegate drain --wait",
    ),
    "upgrade": Verb(
        "Let the supervisor become the version that is installed now; its agents run on",
        "tidegate.cli.upgrade:upgrade",
        _upgrade,
        "tidegate upgrade",
        "The new version reads the configuration first: where it refuses, the old one goes on. Exit codes: 0, or 5.",
    ),
}
