"""Where a job works, as it is written: a directory as it is, or one that is made for the job alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tidegate import allowed
from tidegate.allowed import Check, Wrong
from tidegate.model import Put, Workspace

KINDS = ("worktree", "copy", "clone")
STARTS = ("commit", "branch")  # where a worktree begins, and the one of a clone
SCHEMES = ("https", "http", "ssh", "git", "file")
EXAMPLE = 'a path, or a table like { worktree = "REPOSITORY" }'

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
HOST = re.compile(r"[^/:]+:(?!:)")  # HOST:PATH, as ssh takes it: a colon before any slash
LOGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)@")
NO_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|^[-./@]$|^[-./]|[./]$")

Resolve = Callable[[str, str], str]  # a path as it is written, and the key that says it, to an absolute one


# --- the tables, which may still hold templates ---


def cwd(value: object) -> str | dict[str, str]:
    """A directory's path, or the table of one that is to be made: { worktree | copy | clone = ..., ... }."""
    table = allowed.parsed(value, "{")
    if isinstance(table, Mapping):
        return _made(table)
    if not isinstance(value, str):
        raise Wrong(f"must be {EXAMPLE}, {allowed.but(value)}")
    return allowed.path(value)


def _made(table: Mapping[str, Any]) -> dict[str, str]:
    said = allowed.table(table, {**dict.fromkeys(KINDS, allowed.path), **dict.fromkeys(STARTS, allowed.name)})
    kinds = [key for key in KINDS if key in said]
    if len(kinds) != 1:
        raise Wrong("must say one of worktree, copy and clone" + (f", not {' and '.join(kinds)}" if kinds else ""))
    if kinds == ["copy"] and (start := [key for key in STARTS if key in said]):
        raise Wrong("is for a worktree or a clone, not for a copy", f".{start[0]}")
    if set(STARTS) <= said.keys():
        raise Wrong("must say commit or branch, not both")
    return said


def _one_file(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Wrong(f'must be a table like {{ from = "FILE", to = "PATH" }}, {allowed.but(value)}')
    said = allowed.table(value, {"from": allowed.path, "to": allowed.path})
    for key in ("from", "to"):
        if key not in said:
            raise Wrong(f'must say from and to, as {{ from = "FILE", to = "PATH" }}; {key} is missing')
    return said


def _closed(*required: str, **more: Check[object]) -> allowed.Schema:
    keys: Mapping[str, Check[object]] = {**dict.fromkeys(required, allowed.path), **more}
    said = {key: allowed.schema(check) for key, check in keys.items()}
    return {"type": "object", "properties": said, "required": list(required), "additionalProperties": False}


_begins = dict.fromkeys(STARTS, allowed.name)
allowed.says(_one_file, _closed("from", "to"))
files = allowed.tuple_of(_one_file)
_TABLES = [_closed("worktree", **_begins), _closed("clone", **_begins), _closed("copy")]
allowed.says(cwd, {"anyOf": [allowed.schema(allowed.path), *_TABLES]})


# --- what they come to, once no template is left ---


def workspace(said: Mapping[str, str], put: tuple[Mapping[str, str], ...], resolve: Resolve) -> Workspace:
    """The directory that such a table asks for, with what is put into it. Raises Wrong."""
    said = _within("cwd", _made, said)
    (kind,) = said.keys() & set(KINDS)
    source = said[kind]
    if kind == "clone" and is_remote(source):
        _within(f"cwd.{kind}", _open, source)
    else:
        source = resolve(source, f"cwd.{kind}")
    return Workspace(
        kind=kind,
        source=source,
        commit=_within("cwd.commit", _revision, said["commit"]) if "commit" in said else None,
        branch=_within("cwd.branch", _branch, said["branch"]) if "branch" in said else None,
        files=_puts(put, resolve),
    )


def _puts(put: tuple[Mapping[str, str], ...], resolve: Resolve) -> tuple[Put, ...]:
    made: dict[str, Put] = {}
    for place, one in enumerate(put):
        to = _within(f"files[{place}].to", _inside, one["to"])
        if to in made:
            raise Wrong(f"is said twice: {allowed.shown(to)}", f"files[{place}].to")
        made[to] = Put(source=resolve(one["from"], f"files[{place}].from"), to=to)
    return tuple(made.values())


def is_remote(source: str) -> bool:
    """Whether what is to be cloned is no path."""
    return bool(URL.match(source) or HOST.match(source))


def _open(url: str) -> None:
    """Refuse what no repository lies at, and what holds a secret: a job is stored, and its git is seen by others."""
    from tidegate import redact  # noqa: PLC0415 - only a URL pays for it

    scheme, login = URL.match(url), LOGIN.match(url)
    if url.startswith("-"):
        raise Wrong("must not begin with -")
    if scheme and scheme[1].lower() not in SCHEMES:
        raise Wrong(f"must be a path, HOST:PATH or a URL of {', '.join(SCHEMES)}, not of {scheme[1][: allowed.SHOWN]}")
    with_login = login and (":" in login[1] or (scheme and scheme[1].lower().startswith("http")))
    if with_login or redact.redacted(url) != url:
        raise Wrong("must not hold a user, password or token: git asks a credential helper for them")


def _revision(said: str) -> str:
    if said.startswith("-") or not said.isprintable() or " " in said:
        raise Wrong(f"must be a commit, as a hash or a tag, {allowed.but(said)}")
    return said


def _branch(said: str) -> str:
    if NO_BRANCH.search(said):
        raise Wrong(f"must be the name of a branch, {allowed.but(said)}")
    return said


def _inside(said: str) -> str:
    """A path below a directory, in its shortest form."""
    parts = [part for part in said.split("/") if part not in {"", "."}]
    if said.startswith(("/", "~")) or ".." in parts or not parts:
        raise Wrong(f"must be a path below the job's directory, {allowed.but(said)}")
    if any(part.lower() == ".git" for part in parts):
        raise Wrong(f"must not lead into .git, {allowed.but(said)}")
    return "/".join(parts)


def _within(place: str, check: Callable[[Any], allowed.T], value: object) -> allowed.T:
    try:
        return check(value)
    except Wrong as wrong:
        raise Wrong(str(wrong), place + wrong.inside) from None


# --- and back ---


def table(made: Workspace) -> dict[str, str]:
    """The table that asks for such a directory."""
    said = {made.kind: made.source, "commit": made.commit, "branch": made.branch}
    return {key: value for key, value in said.items() if value is not None}


def file_tables(made: Workspace) -> list[dict[str, str]]:
    """The tables of what is put into it."""
    return [{"from": one.source, "to": one.to} for one in made.files]
