"""What `init` can write: the files of each template, where their texts are, and what a person does next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field


class Template(Struct, frozen=True, kw_only=True):
    """What one template consists of, what of it is to be edited, and the next commands with what each is for.

    `files` are shipped ones, by where they go; `texts` are made of a few words; `directories` are empty;
    `repositories` are git's, each with a README.md.
    """

    files: Mapping[str, str]
    texts: Mapping[str, str] = field(default_factory=dict)
    directories: Sequence[str] = ()
    repositories: Sequence[str] = ()
    edit: str
    then: Sequence[tuple[str, str]]


def _then(name: str) -> Sequence[tuple[str, str]]:
    return (
        (f"tidegate plan {name}.toml", "what it means, job by job; runs nothing"),
        (f"tidegate run {name}.toml", "runs it to its end"),
        (f"tidegate report {name}", "what came of it"),
    )


def _shipped(name: str, *beside: str) -> Mapping[str, str]:
    """The batch itself, and files from a directory of the same name."""
    return {f"{name}.toml": f"{name}.toml", **{file: f"{name}/{file}" for file in beside}}


TASKS = ("parser", "slow", "words")
AGENTS = ("claude", "codex", "gemini")
REPOSITORIES = ("lantern", "harbour", "compass", "anchor", "buoy")
TIERS = {  # how many subtests each has, and what they are about; T5 is made as it runs
    "T0": (24, "prompts: how much the system prompt says"),
    "T1": (10, "skills: what the agent has been taught"),
    "T2": (15, "tools: what the agent may use"),
    "T3": (41, "delegation: whom the agent may ask"),
    "T4": (14, "hierarchy: who leads whom"),
    "T6": (1, "everything at once"),
}


def _subtests() -> Mapping[str, str]:
    """A file for each subtest."""
    return {
        f"tiers/{tier}/{number:02}.md": f"{tier}, {about}.\n\nWrite here what subtest {number:02} gives the agent.\n"
        for tier, (many, about) in TIERS.items()
        for number in range(1, many + 1)
    }


KNOWN = {
    "night": Template(files=_shipped("night"), edit="night.toml", then=_then("night")),
    "overnight": Template(
        files=_shipped("overnight", "prompt.md", "repos.csv"),
        repositories=[f"repos/{name}" for name in REPOSITORIES],
        edit="overnight.toml, prompt.md and repos.csv",
        then=_then("overnight"),
    ),
    "compare": Template(
        files=_shipped("compare", *(f"tasks/{name}.md" for name in TASKS)),
        directories=[f"runs/{agent}/{task}" for agent in AGENTS for task in TASKS],
        edit="compare.toml and tasks/",
        then=_then("compare"),
    ),
    "scylla": Template(
        files=_shipped("scylla", "task.md", "judge.py", "winners.py"),
        texts=_subtests(),
        edit="scylla.toml, task.md, tiers/ and judge.py",
        then=(("tidegate plan scylla.toml --summary", "how many jobs, and what would start now"), *_then("scylla")[1:]),
    ),
    "config": Template(
        files={"config.toml": "config.toml"},
        edit="config.toml",
        then=(
            ("tidegate config --config config.toml", "each setting that is then in force"),
            ("install -D -m 600 config.toml ~/.config/tidegate/config.toml", "then every command reads it"),
        ),
    ),
}
