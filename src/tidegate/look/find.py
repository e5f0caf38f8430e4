"""From what a person types to a job, a batch or an account of the store."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tidegate.errors import BadInput
from tidegate.look.words import clean

if TYPE_CHECKING:
    from tidegate.model import Batch, Job
    from tidegate.stores import Store

RANGE = re.compile(r"#?(\d{1,18})-#?(\d{1,18})", re.ASCII)
CHUNK = 1000  # jobs read at once
KNOWN = 5000  # how many names are looked through for what was meant
NAMED = 5  # how many choices one line lists


def job(store: Store, text: str) -> Job:
    """The job that a number, ID or BATCH:ID means. Raises BadInput where none or several are meant."""
    found = _numbered(store, text)
    if text.isdigit() or not found:  # a plain number may be the name of another job
        found = found | _named(store, text)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        how = "means several" if text.isdigit() else "is in several batches"
        raise BadInput(f"job {quoted(text)} {how}: {_choices(list(found.values()))}")
    raise BadInput(f"no job {quoted(text)} here{_all_of(store, text) or meant(text, _names(store))}")


def jobs(store: Store, text: str) -> list[Job]:
    """The jobs that a reference means, by id: one of `job`, a range N-M, or a pattern. Raises BadInput for none."""
    if (ends := RANGE.fullmatch(text)) is None and not _is_pattern(text):
        return [job(store, text)]
    exact = _named(store, text)
    found = exact or (_matching(store, text) if ends is None else _between(store, int(ends[1]), int(ends[2])))
    if not found:
        raise BadInput(f"no job {quoted(text)} here")
    return [found[id] for id in sorted(found)]


def several(store: Store, texts: Iterable[str]) -> tuple[list[Job], list[str]]:
    """The jobs that references mean, each once, and what is wrong with those that mean none."""
    found: dict[int, Job] = {}
    wrong = []
    for text in texts:
        try:
            found |= {one.id: one for one in jobs(store, text)}
        except BadInput as error:
            wrong.append(str(error))
    return list(found.values()), wrong


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


def called(one: Job) -> str:
    """A job as a person may name it: its number, its batch and its name."""
    return f"#{one.id} {clean(reference(one))}"


Found = dict[int, "Job"]


def _numbered(store: Store, text: str) -> Found:
    number = text.removeprefix("#")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return {}
    found = store.job(int(number))
    return {found.id: found} if found else {}


def _named(store: Store, text: str) -> Found:
    found = {one.id: one for one in store.jobs_named(text)}
    known = store.batches() if ":" in text else []
    for left, right in _splits(text):
        for one in _batches(known, left):
            found |= {job.id: job for job in store.jobs_named(right, one.id)}
    return found


def _is_pattern(text: str) -> bool:
    return any(one in "*?[" for one in text)


def _matching(store: Store, pattern: str) -> Found:
    """The jobs whose name a pattern fits, in every batch or in the one before the colon."""
    found = _all(store, name=pattern)
    known = store.batches() if ":" in pattern else []
    for left, right in _splits(pattern):
        for one in _batches(known, left):
            found |= _all(store, name=right, batch=one.id)
    return found


def _all(store: Store, *, name: str, batch: int | None = None) -> Found:
    found: Found = {}
    while some := store.jobs(name=name, batch=batch, after=max(found, default=0), most=CHUNK):
        found |= {one.id: one for one in some}
    return found


def _between(store: Store, first: int, last: int) -> Found:
    if first > last:
        raise BadInput(f"{first}-{last}: a range begins with the smaller number")
    found: Found = {}
    after = max(first - 1, 0)
    while some := store.jobs(after=after, most=min(CHUNK, last - after)):
        found |= {one.id: one for one in some if one.id <= last}
        if (after := some[-1].id) >= last:
            break
    return found


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
        names = [f"#{one.id}" for one in found]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _all_of(store: Store, text: str) -> str:
    """How to name all jobs of a batch, as the end of a message; "" where the text names none."""
    whole = _batches(store.batches(), text)
    return f"; {quoted(f'{text}:*')} are those of the batch" if whole else ""


def _names(store: Store) -> Iterator[str]:
    return (one.name for one in store.jobs(most=KNOWN))
