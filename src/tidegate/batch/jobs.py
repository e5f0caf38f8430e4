"""A table over the defaults becomes a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tidegate import allowed, hints
from tidegate.allowed import Wrong
from tidegate.batch import workspaces
from tidegate.batch.records import publishing_as_record, stage_as_record, where_as_record
from tidegate.batch.shapes import Around, Written
from tidegate.batch.tables import COMMAND, MERGED, PAIRS, Table, agent_known, one_of_each
from tidegate.batch.templates import filled
from tidegate.errors import BadInput
from tidegate.hints import Hint
from tidegate.model import NewJob, Spec, Stage


class Expand:
    """Makes jobs; remembers the prompt files that it has read."""

    def __init__(self, around: Around) -> None:
        self._around = around
        self._read: dict[str, str] = {}

    def job(self, own: Table, name: str, one: Written) -> NewJob:
        """One job from its own table, whose templates are filled, over the defaults, whose are not."""
        place = f"{self._around.place}: {one.where}"
        one_of_each(place, own)
        said = merged(one.over, own)
        if one.values is not None:
            said = filled(said, one.values, place)
        agent, command = self._runs(said, place)
        prompt = self._prompt(said, place)
        args = said.get("args", ())
        if not command and not prompt and not args:
            raise BadInput(f"{place}: agent {json.dumps(agent)} needs a prompt, a prompt_file or args")
        model, argv = said.get("model"), (*command, *args)
        if agent != COMMAND:
            model, argv = _with_model(argv, said, own, place)
        spec = Spec(
            agent=agent,
            command=argv if command else (),
            args=() if command else argv,
            prompt=prompt,
            expand=self._expansion(said, place),
            **self._where(said, place),
            **{key: said[key] for key in AS_SAID if key in said},
            check=self._check(said, place),
            publish=self._stage(said.get("publish")),
        )
        account, priority = said.get("account", agent), said.get("priority", 0)
        group = one.group or said.get("group", "")
        if spec.expand and not group:
            raise BadInput(f"{place} expand: adds jobs to a group: say group, too")
        hint: Hint = said.get("expect", Hint())
        return NewJob(
            name=name,
            account=account,
            spec=spec,
            model=model,
            priority=priority,
            group=group,
            expect=hint.seconds,
            share=hint.share,
        )

    def _expansion(self, said: Table, place: str) -> str:
        """The defaults of the jobs that a job prints, as text; "" where it prints none."""
        if "expand" not in said:
            return ""
        if "command" not in said:
            raise BadInput(f"{place} expand: is for a command, not for an agent")
        told = dict(said["expand"])
        if "prompt_file" in told:
            told["prompt_file"] = str(self._path(told["prompt_file"], f"{place} expand.prompt_file"))
        if "cwd" in told:
            where = self._where(told, f"{place} expand")
            told |= where if "cwd" in where else where_as_record(where["workspace"])
        if "expect" in told:
            told["expect"] = hints.written(told["expect"].seconds, told["expect"].share)
        if "check" in told:
            told["check"] = stage_as_record(self._stage(told["check"]))
        if "publish" in told:
            told["publish"] = publishing_as_record(self._stage(told["publish"]))
        return json.dumps(told, sort_keys=True)

    def _runs(self, said: Table, place: str) -> tuple[str, tuple[str, ...]]:
        """The agent, and the command where the job says one."""
        if "command" in said:
            return self._around.recognise(said["command"]), said["command"]
        if "agent" not in said:
            raise BadInput(f"{place}: must say agent (with a prompt) or command")
        if said["agent"] == COMMAND:
            raise BadInput(f'{place} agent: "command" is no agent: say command = ["program", ...]')
        agent_known(f"{place} agent", said["agent"], self._around.agents)
        return said["agent"], ()

    def _check(self, said: Table, place: str) -> Stage | None:
        if said.get("feed_failure_back") and "check" not in said:
            raise BadInput(f"{place} feed_failure_back: gives back what a check says: say check, too")
        return self._stage(said.get("check"))

    def _stage(self, said: Stage | None) -> Stage | None:
        """A stage with the agent that its command is, and for the account that it would have as a job's."""
        if said is None:
            return None
        agent = self._around.recognise(said.command)
        return replace(said, agent=agent, account=said.account or agent)

    def _where(self, said: Table, place: str) -> dict[str, Any]:
        """The directory that it works in: as it is, or made for it."""
        cwd = said.get("cwd", ".")
        if isinstance(cwd, str) and said.get("files"):
            raise BadInput(f'{place} files: needs a directory of the job\'s own: cwd = {{ copy = "DIR" }} or the like')
        if isinstance(cwd, str):
            return {"cwd": str(self._path(cwd, f"{place} cwd"))}
        try:
            made = workspaces.workspace(
                cwd, said.get("files", ()), lambda one, at: str(self._path(one, f"{place} {at}"))
            )
        except Wrong as wrong:
            raise BadInput(f"{place} {wrong.inside}: {wrong}") from None
        return {"workspace": made}

    def _prompt(self, said: Table, place: str) -> str | None:
        if "prompt_file" not in said:
            return said.get("prompt")
        written: str = said["prompt_file"]
        if written not in self._read:
            self._read[written] = self._text(written, f"{place} prompt_file")
        return self._read[written]

    def _text(self, written: str, place: str) -> str:
        path = self._path(written, place)
        shown = allowed.shown(written) if str(path) == written else f"{allowed.shown(written)} ({path})"
        try:
            return allowed.text(self._around.read_text(path))
        except OSError as error:
            raise BadInput(f"{place}: cannot read {shown}: {error.strerror or error}") from None
        except ValueError as error:  # Wrong is one
            raise BadInput(f"{place}: {shown}: {error}") from None

    def _path(self, written: str, place: str) -> Path:
        if written == "~" or written.startswith("~/"):
            return self._around.home / written[2:]
        if written.startswith("~"):
            raise BadInput(f"{place}: only ~ and ~/... stand for a home directory, {allowed.but(written)}")
        return self._around.directory / written


def _with_model(argv: tuple[str, ...], said: Table, own: Table, place: str) -> tuple[str | None, tuple[str, ...]]:
    """A job's model, and the arguments that tell its agent: --model is what every agent known here calls it."""
    model, there = said.get("model"), _model_in(argv)
    if there is not None and own.get("model") not in {None, there}:
        raise BadInput(f"{place} model: is {json.dumps(model)}, but the arguments say {json.dumps(there)}")
    if there is not None or model is None:
        return there, argv
    end = argv.index("--") if "--" in argv else len(argv)
    return model, (*argv[:end], "--model", model, *argv[end:])


def _model_in(argv: Sequence[str]) -> str | None:
    """The model that arguments name; codex and gemini also take -m."""
    for arg, value in pairwise((*argv, "")):
        flag, equals, behind = arg.partition("=")
        if flag == "--model" or arg == "-m":
            model = behind if equals else value
            return model if model.isprintable() and 0 < len(model) <= allowed.NAME_MOST else None
    return None


AS_SAID = (
    *("env", "timeout", "silence", "max_output", "memory", "pids", "cpu_weight", "max_attempts", "on_cutoff"),
    *("on_failure", "resume_prompt", "result_files", "labels", "max_interruptions", "valid_outcomes", "retries"),
    "feed_failure_back",
)


def merged(defaults: Table, own: Table) -> dict[str, Any]:
    """A job's own table over the defaults; what is meant for the agent that it replaces is not inherited."""
    dropped = {key for pair in PAIRS if own.keys() & set(pair) for key in pair}
    replaced = {key: defaults[key] for key in PAIRS[0] if key in defaults and dropped & set(PAIRS[0])}
    if replaced and replaced != {key: own[key] for key in PAIRS[0] if key in own}:
        dropped |= {"args", "model"}
    if "command" in own and "agent" in replaced:
        dropped |= {"prompt", "prompt_file"}
    if "cwd" in own and not isinstance(own["cwd"], dict):
        dropped.add("files")
    said = {key: value for key, value in defaults.items() if key not in dropped}
    return {**said, **own, **{key: {**defaults.get(key, {}), **own.get(key, {})} for key in MERGED}}
