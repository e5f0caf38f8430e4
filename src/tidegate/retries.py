"""How often a job is tried again after failures of each kind."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.model import Cause, Failed, Outcome, Spec, TimedOut

TIMEOUT, ERROR, FAILED = "timeout", "error", "failed"
KINDS = (FAILED, ERROR, TIMEOUT, Cause.OUTPUT.value, Cause.MEMORY.value)  # what a definition may name


def kind_of(outcome: Outcome, spec: Spec) -> str:
    """The kind of a charged end: "failed" where the agent said no, "timeout", and "error" for no valid result.

    Too much output or memory is an error, too, unless the definition names it by itself.
    """
    if isinstance(outcome, TimedOut):
        return TIMEOUT
    if not isinstance(outcome, Failed) or outcome.valid:
        return FAILED
    return outcome.cause.value if outcome.cause.value in spec.retries else ERROR


def counted(charges: Mapping[str, int], kind: str) -> dict[str, int]:
    """The charged ends by kind, with one more."""
    return {**charges, kind: charges.get(kind, 0) + 1}


def are_spent(spec: Spec, charges: Mapping[str, int], kind: str) -> bool:
    """Whether a job that has just failed so is not tried again.

    A kind that is named has a number of its own; all others together have `max_attempts`.
    """
    if kind in spec.retries:
        return charges.get(kind, 0) > spec.retries[kind]
    return sum(number for one, number in charges.items() if one not in spec.retries) >= spec.max_attempts
