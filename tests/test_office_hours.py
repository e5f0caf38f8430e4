"""Office hours as people set them: in the configuration, in a batch, and taken out again."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest
from installed import Json, Tidegate, until

SOON, LATER = timedelta(hours=2), timedelta(hours=3)
ALWAYS = "00:00-24:00"


def closed() -> str:
    """Hours that begin in two hours."""
    now = datetime.now(UTC)
    return f"{now + SOON:%H:%M}-{now + LATER:%H:%M} UTC"


def jobs(*accounts: str) -> str:
    return "".join(json.dumps({"id": name, "command": ["true"], "account": name}) + "\n" for name in accounts)


def shown(tidegate: Tidegate) -> str:
    """The status, however wide its lines."""
    return " ".join(tidegate("status").stdout.split())


def configured(tidegate: Tidegate, text: str) -> None:
    (tidegate.place / "config.toml").write_text(text)
    tidegate.env["TIDEGATE_CONFIG"] = "config.toml"


def run_until_only_hours_are_left(tidegate: Tidegate, batch: str, left: set[str]) -> None:
    """Run a batch until all but `left` has ended, and stop."""
    process = tidegate.start("run", tidegate.batch(batch, "b.jsonl"))
    log = tidegate.place / f"started.{len(tidegate.started) - 1}"
    until(lambda: '"waiting"' in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    states = [(job["job"], job["state"]) for job in tidegate.lines("list")]
    assert {name for name, state in states if state == "queued"} == left
    assert {state for _, state in states} <= {"queued", "succeeded"}


def test_outside_its_hours_nothing_of_an_account_starts_and_others_go_on(tidegate: Tidegate) -> None:
    text = closed()
    configured(tidegate, f'[accounts.night]\nhours = "{text}"\n[accounts.day]\nhours = "{ALWAYS}"\n')
    run_until_only_hours_are_left(tidegate, jobs("night", "day", "other"), {"night"})
    status = shown(tidegate)
    assert f"outside its hours ({text})" in status
    assert "night is closed until" in status
    (job,) = tidegate.lines("list", "--state", "queued")
    (hold,) = [one for one in tidegate.lines("status")[0]["holds"] if one["origin"] == "hours"]
    assert (job["job"], hold["scope"]) == ("night", "night")
    begins = datetime.now(UTC) + SOON
    assert begins - timedelta(minutes=3) < datetime.fromisoformat(hold["until"]) < begins + timedelta(minutes=1)


def test_hours_that_are_taken_out_of_the_configuration_hold_nothing_any_more(tidegate: Tidegate) -> None:
    configured(tidegate, f'[accounts.night]\nhours = "{closed()}"\n')
    run_until_only_hours_are_left(tidegate, jobs("night"), {"night"})
    configured(tidegate, "")
    done = tidegate("run", "b.jsonl")
    assert (done.returncode, tidegate.states()) == (0, {"night": "succeeded"}), done.stderr


@pytest.mark.slow
def test_a_batch_says_hours_for_all_of_its_jobs_and_for_accounts(tidegate: Tidegate) -> None:
    text = closed()
    head = json.dumps({"accounts": {"night": {"hours": text}}}) + "\n"
    run_until_only_hours_are_left(tidegate, head + jobs("night", "day"), {"night"})
    assert tidegate("run", tidegate.batch(jobs("night", "day"), "b.jsonl")).returncode == 0
    head = json.dumps({"batch": {"hours": text}}) + "\n"
    run_until_only_hours_are_left(tidegate, head + jobs("night", "day", "more"), {"more"})
    assert tidegate("run", tidegate.batch(jobs("night", "day", "more"), "b.jsonl")).returncode == 0


def test_a_batch_of_another_mind_wins_over_the_configuration_until_that_changes(tidegate: Tidegate) -> None:
    configured(tidegate, f'[accounts.a]\nhours = "{closed()}"\n')
    head = json.dumps({"accounts": {"a": {"hours": ALWAYS}}}) + "\n"
    assert tidegate("run", tidegate.batch(head + jobs("a"), "first.jsonl")).returncode == 0
    assert tidegate("run", tidegate.batch(jobs("a"), "second.jsonl")).returncode == 0
    configured(tidegate, f'[accounts.a]\nhours = "mon-sun {closed()}"\n')
    run_until_only_hours_are_left(tidegate, jobs("a"), {"a"})


def test_serve_takes_hours_from_the_configuration_at_its_start_and_when_it_changes(tidegate: Tidegate) -> None:
    configured(tidegate, f'[accounts.night]\nhours = "{closed()}"\n')
    process = tidegate.start("serve")
    log = tidegate.place / "started.0"
    until(lambda: '"serving"' in log.read_text())
    assert f"outside its hours ({closed()[:3]}" in shown(tidegate)
    configured(tidegate, "[accounts.night]\nconcurrency = 1\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration read"' in log.read_text())
    assert "outside its hours" not in shown(tidegate)
    configured(tidegate, '[accounts.night]\nhours = "never"\n')
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration refused"' in log.read_text())
    assert "[accounts.night] hours: must be like" in log.read_text()


def test_plan_passes_the_hours_on(tidegate: Tidegate) -> None:
    heads: list[Json] = [{"batch": {"hours": ALWAYS}}, {"accounts": {"a": {"hours": ALWAYS}}}]
    batch = tidegate.batch("".join(json.dumps(head) + "\n" for head in heads) + jobs("a"), "b.jsonl")
    first, second = tidegate("plan", batch).stdout.splitlines()
    assert json.loads(first) == heads[0] | heads[1]
    assert json.loads(second)["id"] == "a"
    assert tidegate("plan", tidegate.batch(first + "\n" + second, "c.jsonl")).stdout == f"{first}\n{second}\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[batch]\nhours = "all night"\n', "batch.toml: [batch] hours: must be like"),
        (
            '[accounts.a]\nhours = "20:00-07:00 Mars/Base"\n',
            "batch.toml: [accounts.a] hours: must end with the name of",
        ),
        ("[accounts.a]\nhours = 7\n", "batch.toml: [accounts.a] hours: must be text"),
    ],
)
def test_hours_that_are_none_are_one_line(tidegate: Tidegate, text: str, where: str) -> None:
    done = tidegate("run", tidegate.batch(text + '[[job]]\ncommand = ["true"]'))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert where in done.stderr
