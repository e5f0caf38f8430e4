"""The verb `show`: jobs one by one, why each is not running, and what its attempts came to."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from tidegate import hints, policy, stages
from tidegate.allowed import shown_size
from tidegate.look import places, plain
from tidegate.look.desk import Desk, chosen, hidden
from tidegate.look.output import path
from tidegate.look.why import Picture, Wait, stand, waits, words
from tidegate.look.words import Page, clean, counted, shown, span
from tidegate.model import Attempt, Hold, Job, Need, State, Stream, scopes

LABEL = 10  # columns of a label
PROMPT = 600  # characters of a prompt that text shows


class Sheet(Struct, frozen=True, kw_only=True):
    """All that is told about one job."""

    job: Job
    seen: Picture
    waits: Sequence[Wait]
    needs: Sequence[Need]
    attempts: Sequence[Attempt]
    state: Path
    spots: Sequence[places.Spot]

    @property
    def holds(self) -> list[Hold]:
        """Every hold in the scopes of the job, whether it keeps the job back just now or not."""
        mine = scopes(self.job, self.seen.host)
        return [hold for hold in self.seen.holds if hold.scope in mine and policy.prior_binds(hold, self.seen.now)]


def show(args: Namespace) -> int:
    """Print each job; 0, or 2 where one that is named is none."""
    with chosen(args) as (desk, jobs, code):
        for place, job in enumerate(jobs):
            sheet = _sheet(desk, job)
            if place and not args.json:
                print()
            for line in [plain.line(_form(sheet))] if args.json else _lines(sheet, desk.page):
                print(line)
    return code


def _sheet(desk: Desk, job: Job) -> Sheet:
    seen = desk.picture([job])
    attempts = desk.store.attempts(job.id)
    return Sheet(
        job=job,
        seen=seen,
        waits=waits(job, seen),
        needs=desk.store.needs([job.id]),
        attempts=attempts,
        state=desk.state,
        spots=places.spots(desk.state, job, attempts, sized=True),
    )


# --- as JSON ---


def _form(sheet: Sheet) -> plain.Form:
    job = sheet.job
    return (
        plain.job(job)
        | plain.interruptions(sheet.attempts)
        | {
            "spec": plain.definition(job.spec, hidden(job.spec.env)),
            "waits_for": [plain.wait(one) for one in sheet.waits],
            "needs": [plain.need(one) for one in sheet.needs],
            "holds": [plain.hold(hold) for hold in sheet.holds],
            "directories": [asdict(spot) for spot in sheet.spots],
            "history": [plain.attempt(one) | _files(sheet.state, one) for one in sheet.attempts],
        }
    )


def _files(state: Path, attempt: Attempt) -> plain.Form:
    files = {stream.value: str(path(state, attempt, stream)) for stream in Stream}
    return {**files, "unbounded": _lacked(path(state, attempt, Stream.STDOUT).parent) or None}


# --- as text ---


def _lines(sheet: Sheet, page: Page) -> Iterator[str]:
    for label, text in _facts(sheet, page):
        yield from page.wrap(f"{label:<{LABEL}}{text}", hang=LABEL)
    if sheet.attempts:
        yield page.paint("attempts", "bold")
    for attempt in sheet.attempts:
        yield from page.wrap(f"{attempt.n:>4}  {_attempt(attempt, page)}", hang=6)
        place = path(sheet.state, attempt, Stream.STDOUT).parent
        if lacked := _lacked(place):
            yield from page.wrap(f"ran without its bounds ({clean(lacked)}): they could not be had", indent=6)
        yield from page.wrap(str(place), indent=6)


def _lacked(place: Path) -> str:
    """The bounds that an attempt was to have and had not, as its intent names them."""
    return str(places.intent(place).get("unbounded", ""))


def _facts(sheet: Sheet, page: Page) -> Iterator[tuple[str, str]]:
    job = sheet.job
    yield "job", f"{clean(job.name)} (#{job.id})"
    yield "batch", clean(job.batch_name) + (f", group {clean(job.group)}" if job.group else "")
    yield "state", page.state(job.state) + _ended(job, page)
    if job.stage and not job.state.is_final:
        yield "stage", f"{job.stage}: the agent's work is done"
    yield from _reasons(sheet, page)
    for need in sheet.needs:
        yield "needs", f"{clean(need.name)} (#{need.needs}), {'met' if need.met else need.state.value}"
    yield "account", _account(job)
    if expected := hints.said(job.expect, job.share):
        yield "expected", expected
    yield from _definition(job)
    for stage, what in stages.named(job.spec):
        yield stage, shown(f"{shlex.join(what.command)}, for {what.account}")
    yield from places.lines(sheet.spots)
    if job.session:
        yield "session", clean(job.session)
    if job.spec.retries:
        yield (
            "retries",
            ", ".join(
                f"{number} after {kind} ({job.charges.get(kind, 0)} so far)"
                for kind, number in job.spec.retries.items()
            ),
        )
    launches = counted(job.launches, "launch", "launches")
    of = f" of the {job.stage}" if job.stage else ""
    yield "charged", f"{job.attempts} of {counted(stages.spec_of(job).max_attempts, 'attempt')}{of}, {launches}"


def _ended(job: Job, page: Page) -> str:
    if job.ended_at is None:
        return ""
    return f" at {page.at(job.ended_at)}" + (f": {shown(job.reason)}" if job.reason else "")


def _reasons(sheet: Sheet, page: Page) -> Iterator[tuple[str, str]]:
    """Why it is not running: each reason with its evidence; while it runs, since when."""
    if sheet.job.state is State.RUNNING:
        yield "runs", stand(sheet.job, sheet.seen, page, {sheet.job.id: sheet.attempts[-1]})
    for place, wait in enumerate(sheet.waits):
        yield "and" if place else "why", words(wait, sheet.job, sheet.seen, page)
        if wait.hold is not None and wait.hold.evidence:
            yield "evidence", shown(wait.hold.evidence)


def _account(job: Job) -> str:
    model = f", model {clean(job.model)}" if job.model else ""
    return f"{clean(job.account)}{model}, priority {job.priority}"


def _definition(job: Job) -> Iterator[tuple[str, str]]:
    spec = job.spec
    yield "agent", clean(spec.agent)
    if spec.command or spec.args:
        yield "command", shown(shlex.join([*spec.command, *spec.args]))
    if spec.prompt is not None:
        more = f" ... ({len(spec.prompt)} characters)" if len(spec.prompt) > PROMPT else ""
        yield "prompt", shown(spec.prompt[:PROMPT]) + more
    yield from places.asked(spec)
    for name, value in hidden(spec.env).items():
        yield "env", shown(f"{name}={value}")
    for name, value in spec.labels.items():
        yield "label", shown(f"{name}={value}")
    if spec.timeout is not None:
        yield "timeout", span(spec.timeout)
    if spec.max_output is not None:
        yield "output", f"at most {shown_size(spec.max_output)}"
    if spec.memory is not None:
        yield "memory", f"at most {shown_size(spec.memory)}"
    if spec.pids is not None:
        yield "processes", f"at most {spec.pids}, threads included"
    if spec.cpu_weight is not None:
        yield "weight", str(spec.cpu_weight)


def _attempt(attempt: Attempt, page: Page) -> str:
    began = page.at(attempt.started_at) + (f"  {attempt.stage}" if attempt.stage else "")
    drew = f", drew {attempt.drawn:,.0f} token equivalents" if attempt.drawn else ""
    if attempt.ended_at is None:
        return f"{began}  runs for {page.since(attempt.started_at)}{drew}"
    took = span(attempt.seconds or 0)
    exit = "" if attempt.exit is None else policy.ended(attempt.exit)
    exit = f", {exit}" if exit and not attempt.detail.startswith(exit) else ""
    cost = attempt.usage.cost_usd if attempt.usage else None
    money = "" if cost is None else f", ${cost:.4f}"
    detail = f": {shown(attempt.detail)}" if attempt.detail else ""
    return f"{began}  {clean(attempt.outcome or 'unknown')} after {took}{exit}{money}{drew}{detail}"
