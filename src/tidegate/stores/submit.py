"""Adds the jobs of a batch: what is new, what is known, and what each new one waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Final

from tidegate import policy
from tidegate.errors import BadInput
from tidegate.model import Batch, NewGroup, NewJob, State, Submission
from tidegate.stores import ends, groups
from tidegate.stores.rows import Defined, Fresh, Rows, Standing, is_text

CHUNK: Final = 1000  # jobs that a submit writes in one transaction
MOST: Final = 2**31  # a priority lies between its negative and this


class Submit:
    """One submit, and what it has done so far."""

    def __init__(
        self,
        rows: Rows,
        batch: Batch,
        jobs: Sequence[NewJob],
        now: datetime,
        *,
        update: bool,
        said: Sequence[NewGroup] | None = None,
    ) -> None:
        check(batch, jobs)
        self._rows = rows
        self._batch = Batch(batch.name)
        self._jobs = jobs
        self._now = now
        self._update = update
        self._said = said
        self._given = {job.name for job in jobs} - {""}
        self._done: dict[str, list[str]] = defaultdict(list)
        self._ids: list[int] = []
        self._has_moved = False  # a job, from a group to another

    def write(self) -> None:
        """Write chunk by chunk, each in a transaction of its own, so that others get their turn."""
        for start in range(0, max(len(self._jobs), 1), CHUNK):
            with self._rows.transaction():
                self._batch = Batch(self._batch.name, self._rows.batch(self._batch.name))
                if start == 0:
                    self._states(self._jobs)  # what is not here is told before anything is written
                    self._declare()
                self._write_chunk(self._jobs[start : start + CHUNK])
                if start + CHUNK >= len(self._jobs):
                    self._settle()

    def told(self, *, whole: bool) -> Submission:
        """What was done with each job; `whole`: with the names that the batch has besides."""
        return Submission(
            batch=self._batch,
            added=tuple(self._done["added"]),
            unchanged=tuple(self._done["unchanged"]),
            changed=tuple(self._done["changed"]),
            updated=tuple(self._done["updated"]),
            absent=tuple(self._absent()) if whole else (),
            jobs=tuple(self._ids),
        )

    # --- groups ---

    def _declare(self) -> None:
        if self._said is not None:
            groups.declare(self._rows, self._batch.id, self._said, fills=len(self._jobs) > CHUNK)

    def _settle(self) -> None:
        """Only now, with all jobs here, a group may find that it need not wait, or waits in vain."""
        if self._said is not None:
            groups.filled(self._rows, self._batch.id)
        if self._said is not None or self._has_moved or any(job.group for job in self._jobs):
            ends.settle(self._rows, [self._batch.id], self._now, by="submit" if self._said is not None else "")

    # --- one chunk ---

    def _write_chunk(self, jobs: Sequence[NewJob]) -> None:
        standing = self._rows.standing(self._batch.id, [job.name for job in jobs if job.name])
        ids, states = count(self._rows.first_free()), self._states(jobs)
        fresh: list[Fresh] = []
        for job in map(self._rows.define, jobs):
            if (known := standing.get(job.new.name)) is None:
                fresh.append(self._fresh(next(ids), job, states))
            else:
                self._done[self._meet_again(job, known)].append(job.new.name)
            self._ids.append(fresh[-1].id if known is None else known.id)
        self._add(self._named(fresh), states)

    def _fresh(self, id: int, job: Defined, states: Mapping[int, State]) -> Fresh:
        needs = job.new.needs
        unmet = sum(states[one] is not State.SUCCEEDED for one in set(needs)) if needs else 0
        return Fresh(id, job.new.name, job, unmet)

    def _meet_again(self, job: Defined, known: Standing) -> str:
        """What becomes of a job that is known; a queued one takes what is expected of it now in any case."""
        if known.state is State.QUEUED and (known.expect, known.share) != (job.new.expect, job.new.share):
            self._rows.put_hint(known.id, job.new.expect, job.new.share)
        if known.digest == job.digest:
            return "unchanged"
        if not self._update or known.state is not State.QUEUED:
            return "changed"
        self._redefine(known.id, job)
        self._rows.event(self._now, "job updated", job=known.id)
        return "updated"

    def _redefine(self, id: int, job: Defined) -> None:
        before = self._rows.job(id)
        assert before is not None, "it stands in this transaction"
        self._rows.redefine(id, self._batch.id, job)
        after = policy.edited(before, job.new)
        self._has_moved |= after.group != before.group
        if before.work is not None:
            self._rows.put_job(after)
            self._rows.move(after)
        elif before.session is not None or before.resumed:
            self._rows.put_job(after)

    def _add(self, fresh: Sequence[Fresh], states: Mapping[int, State]) -> None:
        self._rows.add_jobs(self._batch.id, fresh, self._now)
        self._done["added"] += [one.name for one in fresh]
        if not states:
            return
        needs = [(one.id, id) for one in fresh for id in dict.fromkeys(one.job.new.needs)]
        self._rows.add_needs([(job, id, states[id] is State.SUCCEEDED) for job, id in needs])
        dead = {id for id, state in states.items() if state.is_final and state is not State.SUCCEEDED}
        for job in dict.fromkeys(job for job, id in needs if id in dead):
            ends.skip_where_hopeless(self._rows, job, self._now)

    # --- names ---

    def _named(self, fresh: list[Fresh]) -> list[Fresh]:
        """Each new job with a name: its own id where it was given none, and that name is free."""
        nameless = [str(one.id) for one in fresh if not one.name]
        if not nameless:
            return fresh
        taken = self._rows.standing(self._batch.id, nameless).keys() | self._given
        return [one if one.name else one._replace(name=self._free(str(one.id), taken)) for one in fresh]

    def _free(self, name: str, taken: set[str]) -> str:
        return next(one for one in _variants(name) if one not in taken and not self._is_known(one, name))

    def _is_known(self, name: str, first: str) -> bool:
        return name != first and bool(self._rows.standing(self._batch.id, [name]))

    def _absent(self) -> list[str]:
        with self._rows.transaction():
            if self._rows.size(self._batch.id) == len(self._jobs):
                return []
            given = self._given.union(self._done["added"])
            return [name for name in self._rows.names(self._batch.id) if name not in given]

    # --- needs ---

    def _states(self, jobs: Sequence[NewJob]) -> Mapping[int, State]:
        """Where the jobs are that these need. Raises BadInput for one that is not here."""
        wanted = {id: job for job in reversed(jobs) for id in job.needs}
        found = self._rows.states(list(wanted)) if wanted else {}
        for id, job in wanted.items():
            if id not in found:
                raise BadInput(f"job {job.name!r} needs #{id}, which is not here" if job.name else f"no job #{id} here")
        return found


def _variants(name: str) -> Iterator[str]:
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def check(batch: Batch, jobs: Sequence[NewJob]) -> None:
    """Refuse what no row can hold, before anything is written."""
    seen: set[str] = set()
    for job in jobs:
        if job.name in seen:
            raise BadInput(f"batch {batch.name!r}: two jobs are named {job.name!r}")
        if job.name:
            seen.add(job.name)
        if not -MOST < job.priority < MOST:
            raise BadInput(f"job {job.name!r}: priority {job.priority} is not between {-MOST} and {MOST}")
    for text in (batch.name, *(text for job in jobs for text in (job.name, job.account, job.group, job.model or ""))):
        if "\0" in text or not is_text(text):
            raise BadInput(f"batch {batch.name!r}: {text!r} is not valid text")
