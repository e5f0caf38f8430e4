"""Which jobs of a batch are picked."""

from __future__ import annotations

import pytest

from tidegate.selection import as_glob, fits


@pytest.mark.parametrize(
    ("patterns", "picked"),
    [((), True), (("T5",), True), (("T5/*",), True), (("T0", "*a"), True), (("T0",), False), (("t5/a",), False)],
)
def test_a_pattern_picks_a_group_or_names(patterns: tuple[str, ...], picked: bool) -> None:
    assert fits("T5/a", "T5", patterns) is picked


def test_what_is_not_in_a_set_is_said_otherwise_in_sql() -> None:
    assert as_glob("T[!0-4]/*") == "T[^0-4]/*"
