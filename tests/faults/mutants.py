"""Mistakes that somebody could make, put in from outside: the machines must find each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tidegate import attempt, gate, handover, policy, supervisor
from tidegate.model import Failed, Limited, State
from tidegate.stores import claim, ends, ledger, memory

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]


def changed(where: Any, name: str, change: Callable[[Any], Callable[..., Any]]) -> Mutant:
    """`name` of `where` is what `change` makes of it."""
    return lambda patch: patch.setattr(where, name, change(getattr(where, name)))


def result(where: Any, name: str, after: Callable[[Any], Any]) -> Mutant:
    """What `name` of `where` returns is put through `after`."""
    return changed(where, name, lambda real: lambda *args, **more: after(real(*args, **more)))


def returns(where: Any, name: str, value: Any) -> Mutant:
    return changed(where, name, lambda _: lambda *_, **__: value)


def _charge_limits(real: Any) -> Any:
    def after(job: Any, outcome: Any, *args: Any, **more: Any) -> Any:
        made = real(job, outcome, *args, **more)
        return replace(made, attempts=made.attempts + 1) if isinstance(outcome, Limited) else made

    return after


def _accept_anybody(real: Any) -> Any:
    def owned(self: Any, attempt: Any) -> Any:
        mine = self._rows.attempt(attempt.job, attempt.n)
        return real(self, replace(attempt, supervisor=mine.supervisor) if mine else attempt)

    return owned


def _lift_all(real: Any) -> Any:
    return lambda self, scope, now, *, by, origins=(): real(self, scope, now, by=by)


def _resume_last(real: Any) -> Any:
    return lambda self, lane, most, only: sorted(
        real(self, lane, 1000, only), key=lambda one: (one[0], -one[1], one[2])
    )[:most]


def _ignoring(**blind: Any) -> Any:
    def change(real: Any) -> Any:
        def ready(self: Any, *asked: Any) -> Any:
            jobs = self.jobs
            self.jobs = {id: replace(job, **blind) for id, job in jobs.items()}
            try:
                return real(self, *asked)
            finally:
                self.jobs = jobs

        return ready

    return change


def _shorten(prior: Any, new: Any) -> Any:
    return replace(prior, until=new.until, resets_at=new.resets_at, exact=new.exact)


def _never_stale(*_: Any) -> bool:
    return False


def _keep_charges(real: Any) -> Any:
    return lambda job: replace(real(job), attempts=job.attempts)


def _keep_session(real: Any) -> Any:
    return lambda job, new: replace(real(job, new), session=job.session)


def _drop_due(rows: Any, now: Any) -> None:
    for hold in rows.due_holds(now):
        rows.drop_hold(hold)


def _all_that_ended(self: Any, jobs: Any) -> list[int]:
    return [id for id in jobs if id in self.jobs and self.jobs[id].state.is_final]


def _without_proof(real: Any) -> Any:
    return lambda seen, exit: real(replace(seen, proof=False), exit)


def _unlimited(real: Any) -> Any:
    return lambda *args, most, **more: real(*args, most=None, **more)


STORE: dict[str, Mutant] = {
    "a limit is charged": changed(policy, "after", _charge_limits),
    "a claim ignores the holds": returns(policy, "places", 9),
    "a claim ignores the concurrency of accounts": changed(policy, "places", _unlimited),
    "a finish accepts who does not own the job": changed(ledger.Ledger, "_owned", _accept_anybody),
    "two canaries go at a reopening": result(policy, "reopening", lambda hold: replace(hold, allow=2)),
    "the same canary goes again": returns(claim._Taking, "_prefer_others", None),
    "nobody goes first": returns(claim._Taking, "_start_carefully", None),
    "a retry forgets the session": result(policy, "retried", lambda job: replace(job, session=None)),
    "a retry keeps the charges": changed(policy, "retried", _keep_charges),
    "a hold is shortened": changed(policy, "_extended", lambda _: _shorten),
    "a neighbour shuts a gate that was just opened": changed(policy, "_is_stale", lambda _: _never_stale),
    "a lift takes the holds of every origin": changed(ledger.Ledger, "lift", _lift_all),
    "those who need a job that failed wait for ever": returns(ends, "_skip", None),
    "a need is not waited for": changed(memory._Rows, "ready", _ignoring(unmet=0)),
    "a delay is not waited for": changed(memory._Rows, "ready", _ignoring(not_before=None)),
    "a cut-off job waits behind fresh ones": changed(memory._Rows, "ready", _resume_last),
    "a job may be lost for ever": result(policy, "_lost", lambda job: replace(job, state=State.QUEUED, ended_at=None)),
    "a cancel is forgotten": changed(ends, "obeyed", lambda _: lambda _rows, job, _ties, _now: job),
    "a supervisor leaves one attempt unadopted": result(ledger.Ledger, "adopt", lambda claims: claims[1:]),
    "what was given back is charged": result(policy, "released", lambda job: replace(job, attempts=job.attempts + 1)),
    "a ramp opens at the first progress": returns(policy, "widened", None),
    "no ramp opens": changed(policy, "widened", lambda _: lambda hold, most: hold),
    "nobody knows when to look again": returns(memory.MemoryStore, "next_due", None),
    "a stuck job goes on": returns(policy, "stuck", False),
    "no brake stops blank attempts": returns(policy, "brake", None),
    "a limit's end lifts its hold without a canary": changed(claim, "turn_due", lambda _: _drop_due),
    "hours are no hours": returns(policy, "outside", None),
    "an edit keeps another agent's session": changed(policy, "edited", _keep_session),
    "forgetting takes what others need": changed(memory._Rows, "forgettable", lambda _: _all_that_ended),
    "a refused end is written": returns(ledger, "_same_end", None),
}


async def _nothing(*_: object, **__: object) -> None: ...


def _forget_running(real: Any) -> Any:
    def hand_over(self: Any, attempts: Any, job: Any, *args: Any, **more: Any) -> None:
        real(self, attempts, job, *args, **more)
        self._running.pop(job.id, None)

    return hand_over


def _limits_are_failures(real: Any) -> Any:
    def verdict(*args: Any) -> Any:
        found = real(*args)
        return Failed(reason="limit") if isinstance(found, Limited) else found

    return verdict


def _never_started(real: Any) -> Any:
    async def adopt(self: Any, attempts: Any, others: Any) -> None:
        post = self._post
        await self.see_holds()
        for _, one in await post.ask(post.store.adopt, post.me.uuid, post.me.host, post.clock.now()):
            await self._give_back(one, "never started")
        await self.look()

    return adopt


SUPERVISOR: dict[str, Mutant] = {
    "a gate that shut before the launch is not seen": returns(gate.Gate, "is_open", True),
    "what still runs is started again": changed(supervisor.Supervisor, "_adopt", _never_started),
    "what still runs is not adopted": changed(supervisor.Supervisor, "_adopt", lambda _: _nothing),
    "a cancel is not heeded": returns(supervisor.Supervisor, "_heed", None),
    "what is paused goes on": returns(supervisor.Supervisor, "_see_halts", None),
    "an interruption is charged": changed(policy, "judged", lambda _: lambda verdict, asked, proof: verdict),
    "an end that was asked for is forgotten at a kill": returns(handover, "read_asked", None),
    "what never started is not given back": changed(supervisor.Supervisor, "_give_back", lambda _: _nothing),
    "a slot is given twice": changed(supervisor.Supervisor, "_hand_over", _forget_running),
    "a limit is a failure": changed(policy, "verdict", _limits_are_failures),
    "a limit shuts no gate": changed(supervisor.Supervisor, "_shut", lambda _: _nothing),
    "an end is not recorded": changed(supervisor.Supervisor, "_record", lambda _: _nothing),
    "success needs no proof": changed(policy, "verdict", _without_proof),
    "a session is not remembered": returns(attempt.Running, "_intent", {"job": 0, "attempt": 0}),
    "a limit is charged": changed(policy, "after", _charge_limits),
    "two canaries go at a reopening": result(policy, "reopening", lambda hold: replace(hold, allow=2)),
}
