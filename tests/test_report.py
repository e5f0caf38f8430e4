"""The verb `report`, and the files that it writes."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import stat
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from filled import EVIDENCE, TOKEN, Night, job, limit_hold, night
from installed import Json, Tidegate, said, until
from msgspec.structs import replace

from tidegate.look.desk import Desk
from tidegate.look.words import Page
from tidegate.model import Failed
from tidegate.night.steps import WORKING, Step
from tidegate.report import files, gather, markdown, plot, tables

LIMIT = 'echo "You\'ve hit your limit · resets 11:59pm (UTC)" >&2; exit 1'


@pytest.fixture
def filled(tidegate: Tidegate) -> Night:
    return night(tidegate.state)


def test_a_report_tells_the_verdict_the_gate_and_how_to_go_on(tidegate: Tidegate, filled: Night) -> None:
    told = tidegate("report", "nightly").stdout
    assert "**Interrupted: nobody works on it**" in told
    assert "- 30 jobs = 28 queued + 1 running + 1 succeeded" in told
    assert "- the sums of jobs, attempts and events agree" in told
    assert "jobs were delayed by the 5h limit of claude-max since" in told
    assert f"`{EVIDENCE}`" in told
    assert f"`tidegate --state-dir {tidegate.state} serve`" in told
    assert "- money: ≥ \\$0.25 (2 attempts unknown)" in told
    assert TOKEN not in told
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_a_summary_says_in_one_object_how_a_batch_stands(tidegate: Tidegate, filled: Night) -> None:
    told = json.loads(tidegate("report", "nightly", "--format", "summary").stdout)
    assert (told["status"], told["pause_count"], told["code"]) == ("interrupted", 2, None)
    assert told["rate_limit_info"]["scope"] == "claude-max"
    assert told["rate_limit_until"] == told["rate_limit_info"]["until"]
    assert told["jobs"]["total"] == 30 == sum(told["jobs"].values()) - told["jobs"]["total"]
    assert told["reconciles"]
    assert told["cost"]["usd"] == {"known": 0.25, "attempts": 1, "unknown_of": 2}


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("| a | b |", r"\| a \| b \|"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("**bold** _it_ `code`", r"\*\*bold\*\* \_it\_ \`code\`"),
        ("# head", r"\# head"),
        ("1. list", r"1\. list"),
        ("- list", r"\- list"),
        ("http://x.example www.x.example", r"http:\//x.example www\.x.example"),
        ("a\nb", r"a\\nb"),
        ("&amp; $x$ @you", r"&amp;amp; \$x\$ \@you"),
    ],
)
def test_a_text_means_nothing_to_markdown(hostile: str, harmless: str) -> None:
    assert markdown.plainly(hostile) == harmless


@pytest.mark.parametrize(
    ("said", "told"), [("a", "`a`"), ("a`b", "``a`b``"), ("`a`", "`` `a` ``"), ("a```b", "````a```b````")]
)
def test_code_ends_where_it_ends(said: str, told: str) -> None:
    assert markdown.code(said) == told


def test_files_are_written_for_their_owner_alone(tidegate: Tidegate, filled: Night) -> None:
    into = tidegate.place / "deep" / "report"
    done = tidegate("report", "nightly", "--into", str(into))
    assert done.returncode == 0, done.stderr
    written = [Path(line) for line in done.stdout.splitlines()]
    assert {path.name for path in into.iterdir()} == {path.name for path in written}
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    assert json.loads((into / "summary.json").read_text())["batch"] == "nightly"
    alone = tidegate.place / "alone"
    assert tidegate("report", "nightly", "--into", str(alone), "--format", "md").returncode == 0
    assert [path.name for path in alone.iterdir()] == ["report.md"]


def test_what_cannot_be_reported_gets_one_line(tidegate: Tidegate, filled: Night) -> None:
    assert "no batch nothing here" in said(tidegate("report", "nothing"))
    (tidegate.place / "file").write_text("")
    assert "file: cannot make this directory" in said(tidegate("report", "nightly", "--into", "file"))


def test_where_nothing_was_submitted_there_is_no_report(tidegate: Tidegate) -> None:
    assert "no batch nightly: nothing has been submitted" in said(tidegate("report", "nightly"))


# --- what others wrote, in every form ---

EVIL = "<script>alert(\"1\")</script> & 'x' ]]> --> =1+1"


class Tags(HTMLParser):
    """Every element of a page, with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.values: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.values += [value or "" for _, value in attrs]
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a batch whose every name and word is hostile."""
    made = Night(tmp_path_factory.mktemp("evil"))
    new = replace(job(f"={EVIL}", f"{EVIL}acct"), group=f"@{EVIL}")
    made.submit(EVIL, new, replace(new, name=f"-{EVIL}"), replace(new, name=f"+{EVIL}"))
    made.enter()
    for claimed, attempt in made.claim(2):
        ended = Failed(reason=f"{EVIL} {TOKEN}", retry=False, valid=claimed.name.startswith("="))
        made.store.finish(attempt, ended, made.now, exit=1)
    made.store.hold(limit_hold(f"{EVIL}acct", made.now, made.now + timedelta(days=1), evidence=EVIL), made.now)
    page = Page(now=made.now + timedelta(hours=1), zone=ZoneInfo("UTC"))
    desk = Desk(state=made.state, store=made.store, page=page, host=os.uname().nodename)
    files.write(gather.told(desk, made.store.batches()[0]), made.state / "report")
    made.store.close()
    return made.state / "report"


def test_a_page_runs_nothing_loads_nothing_and_shows_what_others_wrote_as_text(evil: Path) -> None:
    page = (evil / "report.html").read_text()
    told = Tags(page)
    assert set(told.tags) & {"script", "img", "link", "iframe", "object", "form", "a", "base"} == set()
    assert any(value.startswith("default-src 'none'") for value in told.values)
    assert told.words.count(EVIL) >= 2
    assert not re.search(r"https?://|url\(|@import", page)


def test_no_form_tells_a_secret(evil: Path) -> None:
    assert len(list(evil.iterdir())) == 6
    for path in evil.iterdir():
        assert TOKEN not in path.read_text(), path.name


def test_no_cell_of_a_table_is_a_formula(evil: Path) -> None:
    rows = list(csv.DictReader((evil / "attempts.csv").read_text().splitlines()))
    assert [row["outcome"] for row in rows] == ["failed", "failed"]
    assert [row["job"][:3] for row in rows] == ["'=<", "'-<"]
    assert all(row["group"].startswith("'@") for row in rows)
    assert rows[0]["cost_usd"] == ""


def test_junit_has_a_case_for_each_job(evil: Path) -> None:
    root = ET.parse(evil / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("3", "1", "1", "1")
    (suite,) = root
    assert [case.get("name") for case in suite] == [f"={EVIL}", f"-{EVIL}", f"+{EVIL}"]
    assert [child.tag for case in suite for child in case] == ["failure", "error", "skipped"]


def test_results_are_one_object_for_each_job_with_its_attempts(evil: Path) -> None:
    lines = [json.loads(line) for line in (evil / "results.jsonl").read_text().splitlines()]
    assert [(one["state"], len(one["tries"]), one["interrupted"]) for one in lines] == [
        ("failed", 1, False),
        ("error", 1, False),
        ("queued", 0, False),
    ]
    assert lines[0]["cost_usd"] is None


@pytest.mark.parametrize(
    ("said", "told"), [(None, ""), (True, "true"), (-1.5, "-1.5"), (" =x", "' =x"), ("a=b", "a=b"), ("\t@x", "\\t@x")]
)
def test_a_cell_is_what_it_says(said: object, told: str) -> None:
    assert tables.cell(said) == told


# --- plots ---


@pytest.mark.parametrize("hours", [0.01, 0.5, 7, 30, 24 * 9, 24 * 400])
def test_an_axis_has_a_few_round_times_inside_of_it(hours: float) -> None:
    begin = datetime(2026, 1, 9, 18, 31, 7, tzinfo=UTC)
    marks = list(plot.Scale(begin, begin + timedelta(hours=hours)).marks(ZoneInfo("Europe/Berlin")))
    assert 1 <= len(marks) <= 7
    assert all(0 <= place <= 100 for place, _ in marks)


def test_a_long_night_is_drawn_with_a_bounded_number_of_points() -> None:
    begin = datetime(2026, 1, 9, tzinfo=UTC)
    steps = [Step(begin + timedelta(seconds=second), {WORKING: second % 7 + 1}) for second in range(20_000)]
    scale = plot.Scale(begin, begin + timedelta(seconds=20_000))
    columns = list(plot.columns(steps, scale, begin + timedelta(seconds=20_000)))
    assert len(columns) <= 1000
    assert max(jobs[WORKING] for _, _, jobs in columns) == plot.peak(steps) == 7


# --- beside a run ---


@pytest.mark.slow  # it waits for two looks
def test_a_run_keeps_its_summary_up_to_date_and_writes_the_whole_report_when_it_is_left(tidegate: Tidegate) -> None:
    into = tidegate.place / "report"
    batch = tidegate.batch(
        "".join(json.dumps({"id": name, "command": ["sh", "-c", LIMIT]}) + "\n" for name in "ab"), "b.jsonl"
    )
    run = tidegate.start("run", batch, "--report", "report")
    summary = into / "summary.json"
    until(lambda: summary.exists() and json.loads(summary.read_text())["status"] == "paused_rate_limit")
    told = json.loads(summary.read_text())
    assert told["pause_count"] == 1
    assert told["rate_limit_info"]["evidence"].startswith("You've hit your limit")
    assert told["rate_limit_until"] > told["at"]
    assert not (into / "report.md").exists()
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 143
    told = json.loads(summary.read_text())
    assert (told["status"], told["pause_count"], told["reconciles"]) == ("paused_rate_limit", 1, True)
    assert "2 jobs were delayed by the usage limit of command since" in (into / "report.md").read_text()


def test_a_run_that_cannot_report_does_not_begin(tidegate: Tidegate) -> None:
    (tidegate.place / "file").write_text("")
    batch = tidegate.batch(json.dumps({"id": "a", "command": ["true"]}) + "\n", "b.jsonl")
    done = tidegate("run", batch, "--report", "file")
    assert (done.returncode, said(done)) == (
        2,
        f"tidegate: {tidegate.place}/file: cannot make this directory: File exists",
    )
    assert not tidegate.state.exists()


def test_a_run_whose_report_cannot_be_written_ends_as_it_would(tidegate: Tidegate) -> None:
    script = "rm -rf report; echo > report"
    batch = tidegate.batch(json.dumps({"id": "a", "command": ["sh", "-c", script]}) + "\n", "b.jsonl")
    done = tidegate("run", batch, "--report", "report")
    assert done.returncode == 0, done.stderr
    assert "report not written" in done.stderr
    assert "1 job: 1 succeeded" in done.stdout


# --- a night with real processes ---


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_report_of_a_real_night_has_the_figures_of_the_event_table(tidegate: Tidegate) -> None:
    """Limits that come again and again, the supervisor killed in the first, a failure, a cancel, a second run."""
    agent = tidegate.place / "bin" / "claude"
    agent.parent.mkdir()
    agent.write_text(f'#!/bin/sh\nexec {sys.executable} -m tidegate.examples.demo_agent "$@"\n')
    agent.chmod(0o755)
    tidegate.env |= {"PATH": f"{agent.parent}:{os.environ['PATH']}"}
    pace = {"DEMO_STEP_SECONDS": "0.1", "DEMO_ALLOWANCE": "18", "DEMO_RESET_AFTER": "4", "DEMO_STEPS": "5"}
    env = {
        "DEMO_ACCOUNT": str(tidegate.place / "account"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **pace,
    }
    jobs: list[Json] = [{"id": f"work/{n}", "agent": "claude", "prompt": "go", "env": env} for n in range(8)]
    jobs += [{"id": "bad", "command": ["sh", "-c", "echo no luck >&2; exit 3"], "max_attempts": 1}]
    jobs += [{"id": "long", "command": ["sleep", "300"]}]
    batch = tidegate.batch("".join(f"{json.dumps(one)}\n" for one in jobs), "night.jsonl")
    first = tidegate.start("run", batch, "--slots", "4", "--report", "report")
    until(lambda: tidegate.state.exists() and tidegate.events("gate shut"))
    first.kill()
    first.wait()
    second = tidegate.start("run", batch, "--slots", "4", "--report", "report")
    until(lambda: tidegate.events("attempt adopted"))
    assert tidegate("cancel", "long").returncode == 0
    assert second.wait(120) == 1
    _agrees(tidegate)


def _agrees(tidegate: Tidegate) -> None:
    report, events = tidegate.place / "report", tidegate.events()
    named = Counter(event["event"] for event in events)
    ended = Counter(event["data"]["outcome"] for event in events if event["event"] == "attempt ended")
    told = json.loads((report / "summary.json").read_text())
    assert (told["status"], told["reconciles"], told["code"]) == ("cancelled", True, 1)
    assert told["attempts"]["begun"] == named["attempt claimed"] - named["attempt unclaimed"]
    assert told["attempts"]["outcomes"] == ended
    assert told["pause_count"] == named["gate shut"] >= 2
    assert (told["jobs"]["succeeded"], told["jobs"]["failed"], told["jobs"]["cancelled"]) == (8, 1, 1)
    assert sum(told["spent"].values()) == pytest.approx(told["seconds"], abs=0.1)
    assert told["versions"]["claude"] == ["2.1.330"]
    page = (report / "report.md").read_text()
    assert page.count("delayed by the 5h limit of claude") == told["pause_count"]
    assert "process pool" not in page
    assert len((report / "attempts.csv").read_text().splitlines()) == named["attempt claimed"] + 1


def test_the_history_tells_of_all_batches(tidegate: Tidegate, filled: Night) -> None:
    assert "gemini" in (screen := tidegate("report", "--history").stdout)
    assert re.search(r"^claude-max +5h +1 +1\.0 +\d+\.\d ", screen, re.MULTILINE)
    page = tidegate("report", "--history", "--format", "html").stdout
    assert "<td>claude-max<td>5h<td>1<td>1.0" in page
    assert page.count("<table>") == 2
    told = json.loads(tidegate("report", "--history", "--json").stdout)
    claude = next(one for one in told["accounts"] if one["account"] == "claude-max")
    assert (claude["launches"], claude["cut_off"], claude["recovered"]) == (1, 1, 0)
    assert {one["scope"] for one in told["limits"]} >= {"claude-max"}
    for wrong in (("nightly", "--history"), ("nightly", "--json"), ()):
        refused = tidegate("report", *wrong)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
