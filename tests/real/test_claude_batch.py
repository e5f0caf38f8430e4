"""The real claude under tidegate: a batch runs through a usage limit to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from installed import Tidegate
from provider import Provider

from real.conftest import Claude

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Json = dict[str, Any]
Start = Callable[[Provider, int], str]


@pytest.fixture
def poems(claude: Claude, tidegate: Tidegate, tmp_path: Path) -> Start:
    """Writes a batch of that many poems, for agents that live in a home of their own and talk to a provider."""
    home = tmp_path / "home"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude" / "settings.json").write_text('{"permissions": {"allow": ["Bash"]}}')

    def start(provider: Provider, jobs: int) -> str:
        own = claude.env(home, provider)
        tidegate.env |= {"PATH": own["PATH"], "TIDEGATE_SUPERVISOR__SLOTS": "3"}
        env = "\n".join(f"{name} = {json.dumps(value)}" for name, value in own.items())
        table = "\n".join(f'[[job]]\nid = "poem-{n}"\nprompt = "write poem {n}"\n' for n in range(jobs))
        head = '[batch]\nname = "poems"\n\n[defaults]\nagent = "claude"\n\n[defaults.env]'
        return tidegate.batch(f"{head}\n{env}\n\n{table}")

    return start


def test_a_batch_of_eight_runs_through_a_limit_and_resumes_what_was_cut_off(tidegate: Tidegate, poems: Start) -> None:
    with Provider(allowances=(3, 100), reset_after=20, turns=2, tool="sleep 2; echo step") as provider:
        done = tidegate("run", poems(provider, 8))
    assert done.returncode == 0, done.stderr
    assert list(tidegate.states().values()) == ["succeeded"] * 8
    assert len(provider.resets) == 1
    events = tidegate.events()
    assert_nothing_starts_behind_a_shut_gate_but_the_canary(events, provider)
    assert_cut_off_jobs_went_on_in_their_own_session(events, provider, jobs=8)


def test_a_batch_that_starts_into_a_limit_costs_one_launch_until_the_reset(tidegate: Tidegate, poems: Start) -> None:
    with Provider(allowances=(100,), resets_at=int(time.time()) + 15) as provider:
        done = tidegate("run", poems(provider, 4))
    assert done.returncode == 0, done.stderr
    assert list(tidegate.states().values()) == ["succeeded"] * 4
    refused = {turn.session for turn in provider.turns if turn.refused}
    assert len(refused) == 1, "one launch found the limit"
    assert provider.sessions[0] in refused
    assert len(provider.sessions) == 4, "the refused one was resumed"


def assert_nothing_starts_behind_a_shut_gate_but_the_canary(events: list[Json], provider: Provider) -> None:
    names, reset = [event["event"] for event in events], provider.resets[0]
    shut = names.index("gate shut")
    claims = [at for at, name in enumerate(names) if name == "attempt claimed"]
    before, (canary, following, *_) = [at for at in claims if at < shut], [at for at in claims if at > shut]
    assert {turn.session for turn in provider.turns if turn.at < reset} == set(provider.sessions[: len(before)])
    assert when(events[canary]) >= reset
    assert events[canary]["data"]["canary"]
    answered = next(turn.at for turn in provider.turns if turn.at >= reset)
    assert when(events[following]) >= answered, "the canary had its answer before anything followed it"


def assert_cut_off_jobs_went_on_in_their_own_session(events: list[Json], provider: Provider, jobs: int) -> None:
    refused = {turn.session: turn for turn in provider.turns if turn.refused}
    assert any(turn.tools_used for turn in refused.values()), "one was cut off in mid-session"
    assert len(provider.sessions) == jobs, "none was started afresh"
    resumes = [event for event in events if event["event"] == "attempt claimed" and event["data"].get("resumes")]
    assert len(resumes) == len(refused)
    for session, cut in refused.items():
        last = [turn for turn in provider.turns if turn.session == session][-1]
        assert last.prompts[0] == cut.prompts[0]
        assert last.prompts[-1] != cut.prompts[-1], "it was told to go on"
        assert (last.tools_used, last.refused) == (1, False), "no step was done twice"


def when(event: Json) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
