"""What an attempt has cost, and what may still be spent."""

from __future__ import annotations

import pytest

from tidegate.budget import own
from tidegate.model import Usage

OF_CLAUDE, OF_CODEX = ("cost_usd",), ("input_tokens", "output_tokens")


@pytest.mark.parametrize(
    ("told", "before", "used"),
    [
        pytest.param(Usage(cost_usd=0.3), [], Usage(cost_usd=0.3), id="the first of a session"),
        pytest.param(
            Usage(input_tokens=12, cost_usd=0.000456, of_session=OF_CLAUDE),
            [Usage(input_tokens=12, cost_usd=0.000114), Usage(cost_usd=0.000114)],
            Usage(input_tokens=12, cost_usd=0.000228),
            id="claude adds up money, not tokens",
        ),
        pytest.param(
            Usage(input_tokens=24, output_tokens=18, of_session=OF_CODEX),
            [Usage(), Usage(input_tokens=12, output_tokens=9)],
            Usage(input_tokens=12, output_tokens=9),
            id="codex adds up tokens",
        ),
        pytest.param(
            Usage(cost_usd=0.1, of_session=OF_CLAUDE),
            [Usage(cost_usd=0.25)],
            Usage(cost_usd=0.1),
            id="less",
        ),
        pytest.param(
            Usage(input_tokens=3, of_session=OF_CLAUDE), [Usage(cost_usd=1)], Usage(input_tokens=3), id="none"
        ),
    ],
)
def test_nothing_that_an_agent_tells_of_a_whole_session_is_counted_twice(
    told: Usage, before: list[Usage], used: Usage
) -> None:
    assert own(told, before) == used
