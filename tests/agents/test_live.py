"""Recordings replayed by a real process under a real attempt: launched, watched and judged as any agent is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import anyio
import pytest
from test_captures import Recording, of

from tidegate.agents import Agent, Command, Reader
from tidegate.attempt import Ended, Means, Running
from tidegate.clock import SystemClock
from tidegate.model import Attempt, Job, Limit, Limited, Sighting, Spec, Succeeded, Variables
from tidegate.watch import Watcher

REPLAY = 'cat "$0"; cat "$1" >&2; exit "$2"'


@dataclass(frozen=True)
class Replay:
    """An agent that prints what another one printed, and is read by that one's reader."""

    agent: Agent
    recording: Recording
    folder: Path

    @property
    def name(self) -> str:
        return self.agent.name

    @property
    def has_limits(self) -> bool:
        return self.agent.has_limits

    @property
    def proof(self) -> bool:
        return self.agent.proof

    @property
    def programs(self) -> tuple[str, ...]:
        return ()

    @property
    def variables(self) -> Variables:
        return self.agent.variables

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        files = []
        for stream in ("stdout", "stderr"):
            files.append(self.folder / f"said.{stream}")
            files[-1].write_text(self.recording.said[stream])
        return Command(argv=("sh", "-c", REPLAY, *map(str, files), str(self.recording.said["exit"])))

    def reader(self, zone: tzinfo) -> Reader:
        return self.agent.reader(zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:
        return self.agent.aside(session, environment)


async def lived(recording: Recording, folder: Path) -> tuple[Ended, list[Sighting]]:
    """How an attempt ended that printed the recording, and what was told before its end."""
    now, heard = datetime.now(UTC), list[Sighting]()

    async def tell(sighting: Sighting) -> None:
        heard.append(sighting)

    clock = SystemClock()
    job = Job(id=1, batch=1, batch_name="b", name="j", account="a", spec=Spec(cwd=str(folder)), created_at=now)
    attempt = Attempt(job=1, n=1, supervisor="s", epoch=1, started_at=now)
    directory = folder / "attempt"
    directory.mkdir()
    replay = Replay(recording.agent, recording, folder)
    async with Watcher(clock) as watcher:
        means = Means(clock=clock, watcher=watcher, environment={"PATH": "/usr/bin:/bin"}, grace=1.0)
        running = Running(job, attempt, agent=replay, directory=directory, means=means, tell=tell)
        with anyio.fail_after(20):
            return await running.run(), heard


@pytest.mark.parametrize(("cli", "name"), [
    ("claude-2.1.330", "limit_5h.stream-json"),
    ("claude-2.1.330", "limit_noreset.text"),
    ("claude-2.1.330", "a401.stream-json"),
    ("claude-2.1.330", "o529.apikey.stream-json"),
    ("claude-2.0.76", "limit_midsession.json"),
    ("codex-0.169.0", "codex_plus.json"),
    ("codex-0.169.0", "codex_plus.text"),
    ("gemini-0.61.0", "gdaily.json"),
    ("gemini-0.61.0", "gminute.pro.json"),
    ("opencode-1.18.33", "credit.json"),
    ("copilot-1.0.102", "quota.text"),
    ("qwen-0.24.4", "a401.text"),
])  # fmt: skip
async def test_a_replayed_refusal_ends_as_that_limit(cli: str, name: str, tmp_path: Path) -> None:
    ended, _ = await lived(of(name, cli), tmp_path)
    assert isinstance(ended.outcome, Limited)
    assert ended.outcome.limit.kind.value == of(name, cli).expected()
    assert ended.exit == of(name, cli).said["exit"]


@pytest.mark.parametrize(("cli", "name"), [
    ("claude-2.1.330", "talk_exact.stream-json"),
    ("claude-2.1.330", "talk_toolresult.stream-json"),
    ("claude-2.1.330", "r429x2_ok.stream-json"),
    ("claude-2.1.330", "streaminput.limit_then_ok"),
    ("codex-0.169.0", "talk_exact.text"),
    ("gemini-0.61.0", "talk.pro.json"),
])  # fmt: skip
async def test_a_replayed_success_succeeds(cli: str, name: str, tmp_path: Path) -> None:
    ended, _ = await lived(of(name, cli), tmp_path)
    assert isinstance(ended.outcome, Succeeded)


async def test_a_sure_refusal_is_told_before_the_end(tmp_path: Path) -> None:
    ended, heard = await lived(of("limit_midsession.stream-json"), tmp_path)
    limits = [one for one in heard if isinstance(one, Limit)]
    assert limits
    assert limits[0].sure
    assert ended.session == "5fb9b160-706e-4ef5-85cd-ea15d815185d"
    assert ended.usage is not None
