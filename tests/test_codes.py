"""What a program learns from the exit code of a wait."""

from __future__ import annotations

import pytest

from tidegate import codes
from tidegate.model import State


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({}, codes.OK),
        ({State.SUCCEEDED: 3}, codes.OK),
        ({State.SUCCEEDED: 3, State.ERROR: 0, State.FAILED: 0}, codes.OK),
        ({State.SUCCEEDED: 3, State.FAILED: 1}, codes.SOME_FAILED),
        ({State.CANCELLED: 1}, codes.SOME_FAILED),
        ({State.SKIPPED: 1, State.SUCCEEDED: 1}, codes.SOME_FAILED),
        ({State.FAILED: 2, State.ERROR: 1}, codes.INFRASTRUCTURE),
    ],
)
def test_one_bad_end_is_told_and_one_without_a_result_outweighs_it(counts: dict[State, int], code: int) -> None:
    assert codes.ended(counts) == code
