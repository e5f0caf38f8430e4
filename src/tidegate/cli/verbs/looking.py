"""The verbs that look: what each does, its arguments and an example."""

from __future__ import annotations

from argparse import ArgumentParser

from tidegate.cli.arguments import Verb, age, jobs_argument, json_flag, text, whole

REPORTS = ("md", "html", "jsonl", "csv", "junit", "summary")
STATES = ("queued", "running", "succeeded", "failed", "error", "cancelled", "skipped")


def _status(parser: ArgumentParser) -> None:
    json_flag(parser, "one object; times in UTC")


def _list(parser: ArgumentParser) -> None:
    jobs_argument(parser, nargs="*", more="; default: every job")
    parser.add_argument(
        "--state", action="append", default=[], choices=STATES, metavar="STATE", help=f"one of {', '.join(STATES)}"
    )
    parser.add_argument("--batch", type=text, metavar="BATCH", help="only jobs of this batch")
    parser.add_argument("--account", type=text, metavar="ACCOUNT", help="only jobs of this account")
    parser.add_argument("--label", type=text, metavar="NAME[=VALUE]", help="only jobs with this label")
    parser.add_argument("--all", action="store_true", help="every job in the order of their numbers")
    parser.add_argument("--limit", type=whole, metavar="N", help="at most N jobs (default: 100; with --json: all)")
    json_flag(parser, "one object for each job, one a line; times in UTC")


def _show(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    json_flag(parser, "one object for each job, one a line; times in UTC")


def _logs(parser: ArgumentParser) -> None:
    jobs_argument(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on across attempts until the job has ended")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--attempt", type=whole, metavar="N", help="this attempt instead of the last")
    which.add_argument("--stage", choices=("agent", "check", "publish"), help="the last attempt of this stage")
    parser.add_argument("--stderr", action="store_true", help="what went to standard error")
    json_flag(parser, "one object for each line")


def _events(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--job",
        type=text,
        action="append",
        default=[],
        metavar="JOB",
        help="only what happened to this job; again for more",
    )
    parser.add_argument("--batch", type=text, metavar="BATCH", help="only what happened to jobs of this batch")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    json_flag(parser, "one object for each event, one a line; times in UTC")


def _wait(parser: ArgumentParser) -> None:
    jobs_argument(parser, more=", or a batch")
    parser.add_argument(
        "--timeout", type=text, metavar="D", help='give up after this long ("90s", "2h"), with code 124'
    )
    json_flag(parser, "one object at the end")


def _accounts(parser: ArgumentParser) -> None:
    parser.add_argument("accounts", type=text, nargs="*", metavar="ACCOUNT", help="only these (default: all)")
    json_flag(parser, "one object for each account, one a line; times in UTC")


def _report(parser: ArgumentParser) -> None:
    which = "a batch's name, the file name at its end, or '#N'"
    parser.add_argument("batch", type=text, nargs="?", metavar="BATCH", help=which)
    parser.add_argument("--history", action="store_true", help="tell of all batches: limits, recovery, retries, cost")
    parser.add_argument("--since", type=age, metavar="D", help="with --history: of the last 30d alone, for example")
    json_flag(parser, "with --history: one object")
    parser.add_argument("--into", metavar="DIR", help="write every form into this directory, made where it is missing")
    parser.add_argument(
        "--format", choices=REPORTS, metavar="FORM", help=f"one form alone: {', '.join(REPORTS)} (default: md)"
    )


VERBS = {
    "status": Verb(
        "Tell on one screen what works, what waits and why, and what needs a person",
        "tidegate.look.status:status",
        _status,
        "tidegate status",
    ),
    "list": Verb(
        "List jobs with where they stand and why",
        "tidegate.look.jobs:listing",
        _list,
        "tidegate list --state queued --account claude-max",
        "What runs comes first, then what is queued, then what has ended, the newest first.",
    ),
    "show": Verb(
        "Show jobs: what each is to do, why it is not running, and its attempts",
        "tidegate.look.job:show",
        _show,
        "tidegate show nightly:train/3",
    ),
    "logs": Verb(
        "Print what the agents of jobs printed, byte for byte",
        "tidegate.look.output:logs",
        _logs,
        "tidegate logs -f train/3",
        "Without --attempt it is the last attempt. Of several jobs a line on stderr says whose output follows.",
    ),
    "events": Verb(
        "Print what happened, in order",
        "tidegate.look.events:events",
        _events,
        "tidegate events --job train/3",
    ),
    "report": Verb(
        "Tell what happened to a batch: verdict, groups, limits, where the time went, failures, cost",
        "tidegate.report.door:report",
        _report,
        "tidegate report nightly --into results",
        "Without --into it is printed. The form `summary` is one JSON object, at any time:\n"
        "tidegate report nightly --format summary | jq '.status, .rate_limit_until, .pause_count'\n"
        "--history tells of all batches together, forgotten ones as well: how often limits struck, what they cut off,\n"
        "how much of that was recovered, retries and cost. Its days are those of UTC; --format html is a page.",
    ),
    "wait": Verb(
        "Wait until jobs or batches have ended",
        "tidegate.cli.wait:wait",
        _wait,
        "tidegate wait nightly 17-20 --timeout 8h",
        "Exit codes: 0 all succeeded, 1 some failed, or were cancelled or skipped, 2 one is unknown, 5 some have no\n"
        "valid result, 6 the rest needs a person, 75 for a larger budget, 124 not all had ended in time.",
    ),
    "accounts": Verb(
        "List accounts: what runs and waits in each, what holds it, and when its provider answered last",
        "tidegate.look.accounts:accounts",
        _accounts,
        "tidegate accounts claude-max",
    ),
}
