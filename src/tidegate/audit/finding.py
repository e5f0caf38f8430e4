"""What an audit finds, and what a repair would do about it."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from tidegate.stores.books import Fault

MENDS = {  # what a repair does about each kind of fault of the database; what is not here takes a person
    "event_data": "it tells again what its job and its attempt say, and what it told is kept as words",
    "job_running": "it is queued again",
    "attempt_open": "its end is recorded as lost, uncharged",
    "attempt_end": "its end is recorded as lost, uncharged",
    "attempt_row": "its row is written again from its events",
    "attempt_told": "its end is told",
    "job_stage": "its agent begins again",
    "job_end": "its end is set as its state says",
    "job_untold": "its end is told",
    "job_launches": "they are counted again",
    "job_charged": "they are counted again",
    "job_charges": "they are counted again",
    "job_hint": "nothing is expected of it",
    "job_lost": "they are counted again",
    "job_limited": "they are counted again",
    "job_unmet": "they are counted again",
    "need_met": "it waits for that one no more",
    "need_hopeless": "it is skipped",
    "job_lane": "it is moved into its own",
    "lane_shut": "it is set as its group stands",
    "group_stand": "it is set as what the group needs says",
    "group_hopeless": "it is skipped",
    "lane_counts": "they are counted again",
    "job_held": "it is set as its holds say",
    "hold_allow": "it allows none, or one while it ramps",
    "hold_end": "it ends now, carefully",
    "hold_epoch": "it counts from now",
    "hold_origin": "it is removed",
    "habit": "it is learned again",
    "reserve_part": "it is removed",
    "reserve_hold": "it is lifted",
    "money": "they are counted again",
    "windows": "it is forgotten: it is told again",
    "costs": "they are forgotten: they are learned again",
    "held": "it is forgotten: the next claim finds out",
    "draws": "nothing counts as drawn there",
    "forecast": "it is forgotten",
    "request_cancel": "the request is dropped",
    "index": "the indexes are built again",
    "schema_part": "it is made again",
    "reference": "what it refers to is made again, or the row removed",
    "table": "what can be read is written into a new file; the damaged one is kept",
    "damage": "what can be read is written into a new file; the damaged one is kept",
}


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be, in a sentence: `kind` names the invariant, `mend` what a repair does.

    Without a `mend` a person must act, as `do` says. `is_wrong` is false for what can be so without harm. `place` is
    the file or directory, `pid` the process that it is about.
    """

    kind: str
    said: str
    mend: str = ""
    do: str = ""
    is_wrong: bool = True
    job: int | None = None
    attempt: int | None = None
    place: Path | None = None
    pid: int | None = None


def of(fault: Fault) -> Finding:
    """What a fault of the database is to a person."""
    about = "" if fault.job is None else f"job {fault.job} "
    if fault.attempt is not None:
        about = f"attempt {fault.attempt} of job {fault.job} "
    mend = MENDS.get(fault.kind, "")
    return Finding(
        kind=fault.kind,
        said=f"{about}{fault.said}",
        mend=mend,
        do="" if mend or fault.doubtful else DOES.get(fault.kind, "restore a backup, or see `tidegate show`"),
        is_wrong=not fault.doubtful,
        job=fault.job,
        attempt=fault.attempt,
    )


DOES = {
    "unreadable": "restore a backup",
    "blocked": "try again: another program has it, or the disk does not do",
    "newer": "upgrade tidegate",
    "job_definition": "submit it again",
    "job_spec": "submit it again",
    "job_revived": "see `tidegate events --job`, then cancel it or let it run",
    "need_circle": "cancel one of them",
    "group_circle": "run a file in which it does not",
    "need_early": "see `tidegate show`",
}
