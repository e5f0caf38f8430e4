"""The log: lines for a person, JSON for machines, and nothing that forges or leaks."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from tidegate import logs

log = structlog.get_logger()
PROGRAM = """if True:
    import logging, structlog, sys
    from tidegate import logs
    logs.set_up(form=sys.argv[1])
    log = structlog.get_logger()
    log.warning("gate shut", scope="claude", evidence="You've hit your limit")
    log.info("after")
"""

# As the program ends: an ordinary exit of Python would complain of the stderr that it cannot flush.
LEAVES = "\n    import os; print('still here', flush=True); os._exit(0)\n"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The settings of the loggers are the process's: give them back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def told(form: str, level: str = "info") -> io.StringIO:
    out = io.StringIO()
    logs.set_up(form=form, level=level, stream=out)
    return out


def records(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def line(out: io.StringIO) -> str:
    """The one line that was told, without its time."""
    (one,) = out.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d ", one)
    return one[9:]


def fail(words: str) -> None:
    raise ValueError(words)


# --- JSON --------------------------------------------------------------------------------------


def test_an_event_is_one_json_object_with_its_instant_in_utc() -> None:
    out = told("json")
    log.info("attempt ended", job="a/1#2", exit=0)
    (record,) = records(out)
    at = datetime.fromisoformat(record.pop("at"))
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert record == {"level": "info", "event": "attempt ended", "job": "a/1#2", "exit": 0}


def test_values_of_any_kind_become_json() -> None:
    out = told("json")
    log.info("x", when=datetime(2026, 1, 9, 18, 30, tzinfo=UTC), some={"b"}, pair=(1, None), other=ValueError("no"))
    (record,) = records(out)
    assert record["when"] == "2026-01-09T18:30:00.000Z"
    assert (record["some"], record["pair"], record["other"]) == (["b"], [1, None], "no")


def test_an_event_without_a_stream_of_its_own_is_json_in_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, "auto"], capture_output=True, text=True)
    assert [json.loads(one)["event"] for one in done.stderr.splitlines()] == ["gate shut", "after"]
    assert done.stdout == ""


# --- lines for a person ------------------------------------------------------------------------


def test_a_line_for_a_person_is_the_time_the_event_and_its_facts_with_the_evidence_quoted() -> None:
    out = told("console")
    log.warning("gate shut", scope="claude", window="5h", evidence="You've hit your 5-hour limit · resets 5pm (UTC)")
    assert line(out) == (
        '!  gate shut         scope=claude window=5h evidence="You\'ve hit your 5-hour limit · resets 5pm (UTC)"'
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("word", "word"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a=b", '"a=b"'),
        ("/path/to#2", "/path/to#2"),
        (1.23456, "1.235"),
        (2.0, "2"),
        (True, "yes"),
        (None, "-"),
        ({"a": [1, "b"]}, '{"a": [1, "b"]}'),
        ("x" * 999, "x" * 397 + "..."),
    ],
)
def test_a_value_is_shown_as_a_person_would_write_it(value: object, shown: str) -> None:
    out = told("console")
    log.info("x", value=value)
    assert line(out) == f"   x                 value={shown}"


def test_another_persons_word_is_quoted_even_if_it_is_only_one() -> None:
    out = told("console")
    log.info("x", evidence="limit")
    assert line(out).endswith('evidence="limit"')


def test_whose_event_it_is_comes_first_and_other_peoples_words_come_last() -> None:
    out = told("console")
    log.info("x", evidence="e", by="me", scope="s", attempt=2, reason="r", job="j", window="5h")
    assert line(out).split()[1:] == [
        "job=j",
        "attempt=2",
        "scope=s",
        "by=me",
        "window=5h",
        'evidence="e"',
        'reason="r"',
    ]


@pytest.mark.parametrize("form", [datetime.isoformat, lambda instant: instant])
def test_an_instant_is_shown_on_the_local_clock_with_its_date_where_it_is_another_day(form: Any) -> None:
    out = told("console")
    coming = datetime(2031, 1, 9, 18, 30, tzinfo=UTC)
    log.info("x", until=form(coming))
    assert line(out).endswith(f"until={coming.astimezone():%Y-%m-%d %H:%M:%S}")


def test_what_is_bound_to_the_context_is_told_with_every_event() -> None:
    out = told("json")
    with structlog.contextvars.bound_contextvars(job="a", attempt=2):
        log.info("x", y=1)
        logging.getLogger("lib").warning("from a library")
    log.info("later")
    inside, library, later = records(out)
    assert (inside["job"], inside["attempt"], inside["y"]) == ("a", 2, 1)
    assert (library["job"], library["event"], library["logger"]) == ("a", "from a library", "lib")
    assert "job" not in later


def test_a_terminal_gets_lines_with_colour_unless_somebody_says_no() -> None:
    assert b"\x1b[33mgate shut\x1b[0m" in on_terminal(TERM="xterm")
    for no in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        shown = on_terminal(**no)
        assert b"!  gate shut " in shown
        assert b"\x1b" not in shown


def on_terminal(**env: str) -> bytes:
    """What a program that logs writes to its terminal."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in {"TERM", "NO_COLOR", "JOURNAL_STREAM"}}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "auto"], stderr=theirs, env=clean | env)
    process.wait()
    os.close(theirs)
    try:
        return os.read(ours, 65536)
    finally:
        os.close(ours)


# --- levels and other people's loggers ---------------------------------------------------------


def test_only_what_is_loud_enough_is_told() -> None:
    out = told("json", "warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    logging.getLogger("lib").info("e")
    logging.getLogger("lib").error("f")
    assert [record["event"] for record in records(out)] == ["c", "d", "f"]


def test_setting_up_again_replaces_what_was_set_up() -> None:
    first, again = told("json", "debug"), told("json", "error")
    log.info("a")
    log.error("b")
    logging.getLogger("lib").error("c")
    assert first.getvalue() == ""
    assert [record["event"] for record in records(again)] == ["b", "c"]


def test_a_librarys_debug_messages_are_not_ours() -> None:
    out = told("json", "debug")
    logging.getLogger("asyncio").debug("Using selector: EpollSelector")
    log.debug("ours")
    assert [record["event"] for record in records(out)] == ["ours"]


def test_a_traceback_is_told_whole() -> None:
    for form in ("json", "console"):
        out = told(form)
        try:
            fail("no\nsuch luck")
        except ValueError:
            log.exception("attempt broken", job="a")
        assert "ValueError: no" in out.getvalue()
    first, *rest = out.getvalue().splitlines()
    assert "attempt broken" in first
    assert all(one.startswith("    ") for one in rest), "no line of it can be taken for an event"


# --- what must not happen ----------------------------------------------------------------------

FORGED = "limit\r\n12:00:00    all is well\x1b[2J\x9b2J\u2028x"


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_value_can_forge_a_line(form: str) -> None:
    out = told(form)
    log.info(f"event {FORGED}", evidence=FORGED, **{FORGED: 1}, nested=[FORGED, {FORGED: FORGED}])
    text = out.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_token_is_told_wherever_it_stands(form: str) -> None:
    token = "sk-ant-oat01-abcdefghijklmnop"
    out = told(form)
    log.info(f"x {token}", plain=token, coloured=f"\x1b[91m{token}", behind=f"a\n{token}", wide=f"·{token}", of=[token])
    log.info("y", inner={"a": {"b": token}}, error=ValueError(token))
    try:
        fail(token)
    except ValueError:
        log.exception("z")
    logging.getLogger("lib").warning("with %s", token)
    assert "abcdefghij" not in out.getvalue()
    assert out.getvalue().count("sk-ant-[redacted]") == 10


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    ours, theirs = pty.openpty()
    program = PROGRAM.replace("log.warning", "sys.stdin.readline(); log.warning", 1) + LEAVES
    process = subprocess.Popen(
        [sys.executable, "-c", program, "auto"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, text=True
    )
    os.close(theirs)
    os.close(ours)
    out, _ = process.communicate("go\n")
    assert (out, process.returncode) == ("still here\n", 0)


def test_a_reader_that_left_ends_nothing() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    program = PROGRAM + LEAVES
    done = subprocess.run([sys.executable, "-c", program, "auto"], stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    assert (done.stdout, done.returncode) == ("still here\n", 0)


# --- journald ----------------------------------------------------------------------------------


def test_under_the_journal_each_line_has_its_priority() -> None:
    ours, theirs = os.pipe()
    found = os.fstat(theirs)
    env = os.environ | {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    subprocess.run([sys.executable, "-c", PROGRAM, "auto"], stderr=theirs, env=env, check=True)
    subprocess.run([sys.executable, "-c", PROGRAM, "console"], stderr=theirs, env=env, check=True)
    os.close(theirs)
    with os.fdopen(ours) as reading:
        shut, after, shut_line, _ = reading.read().splitlines()
    assert (shut[:3], after[:3]) == ("<4>", "<6>")
    assert json.loads(shut[3:])["event"] == "gate shut"
    assert re.match(r"<4>\d\d:\d\d:\d\d !  gate shut", shut_line)


def test_a_stream_that_is_not_the_journals_has_none_whatever_the_environment_says() -> None:
    env = os.environ | {"JOURNAL_STREAM": "1:2"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, "auto"], capture_output=True, text=True, env=env)
    assert done.stderr.startswith("{")
