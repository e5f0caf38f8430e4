"""The verb `status`: one screen on what works, what waits and why, and what needs a person."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct

from tidegate import __version__
from tidegate.look import budgets, foretold, plain, windows
from tidegate.look.desk import Desk, opened, state_of
from tidegate.look.find import quoted
from tidegate.look.output import last_output
from tidegate.look.who import Works
from tidegate.look.why import TIMED, Picture, Wait, by_cause, hold_words, scope_words, words
from tidegate.look.words import Page, clean, columns_of, counted, fit, pad, page, shown
from tidegate.model import Ask, Attempt, Balance, Batch, Hold, Job, Meter, Origin, Request, State
from tidegate.prospect import Forecast

COUNTED = 200  # queued jobs whose reasons are counted one by one
OPEN, ENDED = 6, 3  # unfinished and finished batches that the screen shows
BUDGETS = 6  # budgets that the screen shows
RUNNING = 10  # running jobs that the screen shows
NAME = 40  # columns of a running job's name
WINDOWS = 6  # windows of accounts that the screen shows
CAUSES = 6  # reasons to wait that the screen shows
PERSON = 4  # and of those that wait for a person
RECENT = 200  # events in which a drain is looked for: while it lasts, little happens

Counts = Mapping[State, int]


class Status(Struct, frozen=True, kw_only=True):
    """All that one screen tells; `causes` has the first COUNTED queued jobs by what keeps each back most.

    `forecasts` are those of the batches that are worked on, by number.
    """

    state: Path
    works: Works
    batches: Sequence[tuple[Batch, Counts]]
    seen: Picture
    queued: int
    causes: dict[Wait, list[Job]]
    requests: Sequence[Request]
    drained_by: str
    balances: Sequence[Balance] = ()
    meters: Sequence[Meter] = ()
    forecasts: Mapping[int, Forecast] = {}

    def is_to_end(self, job: Job) -> bool:
        """Whether the end of a running job is asked for."""
        return any(one.verb is Ask.CANCEL and one.target == job.id for one in self.requests)

    @property
    def for_a_person(self) -> list[Hold]:
        """The holds that wait for a person."""
        return [hold for hold in self.seen.holds if hold.origin is Origin.HUMAN]


def status(args: Namespace) -> int:
    """Print the status; 0."""
    with opened(args) as desk:
        if desk is None:
            _nothing(args)
        else:
            told = look(desk)
            for line in [plain.line(_form(told))] if args.json else _screen(told, desk.page):
                print(line)
    return 0


def look(desk: Desk) -> Status:
    """What there is to tell now."""
    first = desk.store.jobs(states=[State.QUEUED], most=COUNTED)
    seen, works = desk.picture(first), desk.works()
    requests, batches = desk.store.requests(), [(batch, desk.store.counts(batch.id)) for batch in desk.store.batches()]
    return Status(
        state=desk.state,
        works=works,
        batches=batches,
        seen=seen,
        queued=desk.store.counts().get(State.QUEUED, 0),
        causes=by_cause(first, seen),
        requests=requests,
        drained_by=_drained_by(desk, requests) if works.pid is not None else "",
        balances=desk.store.balances(desk.page.now),
        meters=desk.store.meters(),
        forecasts=_forecasts(desk, batches) if works.pid is not None else {},
    )


def _forecasts(desk: Desk, batches: Sequence[tuple[Batch, Counts]]) -> dict[int, Forecast]:
    """What was foretold last of each batch that has not ended; nobody looks ahead where nobody works."""
    found = [desk.store.last_forecast(batch.id) for batch, counts in batches if _is_open(counts)]
    return {one.batch: one for one in found if one is not None and foretold.is_fresh(one, desk.page.now)}


def _drained_by(desk: Desk, requests: Sequence[Request]) -> str:
    """Who asked the supervisor to drain; "" where nobody did."""
    if asked := [one.by for one in requests if one.verb is Ask.DRAIN]:
        return asked[0]
    for event in reversed(desk.store.events(after=max(desk.store.last_seq() - RECENT, 0), most=RECENT)):
        if event.name == "supervisor entered":
            break
        if event.name == "drain answered" and not event.data.get("refused"):
            return str(event.data.get("by") or "somebody")
    return ""


# --- as JSON ---


def _form(told: Status) -> plain.Form:
    return {
        "version": __version__,
        "at": plain.iso(told.seen.now),
        "state_dir": str(told.state),
        "working": _works_form(told.works),
        "batches": [_batch_form(batch, counts, told.forecasts.get(batch.id)) for batch, counts in told.batches],
        "drained_by": told.drained_by or None,
        "requests": [plain.request(one) for one in told.requests],
        "running": [_running_form(job, attempt, told) for job, attempt in told.seen.running],
        "queued": told.queued,
        "waiting": [plain.wait(cause) | {"jobs": len(jobs)} for cause, jobs in told.causes.items()],
        "holds": [plain.hold(hold) for hold in told.seen.holds],
        "windows": [windows.form(meter) for meter in told.meters],
        "budgets": budgets.forms(told.balances),
        "needs_human": [plain.hold(hold) for hold in told.for_a_person],
    }


def _works_form(works: Works) -> plain.Form | None:
    if works.pid is None:
        return None
    known = plain.supervisor(works.known) if works.known else {"pid": works.pid}
    return known | {"trouble": works.trouble or None}


def _batch_form(batch: Batch, counts: Counts, forecast: Forecast | None) -> plain.Form:
    jobs = {state.value: counts.get(state, 0) for state in State}
    return {"number": batch.id, "batch": batch.name, **jobs, "forecast": foretold.form(forecast)}


def _running_form(job: Job, attempt: Attempt, told: Status) -> plain.Form:
    supervised, frozen = told.works.pid is not None, told.seen.is_frozen(job)
    return plain.job(job) | {"running": plain.attempt(attempt), "supervised": supervised, "frozen": frozen}


# --- as a screen ---


def _screen(told: Status, page: Page) -> Iterator[str]:
    yield from page.wrap(f"tidegate {__version__} in {clean(str(told.state))}")
    yield from page.wrap(_working(told, page))
    if told.works.trouble:
        yield from page.wrap(f"{page.paint('nothing can be recorded', 'red')}: {shown(told.works.trouble)}", indent=2)
    yield from _batches(told, page)
    yield from _running(told, page)
    yield from _waiting(told, page)
    yield from _windows(told.meters, page)
    yield from _budgets(told.balances, page)
    yield from _for_a_person(told, page)


def _working(told: Status, page: Page) -> str:
    works, running = told.works, counted(len(told.seen.running), "attempt")
    if works.pid is not None:
        since = f" for {page.since(works.known.started_at)}" if works.known else ""
        drain = f"; it drains, asked by {clean(told.drained_by)}" if told.drained_by else ""
        return f"{page.paint('working', 'green')}: pid {works.pid}{since}{_alone(told)}, {running} running{drain}"
    nobody = page.paint("nobody works here", "yellow")
    if told.seen.running:
        since = f" since pid {works.gone[-1].pid} ended" if works.gone else ""
        return f"{nobody}{since}: the next `tidegate serve` or `tidegate run` takes over {running}"
    return f"{nobody}: `tidegate serve` goes on, or `tidegate run FILE` with its batch" if told.queued else nobody


def _alone(told: Status) -> str:
    """The one batch that is worked on, where it is only one."""
    names = {batch.id: batch.name for batch, _ in told.batches}
    known = told.works.known
    return f" on {clean(names[known.batch])} alone" if known and known.batch in names else ""


def _batches(told: Status, page: Page) -> Iterator[str]:
    """The unfinished batches, oldest first, and the finished ones that are newest."""
    if not (batches := told.batches):
        return
    yield page.paint("batches", "bold")
    unfinished = [batch.id for batch, counts in batches if _is_open(counts)]
    ended = [batch.id for batch, counts in batches if not _is_open(counts)]
    shown_ones = {*unfinished[:OPEN], *ended[-ENDED:]}
    for batch, counts in batches:
        if batch.id in shown_ones:
            yield from page.wrap(f"{clean(batch.name)}: {tally(counts)}", indent=2, hang=6)
            for line in foretold.lines(told.forecasts[batch.id], page) if batch.id in told.forecasts else ():
                yield from page.wrap(line, indent=6, hang=8)
    if len(unfinished) > OPEN:
        yield f"  and {counted(len(unfinished) - OPEN, 'later batch', 'later batches')}, not ended"
    if len(ended) > ENDED:
        yield f"  and {counted(len(ended) - ENDED, 'earlier batch', 'earlier batches')}, ended"


def _windows(meters: Sequence[Meter], page: Page) -> Iterator[str]:
    """How much is used of what is drawn from just now."""
    present = [meter for meter in meters if not meter.is_over(page.now)]
    if present:
        yield page.paint("windows", "bold")
    for meter in present[:WINDOWS]:
        account = clean(meter.scope.partition("/")[0])
        yield from page.wrap(f"{account} {windows.line(meter, page)}", indent=2, hang=6)
    if len(present) > WINDOWS:
        yield f"  and {len(present) - WINDOWS} more: tidegate accounts"


def _budgets(balances: Sequence[Balance], page: Page) -> Iterator[str]:
    """What may be spent where something is left to do, or is to be for any batch."""
    if balances:
        yield page.paint("budgets", "bold")
    for one in balances[:BUDGETS]:
        yield from page.wrap(budgets.line(one), indent=2, hang=6)
    if len(balances) > BUDGETS:
        yield f"  and {counted(len(balances) - BUDGETS, 'more', 'more')}"


def _is_open(counts: Counts) -> bool:
    return any(counts.get(state, 0) for state in (State.QUEUED, State.RUNNING))


def tally(counts: Counts) -> str:
    """The jobs of a batch in each state: "30 jobs: 3 running, 27 succeeded"."""
    parts = [f"{counts[state]} {state.value}" for state in State if counts.get(state)]
    return f"{counted(sum(counts.values()), 'job')}: {', '.join(parts)}" if parts else "no jobs"


def _running(told: Status, page: Page) -> Iterator[str]:
    if not told.seen.running:
        return
    yield page.paint("running", "bold")
    names = {job.id: _name(job, several=len(told.batches) > 1) for job, _ in told.seen.running[:RUNNING]}
    size = min(max(map(columns_of, names.values())), NAME if page.width is None else min(NAME, page.width // 3))
    for job, attempt in told.seen.running[:RUNNING]:
        how = f"attempt {attempt.n}, {clean(job.account)}, for {page.since(attempt.started_at)}"
        said = _besides(told, job, attempt) + last_output(told.state, attempt, page)
        yield fit(f"  {pad(_ending(names[job.id], size), size)}  {how}{said}", page.width)
    if len(told.seen.running) > RUNNING:
        yield f"  and {len(told.seen.running) - RUNNING} more"


def _besides(told: Status, job: Job, attempt: Attempt) -> str:
    canary = attempt.canary and not attempt.progressed
    facts = {"the canary": canary, "frozen": told.seen.is_frozen(job), "its end is asked for": told.is_to_end(job)}
    return "".join(f", {words}" for words, is_so in facts.items() if is_so)


def _name(job: Job, *, several: bool) -> str:
    return clean(f"{job.batch_name}:{job.name}" if several and not job.batch_name.startswith("/") else job.name)


def _ending(name: str, size: int) -> str:
    """A name cut at its beginning: what tells jobs of one kind apart stands at the end."""
    if columns_of(name) <= size:
        return name
    while columns_of(name) > size - 3:
        name = name[1:]
    return f"...{name}"


def _waiting(told: Status, page: Page) -> Iterator[str]:
    """Each hold, whether a job waits behind it or not, then what else the queued jobs wait for."""
    binding = [cause.hold for cause in told.causes]
    idle = [hold for hold in told.seen.holds if hold not in binding and hold.origin is not Origin.START]
    causes = {**told.causes, **{Wait(kind="hold", until=hold.until, hold=hold): [] for hold in idle}}
    causes = {cause: jobs for cause, jobs in causes.items() if not _is_for_a_person(cause)}
    if not causes:
        return
    yield page.paint(f"waiting: {counted(told.queued, 'job')}{_over(told)}", "bold")
    for cause, jobs in islice(causes.items(), CAUSES):
        yield from page.wrap(f"{len(jobs):>4}  {_cause(cause, jobs, told.seen, page)}", indent=0, hang=6)
        yield from _evidence(cause.hold, page)
    if len(causes) > CAUSES:
        yield f"      and {counted(len(causes) - CAUSES, 'further reason')}: tidegate accounts, tidegate list"


def _over(told: Status) -> str:
    """Over how many jobs the reasons are counted, where that is not over all."""
    return f" (counted over the first {COUNTED})" if told.queued > COUNTED else ""


def _cause(cause: Wait, jobs: Sequence[Job], seen: Picture, page: Page) -> str:
    if cause.kind in TIMED and cause.until is not None:
        what = "start" if cause.kind == "start" else "try again"
        return f"to {what}, the first at {page.until(cause.until)}"
    if cause.kind == "hold" and cause.hold is not None:
        return f"{scope_words(cause.hold.scope)} {hold_words(cause.hold, page)}"
    return words(cause, jobs[0], seen, page)


def _is_for_a_person(cause: Wait) -> bool:
    return cause.hold is not None and cause.hold.origin is Origin.HUMAN


def _evidence(hold: Hold | None, page: Page) -> Iterator[str]:
    if hold is not None and hold.evidence:
        yield from page.wrap(f'"{shown(hold.evidence)}"', indent=6)


def _for_a_person(told: Status, page: Page) -> Iterator[str]:
    if not told.for_a_person:
        return
    yield page.paint(f"needs a person{_over(told)}", "red")
    for hold in told.for_a_person[:PERSON]:
        jobs = next((len(jobs) for cause, jobs in told.causes.items() if cause.hold == hold), 0)
        yield from page.wrap(f"{jobs:>4}  {clean(hold.scope)}: {shown(hold.reason)}", hang=6)
        yield from _evidence(hold, page)
        yield from page.wrap(f"when that is settled: tidegate resume {quoted(hold.scope)}", indent=6)
    if len(told.for_a_person) > PERSON:
        yield f"      and {len(told.for_a_person) - PERSON} more"


def _nothing(args: Namespace) -> None:
    """Say that nothing has been submitted here yet."""
    state = state_of(args)
    if args.json:
        seen = Picture(now=page().now, host="", holds=(), running=(), accounts={}, supervised=False)
        works = Works(pid=None, known=None, gone=())
        empty = Status(state=state, works=works, batches=(), seen=seen, queued=0, causes={}, requests=(), drained_by="")
        print(plain.line(_form(empty)))
    else:
        begin = "begin with `tidegate submit` or `tidegate run FILE`"
        print(f"nothing here yet: no batch was submitted to {clean(str(state))}; {begin}")
