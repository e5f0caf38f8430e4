"""Launching is shut before the disk is full, and goes on by itself."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from installed import Json, Tidegate, until

from faults.small_disk import MB, SmallDisk
from tidegate import headroom, policy

HOST = f"host:{socket.gethostname()}"
WAITS = "while [ ! -e {gate} ]; do sleep 0.05; done"


@pytest.fixture
def small(small: SmallDisk) -> SmallDisk:
    """One job at once, and none with less than eight megabytes."""
    small.env |= {"TIDEGATE_SUPERVISOR__MIN_FREE_DISK": "8MB", "TIDEGATE_SUPERVISOR__SLOTS": "1"}
    return small


@pytest.mark.parametrize(
    ("free", "held", "scarce"),
    [(7, False, True), (8, False, False), (8, True, True), (9.9, True, True), (10, True, False)],
)
def test_what_was_shut_opens_only_with_a_quarter_more(free: float, held: bool, scarce: bool) -> None:
    assert policy.is_scarce(free, 8, held=held) is scarce


def test_a_disk_without_room_for_files_is_scarce_and_one_that_counts_none_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(tmp_path)
    for files, left, words in ((50_000, 999, "only 999 further files fit on the disk"), (400, 30, ""), (0, 0, "")):
        told = os.statvfs_result((*found[:5], files, left, left, *found[8:]))
        monkeypatch.setattr(os, "statvfs", lambda _place, told=told: told)
        assert headroom.scarce(tmp_path, 1, held=False) == words


def test_a_place_that_is_gone_is_not_scarce(tmp_path: Path) -> None:
    assert headroom.scarce(tmp_path / "gone", 10**15, held=False) == ""


def jobs(place: Path) -> str:
    """The first job runs until the test lets it go, the second ends at once."""
    first = {"id": "first", "command": ["sh", "-c", WAITS.format(gate=place / "gate")]}
    return f"{json.dumps(first)}\n" + json.dumps({"id": "second", "command": ["true"]}) + "\n"


def disk_holds(tidegate: Tidegate) -> list[Json]:
    return [hold for hold in tidegate.lines("status")[0]["holds"] if hold["origin"] == "disk"]


@pytest.mark.slow
def test_a_run_launches_nothing_while_there_is_little_room_and_goes_on_by_itself(
    small: SmallDisk, tmp_path: Path
) -> None:
    running = small.start("run", small.batch(jobs(tmp_path), "b.jsonl"))
    until(lambda: small.state.exists() and small.states().get("first") == "running")
    filler = small.fill(6 * MB)
    until(lambda: disk_holds(small))
    (tmp_path / "gate").touch()
    until(lambda: small.states()["first"] == "succeeded")
    (hold,) = disk_holds(small)
    assert (hold["scope"], hold["allow"], hold["until"]) == (HOST, 0, None)
    assert "min_free_disk is 8.0 MB" in hold["reason"]
    assert small.states()["second"] == "queued"
    os.truncate(filler, filler.stat().st_size - 3 * MB)  # nine are more than eight, but not by a quarter
    assert headroom.scarce(small.disk, 8 * MB, held=True)
    assert not headroom.scarce(small.disk, 8 * MB, held=False)
    filler.unlink()
    assert running.wait(30) == 0
    assert [event["data"]["by"] for event in small.events("gate lifted")] == ["tidegate"]
    assert small.states() == {"first": "succeeded", "second": "succeeded"}


@pytest.mark.slow
def test_the_hold_is_told_everywhere_outlives_a_restart_and_is_no_persons_to_lift(
    small: SmallDisk, tmp_path: Path
) -> None:
    teller = tmp_path / "teller"
    teller.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$TIDEGATE_TEXT\" >> {tmp_path}/told\n")
    teller.chmod(0o700)
    small.env |= {"TIDEGATE_NOTIFY__COMMAND": json.dumps([str(teller)]), "TIDEGATE_NOTIFY__ON": "hold"}
    small.env["TIDEGATE_NOTIFY__EVERY"] = "0"
    service = small.start("serve")
    until(lambda: small.state.exists() and disk_holds(small) == [])
    filler = small.fill(6 * MB)
    until(lambda: disk_holds(small))
    assert small("submit", "--name", "late", "--", "true").returncode == 0
    for told in (small("status"), small("show", "late")):
        assert "only 6.0 MB of 24 MB are free, min_free_disk is 8.0 MB" in " ".join(told.stdout.split())
    doctor = small("doctor", "--json")
    (room,) = [one for one in map(json.loads, doctor.stdout.splitlines()) if one["check"] == "free disk"]
    assert (doctor.returncode, room["verdict"]) == (5, "wrong")
    assert "nothing is launched" in room["said"]
    until(lambda: (tmp_path / "told").exists())
    assert "only 6.0 MB" in (tmp_path / "told").read_text()
    service.kill()
    service.wait()
    resumed = small("resume")
    assert f"still there: {HOST} is shut: only 6.0 MB" in " ".join(resumed.stdout.split())
    again = small.start("serve")
    until(lambda: "serving" in (tmp_path / "started.1").read_text())
    assert len(small.events("gate shut")) == 1
    assert small.states() == {"late": "queued"}
    filler.unlink()
    until(lambda: small.states() == {"late": "succeeded"})
    assert disk_holds(small) == []
    again.send_signal(signal.SIGTERM)
    assert again.wait(30) == 0


@pytest.mark.slow
def test_whoever_starts_with_little_room_launches_nothing(small: SmallDisk) -> None:
    filler = small.fill(6 * MB)
    running = small.start("run", small.batch('{"id": "a", "command": ["true"]}\n', "b.jsonl"))
    until(lambda: small.state.exists() and small.events("gate shut"))
    filler.unlink()
    assert running.wait(30) == 0
    names = [event["event"] for event in small.events()]
    assert names.index("gate shut") < names.index("gate lifted") < names.index("attempt claimed")


def test_a_setting_of_none_shuts_nothing(small: SmallDisk) -> None:
    small.env["TIDEGATE_SUPERVISOR__MIN_FREE_DISK"] = "none"
    small.fill(6 * MB)
    done = small("run", small.batch('{"id": "a", "command": ["true"]}\n', "b.jsonl"))
    assert done.returncode == 0, done.stderr
    assert small.events("gate shut") == []
