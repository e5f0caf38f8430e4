"""The verbs about tidegate itself: what each does, its arguments and an example."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser

from tidegate.cli.arguments import KINDS, SHELLS, TEMPLATES, Verb, age, config_flag, json_flag, size, text


def _explain(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="AGENT", default="claude", help="whose output it is (default: claude)")
    parser.add_argument(
        "--stream", choices=("stdout", "stderr"), default="stdout", help="which stream (default: stdout)"
    )
    parser.add_argument("--exit", metavar="N", default="1", help="the exit code of the agent (default: 1)")
    parser.add_argument("--now", metavar="TIME", help="when it was printed, as 2026-01-09T18:30:00Z (default: now)")
    parser.add_argument("--tz", metavar="ZONE", help="the zone of clock times that name none (default: this machine's)")
    json_flag(parser, "one object")
    parser.add_argument("--jsonl", action="store_true", help="input is lines of {text, agent, stream, exit, now, tz}")
    config_flag(parser)


def _configuration(parser: ArgumentParser) -> None:
    config_flag(parser)
    json_flag(parser, "one object")


def _init(parser: ArgumentParser) -> None:
    parser.add_argument(
        "template",
        nargs="?",
        default=TEMPLATES[0],
        choices=TEMPLATES,
        metavar="TEMPLATE",
        help=f"{', '.join(TEMPLATES[:-1])} or {TEMPLATES[-1]} (default: {TEMPLATES[0]})",
    )
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    json_flag(parser, "one object")


def _doctor(parser: ArgumentParser) -> None:
    parser.add_argument("--deep", action="store_true", help="also whether database, files and processes fit together")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended, after a backup; and look deep")
    config_flag(parser)
    json_flag(parser, "one object for each check, one a line")


def _backup(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", type=text, metavar="FILE", help="a new file, a directory, or - for standard output"
    )
    parser.add_argument("--with-secrets", action="store_true", help="also the secret variables of jobs")
    parser.add_argument("--with-output", action="store_true", help="also the output of every attempt")
    json_flag(parser, "one object")


def _restore(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=text, metavar="FILE", help="what `tidegate backup` wrote; - for standard input")
    parser.add_argument("--into", type=text, metavar="DIR", help="into this state directory instead of the usual one")
    parser.add_argument("--force", action="store_true", help="move aside what is there")
    json_flag(parser, "one object")


def _reap(parser: ArgumentParser) -> None:
    config_flag(parser)
    parser.add_argument("--unit", type=text, default="", metavar="UNIT", help="only where this unit really stops")
    parser.add_argument(
        "--job", type=text, default="", metavar="LINE", help="what `systemctl list-jobs` says of that unit"
    )


def _clean(parser: ArgumentParser) -> None:
    parser.add_argument("--older", type=age, metavar="AGE", help="what ended longer ago, as 30d, 12h or 0")
    parser.add_argument("--larger", type=size, metavar="SIZE", help="the oldest, until all output takes no more: 5GB")
    parser.add_argument("--forget", action="store_true", help="also the jobs of batches that all ended longer ago")
    parser.add_argument("--dry-run", action="store_true", help="tell, and remove nothing")
    config_flag(parser)
    json_flag(parser, "one object")


def _completion(parser: ArgumentParser) -> None:
    parser.add_argument("shell", nargs="?", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.add_argument("--values", choices=("jobs", "batches", "accounts", "agents", "scopes"), help=SUPPRESS)
    json_flag(parser, "one object for each verb and what it takes, one a line, for other shells")


def _notify(parser: ArgumentParser) -> None:
    parser.add_argument(
        "event",
        nargs="?",
        default=KINDS[0],
        choices=KINDS,
        metavar="EVENT",
        help=f"one of {', '.join(KINDS)} (default: {KINDS[0]})",
    )
    config_flag(parser)
    json_flag(parser, "the object that the program gets on its stdin")


VERBS = {
    "init": Verb(
        "Write an example batch, or the configuration, into the present directory",
        "tidegate.cli.init:init",
        _init,
        "tidegate init night",
        "night: a queue of jobs for one agent. overnight: one prompt over many repositories. compare: the same tasks\n"
        "for several agents. scylla: an experiment, 120 subtests in seven tiers with a judge. config: every setting\n"
        "with its default and what it means.",
    ),
    "explain": Verb(
        "Tell what tidegate concludes from an agent's output on standard input",
        "tidegate.cli.explain:explain",
        _explain,
        "claude -p hello | tidegate explain --agent claude --exit 1",
    ),
    "config": Verb(
        "Print each setting, its value and where that came from",
        "tidegate.cli.config:config",
        _configuration,
        "tidegate config --config ./config.toml",
    ),
    "notify": Verb(
        "Send a sample through the program of [notify], to try it out",
        "tidegate.cli.notify:notify",
        _notify,
        "tidegate notify finished",
        "Exit codes: 0, or 5 where the program failed.",
    ),
    "doctor": Verb(
        "Look at all that tidegate needs, and tell what is wrong and what to do about it",
        "tidegate.doctor:doctor",
        _doctor,
        "tidegate doctor",
        "A repair needs the state directory for itself: stop the supervisor first. Each one is an event; done\n"
        "again it changes nothing. Exit codes: 0, or 5 where something is wrong.",
    ),
    "clean": Verb(
        "Remove the output of ended jobs, by age and by size; the jobs stay listed unless they are to be forgotten",
        "tidegate.cli.clean:clean",
        _clean,
        "tidegate clean --older 30d --larger 5GB",
        "Without --older and --larger as [retention] of the configuration says. Output of queued and running jobs is\n"
        "never removed. Exit codes: 0, or 5 where something could not be removed.",
    ),
    "backup": Verb(
        "Write the database into one file, beside whoever works, with secrets and output where they are asked for",
        "tidegate.cli.backup:backup",
        _backup,
        "tidegate backup /var/backups --with-secrets",
        "Without FILE it goes into the directory `backups` of the state directory. A job whose secret is in no backup\n"
        "waits for a person after a restore. Exit codes: 0, 2 where nothing is there to save or the file is there, 5.",
    ),
    "restore": Verb(
        "Put a backup in the place of a state directory; what ran when it was made is followed or queued again",
        "tidegate.cli.restore:door",
        _restore,
        "tidegate restore --force tidegate-20260109T183000Z.tar.gz",
        "Output that lies there and is of the same jobs stays. Nothing is changed where the file is damaged, where a\n"
        "supervisor works, or where agents run that nobody would follow. Exit codes: 0, 2 where it is refused, 5.",
    ),
    "reap": Verb(
        "End every agent that a stopped supervisor left running; their jobs are queued again",
        "tidegate.cli.reap:reap",
        _reap,
        "tidegate reap",
        "The units of deploy/ run it where they stop (ExecStopPost=). By hand it is for agents whose supervisor was\n"
        "killed and will not come back. Exit codes: 0, or 5 where a supervisor works or the database is broken.",
    ),
    "completion": Verb(
        "Print a script that completes verbs, flags, jobs and accounts in a shell",
        "tidegate.cli.completion:completion",
        _completion,
        "tidegate completion bash >> ~/.bashrc",
        'zsh: tidegate completion zsh > "${fpath[1]}/_tidegate"\n'
        "fish: tidegate completion fish > ~/.config/fish/completions/tidegate.fish",
    ),
}
