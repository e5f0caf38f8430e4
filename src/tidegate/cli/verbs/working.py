"""The verbs that do the work, or prepare it: what each does, its arguments and an example."""

from __future__ import annotations

from argparse import ArgumentParser

from tidegate.cli.arguments import Verb, batch_arguments, config_flag, json_flag, log_format_flag, text, whole


def _run(parser: ArgumentParser) -> None:
    batch_arguments(parser)
    config_flag(parser)
    parser.add_argument("--slots", type=whole, metavar="N", help="how many agents run at once on this host")
    parser.add_argument("--update", action="store_true", help="queued jobs take a definition that has changed")
    parser.add_argument(
        "--on-limit", choices=("wait", "exit"), help="wait for the reset, or leave with exit code 75 (default: wait)"
    )
    parser.add_argument(
        "--report", metavar="DIR", help="keep summary.json up to date there, and write the whole report at the end"
    )
    parser.add_argument(
        "--retry",
        action="append",
        default=[],
        type=text,
        metavar="ENDS",
        help="queue those again that ended so (failed, error, cancelled, skipped; with commas), with their sessions",
    )
    parser.add_argument(
        "--rerun",
        action="append",
        default=[],
        type=text,
        metavar="GROUP",
        help="run the ended jobs of a group, or of a pattern in quotes ('T2/*'), anew, in new sessions",
    )
    log_format_flag(parser)
    json_flag(parser, "the summary as one object")


def _serve(parser: ArgumentParser) -> None:
    config_flag(parser)
    parser.add_argument("--slots", type=whole, metavar="N", help="how many agents run at once on this host")
    log_format_flag(parser)
    parser.add_argument("--check", action="store_true", help="only say whether it would start, and start nothing")


def _demo(parser: ArgumentParser) -> None:
    log_format_flag(parser)


def _plan(parser: ArgumentParser) -> None:
    batch_arguments(parser)
    config_flag(parser)
    parser.add_argument(
        "--summary", action="store_true", help="how many jobs, what of them is new or changed, and what would start now"
    )
    json_flag(parser, "the summary as one object; jobs are printed as without it")


def _schema(parser: ArgumentParser) -> None:
    json_flag(parser, "in one line")


def _import(parser: ArgumentParser) -> None:
    parser.add_argument("kind", choices=("scylla",), metavar="KIND", help="whose results they are: scylla")
    parser.add_argument("results", type=text, metavar="RESULTS_DIR", help="the experiment's directory; only read")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the batch, a new file (default: it is printed, and what was found beside)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    json_flag(parser, "one object for each run, one a line; the batch only into FILE")


def _check(parser: ArgumentParser) -> None:
    parser.add_argument(
        "accounts", nargs="*", metavar="ACCOUNT", help="these accounts alone (default: all configured ones)"
    )
    config_flag(parser)
    json_flag(parser, "one object for each account, one a line")


VERBS = {
    "run": Verb(
        "Supervise a batch of agents in the foreground to its end",
        "tidegate.run:run_file",
        _run,
        "tidegate run night.toml --slots 4",
        "The same file again goes on where it was: ended jobs stay ended, new ones are added.\n"
        "Exit codes: 0 all succeeded, 1 some failed, 2 bad file or usage, 5 errors of the infrastructure remain,\n"
        "6 needs a person, 75 incomplete because of a limit, 130 or 143 interrupted: run it again to go on.",
    ),
    "serve": Verb(
        "Work on all that is submitted, until told to stop",
        "tidegate.serve:serve",
        _serve,
        "tidegate serve --slots 4",
        "Signals: TERM leaves the agents running for the next start to adopt; INT lets what runs end first, a second\n"
        "one ends it now; HUP reads the configuration again; USR1 and USR2 pause and resume this host.\n"
        "Exit codes: 0 told to stop, 2 bad configuration or usage, 5 the infrastructure failed or another one works.",
    ),
    "demo": Verb(
        "Show a batch of 12 jobs that meets a usage limit and gets through it, in under a minute",
        "tidegate.demo:run_demo",
        _demo,
        "tidegate demo",
    ),
    "plan": Verb(
        "Print the jobs that a batch file means, one JSON object a line, and run nothing",
        "tidegate.cli.plan:plan",
        _plan,
        "tidegate plan night.toml | head -3",
    ),
    "schema": Verb(
        "Print the JSON Schema of batch files, for editors",
        "tidegate.cli.schema:schema",
        _schema,
        "tidegate schema > batch.schema.json",
        'TOML names it in a line "#:schema ./batch.schema.json", YAML in "# yaml-language-server: $schema=...".',
    ),
    "import": Verb(
        "Tell what limits left of an experiment of ProjectScylla, and write the batch that runs the rest again",
        "tidegate.cli.importing:door",
        _import,
        "tidegate import scylla results/2026-01-09T20-07-13-test-001 -o rerun.toml",
        "What is valid stays as it is; the rest is run again, run by run: by scripts/rerun_agents.py of the checkout\n"
        "that the results lie in, or by COMMAND, where ${{ group }}, ${{ subtest }} and ${{ run }} say which run.",
        command=True,
    ),
    "check": Verb(
        "Ask each configured account whether its provider answers; one small model request each",
        "tidegate.check:check",
        _check,
        "tidegate check claude-max",
        "Answers: open, limited, busy, needs a person, or unknown. Exit codes: 0 all open, 6, 75, 5 as for run.",
    ),
}
