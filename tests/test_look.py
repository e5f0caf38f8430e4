"""The views: what a person reads, and what a program reads."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from filled import EVIDENCE, RULES, TOKEN, Night, job, limit_hold, night
from installed import Tidegate, said, until
from msgspec.structs import replace

from tidegate import places
from tidegate.lock import owner
from tidegate.look import budgets, windows
from tidegate.look import foretold as telling
from tidegate.look.words import Page, clean, columns_of, fit, shown, span
from tidegate.model import (
    Account,
    Allowance,
    Attempt,
    Balance,
    Batch,
    Budget,
    Failed,
    Halt,
    Hold,
    Meter,
    NewJob,
    Origin,
    Reading,
    Spec,
    Spent,
    Succeeded,
    Window,
)
from tidegate.policy import Rules
from tidegate.prospect import Forecast, Week

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


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def filled(tidegate: Tidegate) -> Night:
    return night(tidegate.state)


@pytest.fixture
def worked(filled: Night) -> Iterator[Night]:
    """The same, with this process as the supervisor that owns the state directory."""
    with places.lock(filled.state).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield filled


# --- status ---


def test_status_says_who_works_what_runs_and_why_the_rest_waits(tidegate: Tidegate, worked: Night) -> None:
    screen = tidegate("status").stdout
    assert re.search(rf"^working: pid {os.getpid()} for 1 h, 1 attempt running$", screen, re.MULTILINE)
    assert "nightly: 30 jobs: 28 queued, 1 running, 1 succeeded" in screen
    assert re.search(r"nightly:train/4  attempt 1, codex, for 2 min.*, the canary, last output \d+ s ago", screen)
    until = r"until (\w{3} )?\d\d:\d\d:\d\d \(in (2 h|1 h 5\d min)\)"
    assert re.search(rf"^  10  claude-max is shut {until}: usage limit, 5h window$", screen, re.MULTILINE)
    assert f'      "{EVIDENCE}"' in screen.splitlines()
    assert "   8  codex opens again (usage limit, 5h window): one goes first" in screen
    assert "   0  batch:other is paused by alice: lunch" in screen
    person = screen[screen.index("needs a person") :]
    assert "  11  gemini: not logged in" in person
    assert "tidegate resume gemini" in person


def test_status_says_that_nobody_works_and_whose_attempts_are_left(tidegate: Tidegate, filled: Night) -> None:
    screen = tidegate("status").stdout
    assert f"nobody works here since pid {os.getpid()} ended" in screen
    assert tidegate.lines("status")[0]["working"] is None


def test_status_as_json_is_one_object_with_times_in_utc(tidegate: Tidegate, worked: Night) -> None:
    (told,) = tidegate.lines("status")
    assert told["working"]["pid"] == os.getpid()
    nightly = {name: number for name, number in told["batches"][0].items() if number}
    assert nightly == {"number": 1, "batch": "nightly", "queued": 28, "running": 1, "succeeded": 1}
    assert told["batches"][0]["failed"] == 0
    assert [job["job"] for job in told["running"]] == ["train/4"]
    waiting = {wait["hold"]["scope"]: wait["jobs"] for wait in told["waiting"]}
    assert waiting == {"claude-max": 10, "codex": 8, "gemini": 11}
    shut = next(hold for hold in told["holds"] if hold["scope"] == "claude-max")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shut["until"])
    assert (shut["evidence"], shut["window"]) == (EVIDENCE, "5h")
    assert [hold["scope"] for hold in told["needs_human"]] == ["gemini"]


def foretold(minutes: float | None, **more: object) -> Forecast:
    """What was foretold at noon, with an end after so many minutes."""
    p50, p90 = (
        (None, None) if minutes is None else (NOON + timedelta(minutes=minutes), NOON + timedelta(minutes=2 * minutes))
    )
    return Forecast(**{"batch": 1, "at": NOON, "left": 3, "slots": 4, "p50": p50, "p90": p90, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forecast", "lines"),
    [
        (foretold(100), ["done by about 14:40, 16:20 at the latest nine times in ten"]),
        (
            foretold(700, windows=2),
            ["done by about Sat 00:40, Sat 12:20 at the latest nine times in ten: 2 more windows"],
        ),
        (foretold(100, windows=0), ["done by about 14:40, 16:20 at the latest nine times in ten"]),
        (foretold(100, why="so"), ["done by about 14:40, 16:20 at the latest nine times in ten (so)"]),
        (foretold(-1), ["was to be done by about 12:59"]),
        (foretold(None, why="no job has ended yet"), ["nobody knows when it is done: no job has ended yet"]),
        (
            foretold(100, weeks={"max": Week(now=0.41, then=0.737)}),
            [
                "done by about 14:40, 16:20 at the latest nine times in ten",
                "the week of max: 41% used now, about 74% then",
            ],
        ),
        (
            foretold(100, weeks={"max": Week(now=0.41, then=1.0, full=NOON + timedelta(days=7))}),
            [
                "done by about 14:40, 16:20 at the latest nine times in ten",
                "the week of max: 41% used now, all of it by 2026-01-16 13:00 at this rate",
            ],
        ),
    ],
)
def test_a_forecast_is_told_to_the_minute(forecast: Forecast, lines: list[str]) -> None:
    assert list(telling.lines(forecast, PAGE)) == lines


def test_a_forecast_that_nobody_has_renewed_is_not_told() -> None:
    known = foretold(1000)
    assert [telling.is_fresh(known, NOON + timedelta(hours=hours)) for hours in (-1, 0, 1, 2)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_batch_that_is_over_is_told_with_what_was_foretold_of_it() -> None:
    unknown = foretold(None, why="no job has ended yet")
    line = "forecast at 13:00: 13:20 (p90 13:40); it ended at 13:00"
    assert telling.in_the_end([unknown, foretold(20), foretold(90)], PAGE) == line
    assert telling.in_the_end([unknown], PAGE) == telling.in_the_end([], PAGE) == ""


def test_status_tells_when_a_batch_is_done(tidegate: Tidegate, worked: Night) -> None:
    now = datetime.now(UTC)
    forecast = foretold(100, at=now, p50=now + timedelta(days=30), p90=now + timedelta(days=31), windows=3)
    worked.store.note_forecast(Batch("nightly", 1), forecast, now)
    line = r"^      done by about \d{4}-\d\d-\d\d \d\d:\d\d, .* at the latest nine times in ten: 3 more windows$"
    assert re.search(line, tidegate("status").stdout, re.MULTILINE)
    (told,) = tidegate.lines("status")
    assert told["batches"][0]["forecast"]["windows"] == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["batches"][0]["forecast"]["p90"])
    assert told["batches"][1]["forecast"] is None


def test_where_nobody_works_nothing_is_foretold(tidegate: Tidegate, filled: Night) -> None:
    now = datetime.now(UTC)
    filled.store.note_forecast(Batch("nightly", 1), foretold(100, at=now), now)
    assert "done by" not in tidegate("status").stdout


def test_an_empty_place_is_told_as_such_and_stays_empty(tidegate: Tidegate) -> None:
    assert "nothing here yet" in tidegate("status").stdout
    assert tidegate.lines("status")[0]["batches"] == []
    assert tidegate("list").stdout == tidegate("events").stdout == ""
    assert not tidegate.state.exists(), "a look writes nothing"


@pytest.mark.slow
def test_status_stays_one_screen_however_much_there_is(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    accounts = [f"account-{n}" for n in range(30)]
    made.store.set_accounts([Account(name=name) for name in accounts], made.now)
    for batch in range(50):
        made.submit(f"batch-{batch}", *[job(f"j{n}", accounts[n % 30]) for n in range(200)])
    made.enter()
    made.claim(40)
    for number, name in enumerate(accounts):
        origin = Origin.HUMAN if number % 3 == 0 else Origin.OPERATOR
        made.store.hold(Hold(scope=name, origin=origin, since=made.now, reason="no", by="me"), made.now)
    tidegate.env["COLUMNS"] = "120"
    lines = tidegate("status").stdout.splitlines()
    assert len(lines) <= 50, len(lines)
    assert "  and 44 later batches, not ended" in lines
    assert "  and 30 more" in lines
    assert "needs a person (counted over the first 200)" in lines
    (told,) = tidegate.lines("status")
    assert (len(told["batches"]), len(told["running"]), told["queued"]) == (50, 40, 9960), "JSON has it all"


def test_status_tells_what_is_asked_for_and_what_else_is_waited_for(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job("a"))
    made.enter()
    made.claim(1)
    tidegate("cancel", "a")
    tidegate("submit", "--in", "2h", "--", "true")
    tidegate("submit", "--after", "a", "--", "true")
    screen = tidegate("status").stdout
    assert re.search(r"^  b:a +attempt 1, .*, its end is asked for", screen, re.MULTILINE)
    assert re.search(r"^   1  to start, the first at .* \(in (2 h|1 h 5\d min)\)$", screen, re.MULTILINE)
    assert re.search(r"^   1  waits for a$", screen, re.MULTILINE)
    (told,) = tidegate.lines("status")
    assert [(one["request"], one["job"]) for one in told["requests"]] == [("cancel", 1)]


def test_status_counts_only_the_first_of_many_queued_jobs_and_says_so(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("big", *[job(f"j{n}") for n in range(500)])
    screen = tidegate("status").stdout
    assert "waiting: 500 jobs (counted over the first 200)" in screen
    assert " 200  nobody works here" in screen


# --- list ---


def test_list_tells_each_job_in_columns_with_its_reason(tidegate: Tidegate, worked: Night) -> None:
    lines = tidegate("list").stdout.splitlines()
    assert lines[0].split() == ["NO", "JOB", "BATCH", "STATE", "ACCOUNT", "ATTEMPTS", "WHY"]
    assert len(lines) == 32
    places_of = [lines[0].index(heading) for heading in lines[0].split()]
    assert all(line[place - 1 : place] in (" ", "") for line in lines[1:] for place in places_of[1:]), (
        "the columns are aligned"
    )
    assert re.match(r"5 +train/4 +nightly +running +codex +0/3 +the canary, for 2 min", lines[1]), (
        "what runs comes first"
    )
    assert re.match(r"1 +train/0 +nightly +queued +claude-max +0/3 +is shut until ", lines[2])
    assert re.match(r"3 +train/2 +nightly +queued +gemini +1/3 +needs a person: not logged in", lines[3])
    assert re.match(r"2 +train/1 +nightly +succeeded +codex +0/3$", lines[31]), "and what has ended last"


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (["--state", "succeeded"], ["train/1"]),
        (["--state", "succeeded", "--state", "running"], ["train/1", "train/4"]),
        (["--batch", "other"], ["train/0"]),
        (["--batch", "nightly", "--account", "claude-max", "--state", "running"], []),
        (["--account", "codex", "--state", "queued"], [f"train/{n}" for n in range(7, 30, 3)]),
    ],
)
def test_list_filters(tidegate: Tidegate, filled: Night, flags: list[str], names: list[str]) -> None:
    assert [job["job"] for job in tidegate.lines("list", *flags)] == names


def test_list_shows_what_matters_most_and_says_how_much_more_there_is(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("big", *[job(f"j{n}", "mine") for n in range(2100)])
    made.store.set_accounts([Account(name="mine")], made.now)
    made.submit("small", job("last"))
    made.enter()
    made.claim(2, batch=2)
    for n in (1, 2, 3):
        made.store.cancel(n, made.now, by="me")
    done = tidegate("list")
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["JOB", "last", "j3"]
    assert len(lines) == 101
    assert done.stderr == "tidegate: 2,001 more not shown; --all shows every one\n"
    ended = tidegate("list", "--state", "cancelled", "--limit", "2")
    assert [line.split()[1] for line in ended.stdout.splitlines()] == ["JOB", "j2", "j1"], "the newest first"
    assert "tidegate: 1 more not shown" in ended.stderr
    assert tidegate("list", "--account", "mine").stderr == "tidegate: more not shown; --all shows every one\n"
    assert tidegate("list", "--batch", "small").stderr == ""
    everything = [f"j{n}" for n in range(2100)] + ["last"]
    assert [job["job"] for job in tidegate.lines("list")] == everything
    assert [line.split()[1] for line in tidegate("list", "--all").stdout.splitlines()[1:]] == everything
    assert [job["job"] for job in tidegate.lines("list", "--limit", "3")] == ["last", "j3", "j4"]


def test_list_filters_by_label(tidegate: Tidegate) -> None:
    for number, labels in enumerate((["a=1"], ["a=2", "b="], [])):
        flags = [flag for label in labels for flag in ("--label", label)]
        tidegate("submit", "--name", f"j{number}", *flags, "--", "true")
    for label, names in {"a": ["j0", "j1"], "a=2": ["j1"], "b=": ["j1"], "b": ["j1"], "a=": [], "c": []}.items():
        assert [job["job"] for job in tidegate.lines("list", "--label", label)] == names, label


# --- show ---


def test_show_tells_every_reason_with_its_evidence(tidegate: Tidegate, worked: Night) -> None:
    sheet = tidegate("show", "nightly:train/0").stdout
    assert re.search(r"^why +claude-max is shut until .*: usage limit, 5h window$", sheet, re.MULTILINE)
    assert re.search(rf"^evidence +{re.escape(EVIDENCE)}$", sheet, re.MULTILINE)
    assert re.search(r"^session +0000-session$", sheet, re.MULTILINE)
    assert re.search(r"^   1  .* limited after 4 min, exit 1: You've hit", sheet, re.MULTILINE)
    assert str(places.attempt(worked.state, 1, 1)) in sheet


def test_show_tells_a_retry_and_what_a_person_must_do(tidegate: Tidegate, worked: Night) -> None:
    sheet = tidegate("show", "train/2").stdout
    assert re.search(r"^why +gemini needs a person: not logged in$", sheet, re.MULTILINE)
    assert re.search(r"^and +tries again at .* \(in .* min.*\) after exit 1: ", sheet, re.MULTILINE)
    assert re.search(r"^charged +1 of 3 attempts, 1 launch$", sheet, re.MULTILINE)


def test_a_job_that_waits_for_others_names_them(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("chain", job("first"), job("se\ncond"), job("third"), job("fourth"))
    ids = [made.number(name) for name in ("first", "se\ncond", "third", "fourth")]
    for name, needs in {"one": ids[:1], "two": ids[:2], "many": ids, "later": [ids[0]]}.items():
        made.submit(name, replace(job(name), needs=tuple(needs)))
    made.enter()
    ended = made.claim()[0][1]
    made.store.finish(ended, Succeeded("done"), made.now)
    assert "why       waits for se\\ncond\n" in tidegate("show", "two").stdout
    assert "why       waits for se\\ncond, third and fourth\n" in tidegate("show", "many").stdout
    assert re.search(r"^needs +first \(#1\), met$", tidegate("show", "many").stdout, re.MULTILINE)
    (told,) = tidegate.lines("show", "two")
    assert told["needs"] == [
        {"number": 1, "job": "first", "state": "succeeded", "met": True},
        {"number": 2, "job": "se\ncond", "state": "queued", "met": False},
    ]
    assert [wait["needs"] for wait in told["waits_for"] if wait["for"] == "needs"] == [["se\ncond"]]
    listed = {job["job"]: job for job in tidegate.lines("list")}
    assert (listed["many"]["unmet"], listed["one"]["unmet"]) == (3, 0)
    assert listed["many"]["waits_for"][0]["needs"] == ["se\ncond", "third", "fourth"]
    assert re.search(r"^\d+ +many .* waits for se\\ncond, third and fourth$", tidegate("list").stdout, re.MULTILINE)
    assert "   2  waits for other jobs\n" in tidegate("status").stdout


def test_a_job_that_waits_for_its_start_says_when(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    starts = [made.now + timedelta(hours=hours) for hours in (3, 4)]
    made.submit("later", *[replace(job(f"at {n}"), not_before=at) for n, at in enumerate(starts)])
    assert re.search(r"^why +starts at .* \(in (2 h|1 h 5\d min)\)$", tidegate("show", "at 0").stdout, re.MULTILINE)
    assert re.search(
        r"^   2  to start, the first at .* \(in (2 h|1 h 5\d min)\)$", tidegate("status").stdout, re.MULTILINE
    )
    (told,) = tidegate.lines("show", "at 1")
    assert [wait["for"] for wait in told["waits_for"]] == ["start", "supervisor"]


def test_hours_and_a_freeze_are_told_in_words(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    hour = datetime.now(UTC).hour
    hours = f"{(hour + 3) % 24:02}:00-{(hour + 5) % 24:02}:00 UTC"
    made.submit("night", job("a", "codex"))
    made.store.set_hours("codex", hours, datetime.now(UTC))
    frozen = Hold(scope="command", origin=Origin.OPERATOR, since=made.now, by="ann", halt=Halt.FREEZE)
    made.store.hold(frozen, made.now)
    screen = tidegate("status").stdout
    assert re.search(
        rf"^   1  codex is closed until .* \(in .*\): outside its hours \({hours}\)$", screen, re.MULTILINE
    )
    assert "   0  command is frozen by ann\n" in screen
    assert {hold["scope"]: hold["halt"] for hold in tidegate.lines("status")[0]["holds"]} == {
        "codex": "",
        "command": "freeze",
    }


def test_show_waits_for_no_pipe_that_an_agent_has_put_in_the_place_of_its_intent(
    tidegate: Tidegate, filled: Night
) -> None:
    (place,) = filled.state.glob("attempts/1/1")
    os.mkfifo(place / "attempt.json")
    shown = tidegate("show", "1", timeout=20)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert str(place) in shown.stdout


def test_show_hides_what_a_name_says_is_secret(tidegate: Tidegate, filled: Night) -> None:
    sheet = tidegate("show", "other:train/0").stdout
    assert "hush-hush" not in sheet
    assert "API_KEY=[redacted]" in sheet
    assert "PLAIN=yes" in sheet
    (told,) = tidegate.lines("show", "other:train/0")
    assert told["spec"]["env"] == {"API_KEY": "[redacted]", "PLAIN": "yes"}


def test_show_as_json_is_one_object_with_its_history(tidegate: Tidegate, filled: Night) -> None:
    (told,) = tidegate.lines("show", "train/1")
    (attempt,) = told["history"]
    assert told["state"] == attempt["outcome"] == "succeeded"
    assert (attempt["exit"], attempt["seconds"]) == (0, 240)
    assert attempt["usage"]["cost_usd"] == 0.25
    assert (attempt["drawn"], attempt["answers"]) == (35, 1)
    assert "$0.2500, drew 35 token equivalents" in tidegate("show", "train/1").stdout
    assert Path(attempt["stdout"]).read_bytes() == b"one line\n"
    (waits,) = tidegate.lines("show", "nightly:train/0")
    assert [wait["for"] for wait in waits["waits_for"]] == ["hold", "supervisor"]
    assert waits["waits_for"][0]["hold"]["evidence"] == EVIDENCE


def test_show_tells_several_jobs_one_after_the_other(tidegate: Tidegate, filled: Night) -> None:
    sheets = tidegate("show", "1-3").stdout.split("\n\n")
    assert [re.search(r"\(#(\d)\)", sheet)[1] for sheet in sheets] == ["1", "2", "3"]  # type: ignore[index]
    assert [job["number"] for job in tidegate.lines("show", "1-3")] == [1, 2, 3]


def test_a_job_is_named_by_its_id_its_batch_or_its_number(tidegate: Tidegate, filled: Night) -> None:
    filled.submit("/somewhere/deep/batch.toml", job("a:b"), job("train/0"), job("#5"))
    number = filled.number("a:b")
    for name in ("a:b", "batch.toml:a:b", "/somewhere/deep/batch.toml:a:b", f"#{number}"):
        assert tidegate.lines("show", name)[0]["number"] == number, name
    assert tidegate.lines("show", "#5")[0]["job"] == "train/4", "a number is a number first"
    assert tidegate.lines("show", "batch.toml:#5")[0]["job"] == "#5"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train/0", "tidegate: job train/0 is in several batches: nightly:train/0, other:train/0"),
        ("trian/7", "tidegate: no job trian/7 here; did you mean train/7?"),
        ("#99", "tidegate: no job '#99' here"),
        ("nope:train/0", "tidegate: no job nope:train/0 here"),
        ("a\nb\x1b[2J", "tidegate: no job 'a\\nb' here"),
    ],
)
def test_a_job_that_is_none_or_several_is_one_line_and_exit_code_2(
    tidegate: Tidegate, filled: Night, name: str, line: str
) -> None:
    done = tidegate("show", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


# --- other people's words ---


@pytest.mark.parametrize("verb", [("status",), ("list",), ("show", "train/2"), ("events",)])
def test_no_view_lets_through_a_control_character_or_a_token(
    tidegate: Tidegate, filled: Night, verb: tuple[str, ...]
) -> None:
    filled.submit("hostile\x1b[2J\nbatch", job("evil\x1b[31m\njob \u202e"))
    told = tidegate(*verb).stdout
    assert all(line.isprintable() for line in told.split("\n"))
    assert "abcdefghijklmnop" not in told


@pytest.mark.parametrize(
    "verb", [("list", "--all"), ("show", "keys"), ("status",), ("events",), ("pause", "--reason", TOKEN)]
)
def test_no_object_lets_through_a_token_that_a_person_wrote(tidegate: Tidegate, verb: tuple[str, ...]) -> None:
    made = Night(tidegate.state)
    spec = Spec(agent="command", command=("echo", TOKEN), prompt=f"use {TOKEN}", labels={"key": TOKEN})
    made.submit("b", NewJob(name="keys", account="command", spec=spec))
    tidegate("pause", "command", "--reason", f"for {TOKEN}")
    told = json.dumps(tidegate.lines(*verb))
    assert "sk-ant-[redacted]" in told
    assert "abcdefghijklmnop" not in told


def test_what_matters_most_is_seen_on_80_columns(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    long = "account-of-a-colleague-with-a-long-name"
    made.store.set_accounts([Account(name=long), Account(name="other")], made.now)
    made.store.set_hours(long, "mon-fri 00:00-24:00, sat-sun 00:00-24:00 Europe/Berlin", made.now)
    named = "a-model-with-a-name-that-is-long/another-word/seed-"
    made.submit("nightly", *[job(f"{named}{n}", long if n < 2 else "other") for n in range(4)])
    made.enter()
    made.claim(2)
    made.store.hold(limit_hold(long, made.now, datetime.now(UTC) + timedelta(hours=30)), made.now)
    made.store.hold(Hold(scope="batch:nightly", origin=Origin.OPERATOR, since=made.now, by="me"), made.now)
    tidegate.env["COLUMNS"] = "80"
    assert " is shut until " in tidegate("accounts").stdout.splitlines()[1]
    assert tidegate("accounts").stdout.splitlines()[1].startswith("account-of-a-colleag...  ")
    assert [line[-25:] for line in tidegate("list").stdout.splitlines()[3:]] == ["its batch is paused by me"] * 2
    running = [line.split()[0] for line in tidegate("status").stdout.splitlines() if "attempt 1" in line]
    assert [name[-6:] for name in running] == ["seed-0", "seed-1"]


@pytest.mark.parametrize("columns", ["20", "47", "80", "0", "x", "99999999"])
@pytest.mark.parametrize(
    "verb", [("status",), ("list",), ("show", "train/2"), ("events",), ("accounts",), ("list", "--help"), ("config",)]
)
def test_every_view_fits_the_columns(tidegate: Tidegate, filled: Night, verb: tuple[str, ...], columns: str) -> None:
    tidegate.env["COLUMNS"] = columns
    done = tidegate(*verb)
    assert done.returncode == 0, done.stderr
    if columns in ("20", "47", "80") and verb not in (("events",), ("list", "--help")):
        assert max(map(len, done.stdout.splitlines())) <= int(columns)


def test_text_is_plain_when_it_goes_to_a_file(tidegate: Tidegate, filled: Night) -> None:
    tidegate.env |= {"TERM": "xterm", "FORCE_COLOR": "1"}
    assert "\x1b" not in tidegate("status").stdout


# --- events ---


def test_events_are_one_line_each_with_the_names_of_jobs(tidegate: Tidegate, filled: Night) -> None:
    lines = tidegate("events").stdout.splitlines()
    assert len(lines) == filled.store.last_seq()
    (ended,) = [line for line in lines if "attempt ended" in line and "job=train/0" in line]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  attempt ended +job=train/0 attempt=1 ", ended)
    assert f'reason="{EVIDENCE}"' in ended


def test_an_event_cannot_forge_a_fact(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job('x" job=forged\nforged'))
    (line,) = tidegate("events", "--batch", "b").stdout.splitlines()
    assert line.endswith('job="x\\" job=forged\\nforged"')


def test_events_of_one_job_or_batch(tidegate: Tidegate, filled: Night) -> None:
    names = [event["event"] for event in tidegate.lines("events", "--job", "train/1")]
    assert names == ["job added", "attempt claimed", "attempt ended", "job ended"]
    assert [event["job"] for event in tidegate.lines("events", "--batch", "other")] == ["train/0"]


def test_a_follower_of_events_hears_what_happens_later(tidegate: Tidegate, filled: Night) -> None:
    tidegate.start("events", "-f", "--json")
    heard = tidegate.place / "started.0"
    until(lambda: heard.exists() and len(heard.read_text().splitlines()) >= 20)
    assert "attempt claimed" in heard.read_text(), "it begins with the last 20"
    assert len(heard.read_text().splitlines()) == 20
    filled.submit("later", job("late"))
    until(lambda: '"late"' in heard.read_text())


# --- logs ---


def test_logs_are_the_bytes_of_the_last_attempt(tidegate: Tidegate) -> None:
    made, first = running(tidegate, b"first\n")
    made.store.finish(first, Failed(reason="no"), made.now, exit=1, rules=Rules(retry_first=0))
    ((_, second),) = made.claim()
    odd = b"\xff\x00\x1b[1m" + b"x" * 3_000_000 + b"\nno newline at the end"
    made.output(second, odd, b"complaint\n")
    assert raw(tidegate, "logs", "a") == odd
    assert raw(tidegate, "logs", "a", "--attempt", "1") == b"first\n"
    assert raw(tidegate, "logs", "a", "--stderr") == b"complaint\n"
    (head, tail) = [json.loads(line) for line in raw(tidegate, "logs", "a", "--json").splitlines()]
    assert (tail["text"], tail["attempt"], tail["stream"]) == ("no newline at the end", 2, "stdout")
    assert head["text"].startswith("\ufffd\x00\x1b[1mxxx")


def test_logs_of_an_attempt_that_is_none_name_what_there_is(tidegate: Tidegate) -> None:
    running(tidegate, b"")
    done = tidegate("logs", "a", "--attempt", "7")
    assert (done.returncode, done.stderr) == (2, "tidegate: a has no attempt 7; there is 1 to 1\n")


def test_logs_of_a_job_that_has_not_started_say_why(tidegate: Tidegate, filled: Night) -> None:
    done = tidegate("logs", "train/3")
    assert (done.returncode, done.stdout) == (0, "")
    assert "train/3 has not started yet: claude-max is shut until" in done.stderr


def test_logs_of_an_attempt_without_a_file_say_so(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job("a"))
    made.enter()
    ((_, attempt),) = made.claim()
    made.store.finish(attempt, Failed(reason="no such program: x", retry=False), made.now, rules=RULES)
    done = tidegate("logs", "a")
    assert (done.returncode, done.stderr) == (0, "tidegate: attempt 1 has no output: no such program: x\n")


def test_a_follower_goes_on_across_attempts_until_the_job_ends(tidegate: Tidegate) -> None:
    made, first = running(tidegate, None)
    follower = tidegate.start("logs", "-f", "a")
    place = made.output(first, b"one ")
    heard = tidegate.place / "started.0"
    until(lambda: b"one " in heard.read_bytes())
    with (place / "stdout.log").open("ab") as growing:
        growing.write(b"two\n")
    until(lambda: b"one two\n" in heard.read_bytes())
    made.store.finish(first, Failed(reason="no"), made.now, exit=1, rules=Rules(retry_first=0))
    ((_, second),) = made.claim()
    made.output(second, b"\xffthree")
    until(lambda: b"\xffthree" in heard.read_bytes())
    assert follower.poll() is None, "it goes on to the end of the job"
    made.store.finish(second, Succeeded(), made.now, exit=0, rules=RULES)
    assert follower.wait(20) == 0
    before, _, after = heard.read_bytes().partition(b"tidegate: --- attempt 2 of a ---\n")
    assert before.startswith(b"one two\n"), "what it waits for in between may be told after it"
    assert after == b"\xffthree"


def test_a_follower_of_one_attempt_leaves_with_it(tidegate: Tidegate) -> None:
    made, first = running(tidegate, b"first")
    follower = tidegate.start("logs", "-f", "a", "--attempt", "1")
    until(lambda: (tidegate.place / "started.0").read_text() == "first")
    made.store.finish(first, Failed(reason="no"), made.now, exit=1, rules=Rules(retry_first=0))
    assert follower.wait(20) == 0
    assert (tidegate.place / "started.0").read_text() == "first"


# --- windows ---


def window(**more: object) -> Meter:
    begins = NOON - timedelta(hours=3)
    return Meter(scope="claude-max", window=Window.FIVE_HOURS, begins_at=begins, **more)  # type: ignore[arg-type]


READ = {"used": 0.634, "read_at": NOON - timedelta(minutes=11), "resets_at": NOON + timedelta(hours=2)}


@pytest.mark.parametrize(
    ("meter", "words"),
    [
        (window(**READ), "5h: 63 % used, resets 15:00:00 (in 2 h), read 11 min ago"),
        (replace(window(**READ), scope="claude-max/opus"), "5h of opus: 63 % used, resets 15:00:00 (in 2 h), read 11"),
        (
            window(**READ, refused_at=NOON - timedelta(hours=1)),
            "5h: used up since 12:00:00, resets 15:00:00 (in 2 h)",
        ),
        (window(), "5h: begun 3 h ago, not read yet, ends by 15:00:00 (in 2 h) if it is anchored"),
        (replace(window(), window=Window.SPEND), "spend: begun 3 h ago, not read yet"),
        (window(resets_at=NOON), "5h: over: the next one begins with the next use"),
        (
            window(**{**READ, "resets_at": NOON}),
            "5h: over: the next one begins with the next use, the last was 63 % used when it was read 11 min ago",
        ),
    ],
)
def test_a_window_is_told_in_a_line(meter: Meter, words: str) -> None:
    assert windows.line(meter, PAGE).startswith(words)


def test_accounts_and_the_status_tell_how_much_of_their_windows_is_used(tidegate: Tidegate, worked: Night) -> None:
    now, resets = datetime.now(UTC), datetime.now(UTC) + timedelta(hours=2)
    weekly = Reading(scope="codex", window=Window.WEEK, used=0.25, at=now, resets_at=resets + timedelta(days=3))
    mine = Reading(scope="claude-max", window=Window.FIVE_HOURS, used=0.63, at=now, resets_at=resets)
    worked.store.note_signals([], [weekly, mine], now)
    lines = tidegate("accounts", "codex").stdout.splitlines()
    assert re.match(r"  week: 25 % used, resets .* \(in 3 d \d h\), read \d+ s ago", lines[2])
    (told,) = tidegate.lines("accounts", "codex")
    assert [(one["window"], one["used"], one["refused_at"]) for one in told["windows"]] == [("week", 0.25, None)]
    screen = tidegate("status").stdout
    assert "windows\n" in screen
    assert re.search(r"^  codex week: 25 % used, ", screen, re.MULTILINE)
    (whole,) = tidegate.lines("status")
    assert {one["scope"] for one in whole["windows"]} == {"codex", "claude-max"}


# --- accounts ---


def test_accounts_tell_what_runs_waits_and_holds_and_who_answered(tidegate: Tidegate, worked: Night) -> None:
    worked.store.set_hours("gemini", "20:00-07:00 Europe/Berlin", worked.now)
    worked.store.keep_stops("configuration", {"codex": {Window.WEEK: 0.75, Window.FIVE_HOURS: 0.9}}, worked.now)
    worked.store.keep_stops("batch:b", {"codex": {Window.WEEK: 0.8}}, worked.now)
    lines = tidegate("accounts").stdout.splitlines()
    assert lines[0].split() == ["ACCOUNT", "RUNNING", "QUEUED", "ANSWERED", "GATE"]
    assert re.match(r"claude-max +0 of 4 +10 +- +is shut until .*: usage limit, 5h window", lines[1])
    opens = r"opens again \(usage limit, 5h window\): one goes first; stop_at 5h 90%, week 75%"
    assert re.match(rf"codex +1 +8 +56 min ago +{opens}", lines[2])
    closed = r"(is closed until .*; )?"  # by day the hours hold it, too
    gemini = rf"gemini +0 +11 +56 min ago +{closed}needs a person: not logged in; hours 20:00-07:00 Europe/Berlin"
    assert re.match(gemini, lines[3])
    assert all(line.isprintable() for line in lines)
    (told,) = tidegate.lines("accounts", "claude-max")
    assert (told["concurrency"], told["queued"], told["running"], told["answered_at"]) == (4, 10, 0, None)
    assert [hold["scope"] for hold in told["holds"]] == ["claude-max"]
    assert (told["stop_at"], tidegate.lines("accounts", "codex")[0]["stop_at"]) == (None, {"5h": 90, "week": 75})
    done = tidegate("accounts", "claude-mex")
    assert (done.returncode, done.stderr) == (2, "tidegate: no account claude-mex here; did you mean claude-max?\n")


def test_a_follower_says_what_a_job_waits_for_and_leaves_when_nobody_reads(tidegate: Tidegate, filled: Night) -> None:
    command = [sys.executable, "-m", "tidegate", "logs", "-f", "train/3"]
    follower = subprocess.Popen(
        command, env=tidegate.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert follower.stdout
    assert follower.stderr
    assert "train/3 waits: claude-max is shut until" in follower.stderr.readline()
    follower.stdout.close()
    assert follower.wait(20) == 141
    follower.stderr.close()


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (("events", "--job", "x"), "job"),
        (("events", "--batch", "x"), "batch"),
        (("accounts", "x"), "account"),
        (("list", "x"), "job"),
        (("list", "--batch", "x"), "batch"),
        (("list", "--account", "x"), "account"),
        (("logs", "x"), "job"),
    ],
)
def test_who_names_something_before_the_first_submit_is_told_that_there_is_nothing(
    tidegate: Tidegate, verb: tuple[str, ...], kind: str
) -> None:
    done = tidegate(*verb)
    assert done.returncode == 2
    assert said(done) == f"tidegate: no {kind} x: nothing has been submitted to {tidegate.state} yet"


def test_logs_of_several_jobs_come_one_after_the_other_each_with_its_heading(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job("a"), job("c"), job("d"))
    made.enter()
    for name, (_, attempt) in zip("ac", made.claim(2), strict=True):
        made.output(attempt, f"{name} says\n".encode())
    done = tidegate("logs", "1-3", "99")
    assert (done.returncode, done.stdout) == (2, "a says\nc says\n")
    heads = ["no job 99 here", "--- #1 b:a ---", "--- #2 b:c ---", "--- #3 b:d ---", "d has not started yet: "]
    assert [line[10 : 10 + len(head)] for line, head in zip(done.stderr.splitlines(), heads, strict=True)] == heads
    assert [(one["number"], one["text"]) for one in tidegate.lines("logs", "2", "a")] == [(2, "c says"), (1, "a says")]
    done = tidegate("logs", "1-2", "--attempt", "7")
    assert (done.returncode, done.stderr.count("has no attempt 7; there is 1 to 1")) == (2, 2)


def test_events_of_several_jobs_are_told_and_of_no_other(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job("a"), job("c"), job("d"))
    told = tidegate.lines("events", "--job", "1", "--job", "c")
    assert [one["job"] for one in told] == ["a", "c"]
    assert {one["job"] for one in tidegate.lines("events", "--job", "2-3")} == {"c", "d"}
    assert tidegate("events", "--job", "nope").returncode == 2


def running(tidegate: Tidegate, output: bytes | None) -> tuple[Night, Attempt]:
    """A place with one job `a`, whose first attempt runs and has printed this; None: it has no file yet."""
    made = Night(tidegate.state)
    made.submit("b", job("a"))
    made.enter()
    ((_, attempt),) = made.claim()
    if output is not None:
        made.output(attempt, output)
    return made, attempt


def raw(tidegate: Tidegate, *args: str) -> bytes:
    command = [sys.executable, "-m", "tidegate", *args]
    return subprocess.run(command, env=tidegate.environment(), check=True, capture_output=True).stdout


# --- budgets ---


def test_a_budget_is_told_with_what_is_spent_of_it_and_what_is_unknown() -> None:
    whole, day = Allowance(usd=50, tokens=9_000), Allowance(usd=2, wall=3600)
    spent = Spent(attempts=4, usd_told=1, microdollars=12_400_000, tokens_told=4, tokens=800, milliseconds=60_000)
    today = Spent(attempts=1, usd_told=1, microdollars=2_000_000, milliseconds=60_000)
    one = Balance(scope="claude-max", source="x", budget=Budget(whole=whole, day=day), spent=spent, today=today)
    assert budgets.line(one) == (
        "claude-max: ≥ $12.40 of $50.00 (3 attempts unknown), 800 of 9,000 tokens, $2.00 of $2.00 today, "
        "1 min of 1 h of work today: spent, nothing more is launched"
    )
    told = budgets.form(one)
    assert (told["scope"], told["whole"]["reached"], told["day"]["reached"]) == ("claude-max", False, True)
    assert told["whole"]["spent"]["usd_unknown_of"] == 3
    assert told["day"]["spent"]["tokens"] is None, "unknown, and not 0"


def test_the_status_tells_what_may_be_spent(tidegate: Tidegate, filled: Night) -> None:
    said = {"gemini": Budget(whole=Allowance(usd=5)), "*": Budget(day=Allowance(tokens=10))}
    filled.store.keep_budgets("configuration", said, datetime.now(UTC))
    screen = tidegate("status").stdout
    assert "budgets\n  everything: " in screen
    assert re.search(r"^  gemini: ≥ \$0.00 of \$5.00 \(\d attempts? unknown\)$", screen, re.MULTILINE)
    assert [one["scope"] for one in json.loads(tidegate("status", "--json").stdout)["budgets"]] == ["*", "gemini"]
