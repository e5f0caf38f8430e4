"""What tidegate expects of claude, seen on the real CLI alone."""

import time
import uuid

import pytest
from provider import Provider

from real.conftest import Bare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_success_is_exit_0_and_a_result_that_is_no_error(bare: Bare) -> None:
    with Provider() as provider:
        ended = bare.run(provider, "say hello")
    assert ended.code == 0, ended.stderr
    result = ended.only("result")
    assert (result["is_error"], result["result"]) == (False, "Done: say hello")
    assert ended.lines[0]["subtype"] == "init"
    assert ended.lines[0]["session_id"] == provider.sessions[0]


def test_a_limit_is_a_structured_event_and_exit_1(bare: Bare) -> None:
    with Provider(allowances=(0,), reset_after=3600) as provider:
        ended = bare.run(provider, "say hello")
    assert (ended.code, ended.stderr) == (1, "")
    info = ended.only("rate_limit_event")["rate_limit_info"]
    assert (info["status"], info["rateLimitType"]) == ("rejected", "five_hour")
    assert info["resetsAt"] == provider.resets[0]
    result = ended.only("result")
    assert (result["is_error"], result["api_error_status"], result["api_error"]) == (True, 429, "usage_limit_reached")
    assert result["result"].startswith("You've hit your 5-hour limit · resets ")
    assert [request.refused for request in provider.turns] == [True]


def test_a_limit_already_in_force_lets_nothing_through(bare: Bare) -> None:
    with Provider(resets_at=int(time.time()) + 3600) as provider:
        ended = bare.run(provider, "say hello")
    assert ended.code == 1
    assert ended.only("rate_limit_event")["rate_limit_info"]["resetsAt"] == provider.resets[0]


SOON = str(int(time.time()) + 3600)


class Told(Provider):
    """Says of each turn so much of the same window."""

    used = (0.30, 0.31, 0.31, 0.3149, 0.32)

    def limits(self, refused_until: int | None) -> dict[str, str]:
        headers = super().limits(refused_until)
        used = self.used[min(len(self.turns), len(self.used)) - 1]
        steady = {name: SOON for name in headers if name.endswith("-reset")}
        return headers | steady | {"anthropic-ratelimit-unified-5h-utilization": str(used)}


def test_an_event_follows_an_answer_whose_window_is_used_more_in_hundredths(bare: Bare) -> None:
    with Told(allowances=(100,), turns=5) as provider:
        ended = bare.run(provider, "do it", "--allowedTools", "Bash")
    told = [line["rate_limit_info"]["unifiedWindows"] for line in ended.lines if line["type"] == "rate_limit_event"]
    assert [windows["five_hour"]["utilization"] for windows in told] == [0.30, 0.31, 0.32]
    messages = {line["message"]["id"]: line["message"]["usage"] for line in ended.lines if line["type"] == "assistant"}
    assert [usage["output_tokens"] for usage in messages.values()] == [1] * 5, "what a message begins with"
    assert ended.only("result")["usage"]["output_tokens"] == 45


def test_a_session_that_was_cut_off_goes_on_after_the_reset(bare: Bare) -> None:
    session = str(uuid.uuid4())
    with Provider(allowances=(1, 100), reset_after=2, turns=2) as provider:
        cut = bare.run(provider, "write a poem", "--session-id", session, "--allowedTools", "Bash")
        assert cut.code == 1
        while time.time() < provider.resets[0]:
            time.sleep(0.1)
        resumed = bare.run(provider, "go on", "--resume", session, "--allowedTools", "Bash")
    assert resumed.code == 0, resumed.stderr
    assert resumed.only("result")["is_error"] is False
    assert resumed.lines[0]["session_id"] == session
    assert provider.sessions == [session]
    last = provider.turns[-1]
    assert (last.prompts[0], last.prompts[-1]) == ("write a poem", "go on")
    assert last.tools_used == 1, "the work from before the limit is in the conversation"


def test_a_session_refused_at_its_first_turn_keeps_its_prompt(bare: Bare) -> None:
    session = str(uuid.uuid4())
    with Provider(allowances=(0, 100), reset_after=0.1) as provider:
        assert bare.run(provider, "write a poem", "--session-id", session).code == 1
        while time.time() < provider.resets[0]:
            time.sleep(0.1)
        assert bare.run(provider, "go on", "--resume", session).code == 0
    assert provider.turns[-1].prompts == ("write a poem", "go on")


def test_a_session_that_nobody_knows_is_told_on_stderr(bare: Bare) -> None:
    with Provider() as provider:
        ended = bare.run(provider, "go on", "--resume", "00000000-0000-4000-8000-000000000000")
    assert ended.code == 1
    assert "No conversation found with session ID: 00000000-0000-4000-8000-000000000000" in ended.stderr
    assert provider.turns == []


def test_a_session_id_cannot_be_used_twice(bare: Bare) -> None:
    session = str(uuid.uuid4())
    with Provider() as provider:
        assert bare.run(provider, "say hello", "--session-id", session).code == 0
        again = bare.run(provider, "say hello", "--session-id", session)
    assert again.code == 1
    assert f"Session ID {session} is already in use." in again.stderr
