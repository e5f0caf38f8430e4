"""Holds back what would not fit an account's windows, for the claim."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from tidegate import admission, hints, reopening, reserve, windows
from tidegate.admission import LOOK, Lack, Load, Outlook
from tidegate.model import LENGTHS, Account, Admission, Held, Meter, Reading, Tide, Window
from tidegate.stores import metering
from tidegate.stores.rows import Candidate, Draft, Lane, Rows, iso_or_none
from tidegate.windows import Left

AGAIN = timedelta(minutes=1)  # until what is held back is looked at anew, though nothing has ended
TIDES = 8  # windows that are over and tell what a draw is worth
WIDELY = 4 * LOOK  # candidates of an account that one claim looks at, whatever number of lanes they are in


class Admitting:
    """What one claim sees of the windows of the accounts whose jobs it would start."""

    def __init__(self, rows: Rows, now: datetime) -> None:
        self._rows = rows
        self._now = now
        self._outlooks: dict[str, Outlook] = {}
        self._looked: Counter[str] = Counter()

    def picked(self, account: Account, lane: Lane, best: Candidate, only: Sequence[str]) -> Candidate | None:
        """The first job of a lane that fits, as `best`, which is its first, or one behind it; None where none does."""
        if not account.cautious or account.admission is Admission.OFF:
            return best
        outlook = self._outlook(account.name)
        if not outlook.windows:
            self._lifted(account)
            return best
        found = admission.decide(outlook, [self._load(best.id)])
        if isinstance(found, int):
            self._lifted(account)
            return best
        if account.admission is Admission.OBSERVE:
            self._hold(account, best, found)
            return best
        return self._behind(account, lane, best, only)

    def _behind(self, account: Account, lane: Lane, best: Candidate, only: Sequence[str]) -> Candidate | None:
        """Another job of the lane, that fits where the best does not."""
        if self._looked[account.name] >= WIDELY:
            return None
        ready = [one for one in self._rows.ready(lane, LOOK, only) if one > best]
        some = [best, *ready]
        self._looked[account.name] += len(some)
        found = admission.decide(self._outlooks[account.name], self._loads([one.id for one in some]))
        if isinstance(found, int):
            return some[found]
        self._hold(account, best, found)
        return None

    def started(self, account: Account, job: int) -> None:
        """One more runs."""
        if (outlook := self._outlooks.get(account.name)) is not None and outlook.windows:
            load = replace(self._load(job), seconds=0.0)
            self._outlooks[account.name] = replace(outlook, running=(*outlook.running, load))

    # --- what is known ---

    def _outlook(self, account: str) -> Outlook:
        if account not in self._outlooks:
            found = (self._left(meter) for meter in self._rows.meters_on(account))
            left = tuple(one for one in found if one is not None)
            running = tuple(self._running(one) for one in self._rows.underway(account)) if left else ()
            costs = {one.group: one for one in self._rows.costs_of(account)} if left else {}
            caution = self._caution(account) if running else 1.0
            self._outlooks[account] = Outlook(windows=left, costs=costs, running=running, caution=caution)
        return self._outlooks[account]

    def _caution(self, account: str) -> float:
        """Less where others draw on the account: what is left for later they take meanwhile."""
        length = LENGTHS[Window.FIVE_HOURS]
        readings = self._rows.readings_of(account, Window.FIVE_HOURS, self._now - 2 * length)
        return admission.caution(windows.others(readings) * length.total_seconds())

    def _left(self, meter: Meter) -> Left | None:
        tides = self._rows.tides_of(meter.scope, meter.window, TIDES)
        most = reserve.usable(self._rows.reserves(meter.scope), meter.window, self._now)
        habit = self._rows.habit(meter.scope, meter.window)
        if habit is not None and habit.slides and meter.window in LENGTHS:
            account, model = metering.part(meter.scope)
            draws = self._rows.draws(account, model, self._now - 2 * LENGTHS[meter.window])
            return windows.sliding(meter, draws, self._now, most=most)
        found = windows.left(meter, tides, self._now, most=most, firsts=self._firsts(meter, tides))
        if found is not None and habit is not None and reopening.should_be_over(habit, meter.read_at, self._now):
            return replace(found, stale=math.inf)  # whatever was told of its end: where nothing runs one may go
        return found

    def _firsts(self, meter: Meter, tides: Sequence[Tide]) -> list[Reading | None]:
        """What was told first of a window, and of those before it."""
        spans = [(meter.begins_at, self._now), *((tide.began_at, tide.ended_at) for tide in tides)]
        return [self._rows.first_reading(meter.scope, meter.window, since, until) for since, until in spans]

    def _load(self, job: int) -> Load:
        return self._loads([job])[0]

    def _loads(self, jobs: Sequence[int]) -> list[Load]:
        drafts = self._rows.drafts(jobs)
        return [self._queued(drafts[job]) for job in jobs]

    def _queued(self, one: Draft) -> Load:
        drawn, least = self._shown(one, goes_on=one.session)
        return Load(
            group=hints.kind(one.group, one.expect, one.share),
            drawn=drawn,
            least=least,
            goes_on=one.session and drawn > 0,
            expect=one.expect,
            share=one.share,
        )

    def _running(self, one: Draft) -> Load:
        assert one.started_at is not None, "it runs"
        drawn, least = self._shown(one, goes_on=True) if one.launches > 1 else (one.drawn, one.drawn)
        seconds = max((self._now - one.started_at).total_seconds(), 0.0)
        return Load(
            group=hints.kind(one.group, one.expect, one.share),
            drawn=drawn,
            least=least,
            seconds=seconds,
            lately=one.drawn,
            expect=one.expect,
            share=one.share,
        )

    def _shown(self, one: Draft, *, goes_on: bool) -> tuple[float, float]:
        return admission.shown(self._rows.attempts_of(one.job) if one.launches else (), goes_on=goes_on)

    # --- what is told ---

    def _hold(self, account: Account, best: Candidate, lack: Lack) -> None:
        """Write down why nothing starts, where that is new; tell it once for each window."""
        observed = account.admission is Admission.OBSERVE
        before, now = self._rows.held(account.name), self._now
        held = Held(
            account=account.name,
            since=before.since if before else now,
            again=now + AGAIN,
            job=best.id,
            window=lack.window,
            left=round(lack.left, 3),
            needed=None if lack.needed is None else round(lack.needed, 3),
            spread=round(lack.spread, 3),
            until=lack.until,
            observed=observed,
        )
        if before is not None and before.again > now and replace(before, again=held.again) == held:
            return
        self._rows.put_held(held)
        if before is None or (before.window, before.until, before.observed) != (held.window, held.until, observed):
            name = "admission would hold" if observed else "admission held"
            self._rows.event(now, name, job=best.id, scope=account.name, data=_told(held))

    def _lifted(self, account: Account) -> None:
        """The best job goes."""
        if (before := self._rows.held(account.name)) is not None:
            self._rows.drop_held(account.name)
            if not before.observed:
                self._rows.event(self._now, "admission open", scope=account.name, data={"window": before.window.value})


def _told(held: Held) -> dict[str, object]:
    return {
        "window": held.window.value,
        "left": held.left,
        "needed": held.needed,
        "spread": held.spread,
        "until": iso_or_none(held.until),
    }
