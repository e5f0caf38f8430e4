"""What issue 7 asks for, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from simulated.figures import Figures
from simulated.many import Try

PLAIN = {"refactor": 1.03, "tiers": 1.03, "ci": 1.03}  # how long each may take, by the optimum
BOUNDS = {
    "refusals-only": 1.04,
    "no-resume": 1.12,
    "sliding": 1.10,
    "human": 1.12,
    "costly-resume": 1.08,
    "32-slots": 1.06,
    "wrong-reset-early": 1.08,
    "wrong-reset-late": 1.08,
    "unreadable": 1.08,
}


@dataclass(frozen=True, slots=True)
class Line:
    """One bound: what of a run must be no more, or no less, than so much."""

    what: Try
    name: str
    bound: str
    value: Callable[[Figures], str]
    keeps: Callable[[Figures], bool]


def lines(workload: str) -> Iterator[Line]:
    """All of them; those that name no workload are tried on this one."""
    for name, most in PLAIN.items():
        what = Try(workload=name)
        yield Line(what, "done", "100 %", lambda one: f"{one.done:.1%}", lambda one: one.done == 1)
        yield _ratio(what, most)
        yield Line(what, "wasted", "<= 1.5 %", lambda one: f"{one.wasted:.1%}", lambda one: one.wasted <= 0.015)
        yield Line(what, "whole", ">= 95 %", lambda one: f"{one.whole:.1%}", lambda one: one.whole >= 0.95)
        yield Line(
            what, "closed launches", "<= closings", lambda one: f"{one.closed:.1f} of {one.closings:.1f}", _keeps_shut
        )
    for name, most in BOUNDS.items():
        yield _ratio(Try(workload=workload, scenario=name), most)


def _ratio(what: Try, most: float) -> Line:
    return Line(what, "ratio", f"<= {most:.2f}", _by_the_optimum, lambda one: one.ratio <= most)


def _by_the_optimum(one: Figures) -> str:
    """Of all seeds; and without those in which the week was used up just before the end."""
    return f"{one.ratio:.3f}" + (f" ({one.near:.3f} but for {one.late:.0%} a week late)" if one.late else "")


def _keeps_shut(one: Figures) -> bool:
    return one.closed <= one.closings


def told(line: Line, found: Mapping[Try, Figures], beside: Mapping[str, Try]) -> list[str]:
    """The columns of one line: what, its bound, its value and whether that keeps it, and the values of others."""
    one = found[line.what]
    verdict = "pass" if line.keeps(one) else "MISS"
    others = [line.value(found[other]) for other in beside.values()]
    return [f"{line.what.workload}, {line.what.scenario}", line.name, line.bound, line.value(one), verdict, *others]
