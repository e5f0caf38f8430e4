"""From what a person types to a job, a batch or an account of the store."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tidegate.errors import BadInput
from tidegate.look.words import clean

if TYPE_CHECKING:
    from tidegate.model import Batch, Job
    from tidegate.stores import Store

KNOWN = 5000  # how many names are looked through for what was meant
NAMED = 5  # how many choices one line lists


def job(store: Store, text: str) -> Job:
    """The job that ID, BATCH:ID or #N means. Raises BadInput where none or several are meant."""
    found = _numbered(store, text) or _named(store, text)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"job {quoted(text)} is in several batches: {_choices(found)}")
    raise BadInput(f"no job {quoted(text)} here{meant(text, _names(store))}")


def batch(store: Store, text: str) -> Batch:
    """The batch of a name, of the file name at the end of a path, or #N. Raises BadInput."""
    known = store.batches()
    found = _batches(known, text)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"batch {quoted(text)} means several: {', '.join(quoted(one.name) for one in found[:NAMED])}")
    raise BadInput(f"no batch {quoted(text)} here{meant(text, (one.name for one in known))}")


def account(store: Store, text: str) -> str:
    """An account that the store knows. Raises BadInput."""
    known = accounts(store)
    if text in known:
        return text
    raise BadInput(f"no account {quoted(text)} here{meant(text, known) or listed(known)}")


def accounts(store: Store) -> list[str]:
    """The names of every account that is known."""
    return [one.name for one in store.accounts()]


def meant(text: str, known: Iterable[str]) -> str:
    """Which name was meant, as the end of a message, or "" where none is close."""
    from tidegate import allowed  # noqa: PLC0415 - only a wrong name pays for it

    return clean(allowed.meant(text, known))


def quoted(text: str) -> str:
    """A text as it would be typed in a shell, on one line."""
    return clean(shlex.quote(text))


def listed(known: Iterable[str]) -> str:
    """Some of the names as the end of a message: "; there are a, b and 7 more", "" for none."""
    names = sorted(known)
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"; there are {', '.join(quoted(name) for name in names[:NAMED])}{more}"


def reference(one: Job) -> str:
    """The text that names this job alone."""
    return f"{one.batch_name}:{one.name}"


def _numbered(store: Store, text: str) -> list[Job]:
    number = text.removeprefix("#")
    if number == text or not (number.isascii() and number.isdigit() and len(number) < 19):
        return []
    found = store.job(int(number))
    return [found] if found else []


def _named(store: Store, text: str) -> list[Job]:
    found = {one.id: one for one in store.jobs_named(text)}
    known = store.batches() if ":" in text else []
    for left, right in _splits(text):
        for one in _batches(known, left):
            found |= {job.id: job for job in store.jobs_named(right, one.id)}
    return sorted(found.values(), key=lambda one: one.id)


def _splits(text: str) -> Iterator[tuple[str, str]]:
    for place, one in enumerate(text):
        if one == ":":
            yield text[:place], text[place + 1 :]


def _batches(known: Iterable[Batch], text: str) -> list[Batch]:
    exact = [one for one in known if text in (one.name, f"#{one.id}")]
    return exact or [one for one in known if one.name.startswith("/") and one.name.endswith(f"/{text}")]


def _choices(found: list[Job]) -> str:
    names = [quoted(reference(one)) for one in found]
    if len(set(names)) < len(names):
        names = [quoted(f"#{one.id}") for one in found]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _names(store: Store) -> Iterator[str]:
    return (one.name for one in store.jobs(most=KNOWN))
