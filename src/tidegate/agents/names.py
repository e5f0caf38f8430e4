"""The names of the built-in agents and of their programs, for doors that start none of them."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.agents import COMMAND, DEMO
from tidegate.agents.reading.argv import program

PROGRAMS = {  # whose program it is
    "claude": "claude",
    "codex": "codex",
    "gemini": "gemini",
    "opencode": "opencode",
    "qwen": "qwen-code",
    "copilot": "copilot",
    "cursor-agent": "cursor-agent",
    "amp": "amp",
    "goose": "goose",
    "aider": "aider",
}
NAMES = (COMMAND, DEMO, *PROGRAMS.values())


def recognise(argv: Sequence[str]) -> str:
    """The agent whose program an argv runs; "command" for none."""
    found = program(argv)
    return PROGRAMS.get(found.name, COMMAND) if found is not None else COMMAND


def has_limits(name: str) -> bool:
    """Whether the provider of a built-in agent has usage limits."""
    return name == DEMO or name in PROGRAMS.values()
