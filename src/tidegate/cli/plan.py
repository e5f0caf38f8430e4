"""The verb `plan`: the jobs that a batch file means, and how they stand against what is in the store."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from tidegate import again, agents, batch, files, hints, needs, settings
from tidegate.batch import Expanded
from tidegate.cli.config import loaded
from tidegate.look import plain, why
from tidegate.look.desk import Desk, opened
from tidegate.look.why import Picture
from tidegate.look.words import Page, clean, counted, page
from tidegate.model import Group, Job, NewGroup, NewJob, State
from tidegate.settings import Settings


class Plan(Struct, frozen=True, kw_only=True):
    """What a run would find: names by how they stand, and the jobs that would be queued, ready or kept back."""

    new: Sequence[str]
    unchanged: Sequence[str]
    changed: Sequence[str]
    absent: Sequence[str]
    ended: Mapping[State, int]
    ready: Counter[str]
    kept: Mapping[str, int]
    now: int


def plan(args: Namespace) -> int:
    """Print the expanded jobs, and the hours that were said, as lines of a JSONL batch, or a summary; 0.

    Raises BadInput.
    """
    said = loaded(args).settings
    known = agents.known(settings.agents(said))
    read = files.read_batch(
        args.file,
        agents=known.names,
        recognise=known.recognise,
        has_limits=known.has_limits,
        accounts=settings.accounts(said),
        form=args.format,
        defaults=args.default,
    )
    part = again.selected(read, args.only)
    if not args.summary:
        sys.stdout.write(batch.head_as_jsonl(part) + batch.as_jsonl(part.jobs))
        return 0
    with opened(args) as desk:
        told = _told(part, desk, said, whole=not args.only)
    for line in [plain.line(_form(part, told))] if args.json else _lines(part, told, page()):
        print(line)
    return 0


def _told(read: Expanded, desk: Desk | None, said: Settings, *, whole: bool) -> Plan:
    stored = again.stored(desk.store, read.name) if desk is not None else {}
    same = _same(read.jobs, stored, desk)
    names, printed = {job.name for job in read.jobs}, again.printing(read)
    queued = [stored.get(job.name) or _as_queued(job, read.name, page()) for job in read.jobs]
    seen = _picture(read, desk)
    seen.groups.update(_grouped(read.groups, {**stored, **{job.name: job for job in queued}}.values()))
    kept, ready = _waiting([job for job in queued if job.state is State.QUEUED], seen)
    free = said.supervisor.slots - len(seen.running)
    return Plan(
        new=[job.name for job in read.jobs if job.name not in stored],
        unchanged=[name for name, is_same in same.items() if is_same],
        changed=[name for name, is_same in same.items() if not is_same],
        absent=[name for name, job in stored.items() if name not in names and job.group not in printed]
        if whole
        else [],
        ended=Counter(stored[name].state for name in same if stored[name].state is not State.QUEUED),
        ready=ready,
        kept=kept,
        now=max(0, min(free, sum(min(number, _free(account, seen, number)) for account, number in ready.items()))),
    )


def _same(jobs: Sequence[NewJob], stored: Mapping[str, Job], desk: Desk | None) -> dict[str, bool]:
    """Of each known job whether it is as it was."""
    if desk is None:
        return {}
    return {job.name: again.is_same(desk.store, stored[job.name], job) for job in jobs if job.name in stored}


def _as_queued(new: NewJob, batch_name: str, on: Page) -> Job:
    return Job(
        id=0,
        batch=0,
        batch_name=batch_name,
        name=new.name,
        account=new.account,
        spec=new.spec,
        model=new.model,
        group=new.group,
        priority=new.priority,
        created_at=on.now,
    )


def _picture(read: Expanded, desk: Desk | None) -> Picture:
    """What would decide if somebody worked here."""
    if desk is None:
        accounts = {one.name: one for one in read.accounts}
        return Picture(now=page().now, host="", holds=[], running=[], accounts=accounts, supervised=True)
    seen = why.picture(desk.store, desk.page.now, desk.host, supervised=True)
    seen.accounts.update({one.name: one for one in read.accounts})
    return seen


def _grouped(said: Sequence[NewGroup], jobs: Collection[Job]) -> dict[tuple[int, str], Group]:
    """The groups of a batch as they would stand with these jobs."""
    made = {name: NewGroup(name=name) for one in said for name in one.needs} | {one.name: one for one in said}
    counts = {name: Counter(job.state for job in jobs if job.group == name) for name in made}
    begun = {job.group for job in jobs if _has_begun(job)}
    found = {name: _stands(one, counts, started=name in begun) for name, one in made.items()}
    return {(batch, name): group for batch in {job.batch for job in jobs} for name, group in found.items()}


def _stands(one: NewGroup, counts: Mapping[str, Mapping[State, int]], *, started: bool) -> Group:
    stand = needs.stand(one.when, [counts[name] for name in one.needs], started=started)
    return Group(
        id=0,
        batch=0,
        batch_name="",
        name=one.name,
        needs=one.needs,
        when=one.when,
        stand=stand,
        counts=counts[one.name],
    )


def _has_begun(job: Job) -> bool:
    ran = (State.RUNNING, State.SUCCEEDED, State.FAILED, State.ERROR)
    return job.state in ran or (job.state is State.QUEUED and (job.resumed or job.attempts > 0 or job.stage != ""))


def _waiting(queued: Sequence[Job], seen: Picture) -> tuple[dict[str, int], Counter[str]]:
    """How many jobs each cause keeps back, in words, and how many are ready, by account."""
    kept: Counter[str] = Counter()
    ready: Counter[str] = Counter()
    on = page()
    for job in queued:
        wait = why.waits(job, seen)[0]
        if wait.kind in ("slot", "account"):
            ready[job.account] += 1
        elif wait.hold is not None:
            kept[f"{why.scope_words(wait.hold.scope)} {why.hold_words(wait.hold, on)}"] += 1
        elif wait.kind == "group":
            kept[why.words(wait, job, seen, on)] += 1
        else:
            kept["waits for its time" if wait.until is not None else "waits for other jobs"] += 1
    return dict(kept), ready


def _free(account: str, seen: Picture, number: int) -> int:
    most = seen.most(account)
    return number if most is None else max(0, most - len(seen.epochs[account]))


# --- what a person sees ---


def _groups(read: Expanded) -> dict[str, Counter[str]]:
    groups: dict[str, Counter[str]] = {}
    for job in read.jobs:
        groups.setdefault(job.group, Counter())[job.account] += 1
    return groups


def _jobs_by_group(read: Expanded) -> dict[str, list[NewJob]]:
    groups: dict[str, list[NewJob]] = {}
    for job in read.jobs:
        groups.setdefault(job.group, []).append(job)
    return groups


def _expected(jobs: Sequence[NewJob]) -> plain.Form | None:
    """What the file says to expect of jobs together, and of how many of them."""
    whole, number = hints.total(jobs)
    said = plain.expectation(whole.seconds, whole.share)
    return said and {**said, "jobs": number}


def _hoped(jobs: Sequence[NewJob]) -> str:
    whole, number = hints.total(jobs)
    some = "" if number == len(jobs) else f" ({number} of them)"
    return f"; expected: {hints.said(whole.seconds, whole.share)}{some}" if number else ""


def _form(read: Expanded, told: Plan) -> plain.Form:
    return {
        "batch": read.name,
        "jobs": len(read.jobs),
        "groups": {name or "": dict(accounts) for name, accounts in _groups(read).items()},
        "expect": {name or "": _expected(jobs) for name, jobs in _jobs_by_group(read).items()},
        "expand": sorted(again.printing(read)),
        "needs": {one.name: {"needs": list(one.needs), "when": one.when.value} for one in read.groups},
        "new": list(told.new),
        "unchanged": len(told.unchanged),
        "changed": list(told.changed),
        "absent": list(told.absent),
        "states": {state.value: number for state, number in told.ended.items()},
        "ready": dict(told.ready),
        "kept": dict(told.kept),
        "now": told.now,
    }


def _lines(read: Expanded, told: Plan, on: Page) -> Iterator[str]:
    ties = {one.name: one for one in read.groups}
    yield from on.wrap(f"{clean(read.name)}: {counted(len(read.jobs), 'job')}")
    jobs = _jobs_by_group(read)
    for name, accounts in _groups(read).items():
        shares = ", ".join(f"{number} of {account}" for account, number in accounts.items())
        after = f", after {_after(ties[name])}" if name in ties else ""
        after += ", and what it prints then" if name in again.printing(read) else ""
        said = f"{clean(name) or 'no group'}: {counted(sum(accounts.values()), 'job')}: {shares}{after}"
        yield from on.wrap(said + _hoped(jobs[name]), indent=2)
    known = len(told.unchanged) + len(told.changed)
    ended = ", ".join(f"{number} {state}" for state, number in told.ended.items())
    yield from on.wrap(
        f"against what is there: {len(told.new)} new, {known} known" + (f" ({ended})" if ended else ""), indent=2
    )
    if told.changed:
        yield from on.wrap(
            f"{len(told.changed)} changed: {_some(told.changed)}; --update gives queued ones the new definition",
            indent=2,
        )
    if told.absent:
        yield from on.wrap(f"{len(told.absent)} not in the file any more, and kept: {_some(told.absent)}", indent=2)
    for words, number in told.kept.items():
        yield from on.wrap(f"{counted(number, 'job')} kept back: {words}", indent=2)
    ready = ", ".join(f"{number} of {account}" for account, number in told.ready.items())
    yield from on.wrap(f"would start at once: at most {told.now}" + (f"; ready are {ready}" if ready else ""), indent=2)


def _after(group: NewGroup) -> str:
    """What a group waits for, in words."""
    return f"{needs.named(group.needs)} ({group.when.replace('_', ' ')})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(clean(name) for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
