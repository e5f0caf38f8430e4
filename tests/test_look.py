"""The views: what a person reads, and what a program reads."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from filled import TOKEN

from tidegate.look.who import owner
from tidegate.look.words import Page, clean, columns_of, fit, shown, span

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)
PAGE = Page(now=NOON, zone=ZoneInfo("Europe/Berlin"))


# --- words ---


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (660, "11 min"),
        (3600, "1 h"),
        (7815, "2 h 10 min"),
        (2 * 86400 + 3600, "2 d 1 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain ünïcode · ok", "plain ünïcode · ok"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mcsi", "\\x9b31mcsi"),
        ("left\u202eright\u2028next\u200b", "left\\u202eright\\u2028next\\u200b"),
        ("\udcff", "\\udcff"),
        ("\x1b", "\\x1b"),
    ],
)
def test_a_clean_text_is_one_line_and_moves_no_cursor(text: str, line: str) -> None:
    assert clean(text) == line


def test_a_shown_text_keeps_no_token_even_behind_a_colour() -> None:
    told = shown(f"key: \x1b[1m{TOKEN}\x1b[0m and sk-ant-\x1b[0moat01-abcdefghijklmnop")
    assert "abcdefgh" not in told


def test_a_text_is_cut_to_the_columns_it_takes() -> None:
    assert columns_of("日本e\u0301") == 5
    assert fit("日本語日本語", 9) == "日本語..."
    assert fit("abcdef", 6) == "abcdef"
    assert [len(fit("abcdef", width)) for width in range(6)] == [0, 1, 2, 3, 4, 5]


def test_times_are_local_and_name_the_day_only_when_it_is_another() -> None:
    assert PAGE.at(NOON) == "13:00:00"
    assert PAGE.at(NOON + timedelta(hours=11)) == "Sat 00:00:00"
    assert PAGE.at(NOON - timedelta(days=7)) == "2026-01-02 13:00:00"
    assert PAGE.until(NOON + timedelta(minutes=10)) == "13:10:00 (in 10 min)"


# --- who works ---


def test_the_owner_of_a_lock_is_found_without_taking_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert owner(lock) is None
    with lock.open("w") as opened:
        assert owner(lock) is None, "a lock file alone says nothing"
        fcntl.flock(opened, fcntl.LOCK_EX)
        assert owner(lock) == os.getpid()
    assert owner(lock) is None
