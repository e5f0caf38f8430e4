"""The fake provider itself: what it counts, refuses and remembers."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

from provider import Provider

TOOLS = [{"name": "Bash", "input_schema": {}}]


def ask(provider: Provider, path: str = "/v1/messages", **body: Any) -> tuple[int, dict[str, str], bytes]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **body}
    headers = {"x-claude-code-session-id": "s1", "content-type": "application/json"}
    request = urllib.request.Request(provider.url + path, json.dumps(asked).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, dict(refused.headers), refused.read()


def test_turns_beyond_the_allowance_are_refused_until_the_reset_and_then_a_new_one_begins() -> None:
    with Provider(allowances=(2, 1), reset_after=0.1) as provider:
        assert [ask(provider, tools=TOOLS)[0] for _ in range(3)] == [200, 200, 429]
        while ask(provider, tools=TOOLS)[0] == 429:
            time.sleep(0.05)
        assert provider.turns[-1].at >= provider.resets[0]
        assert ask(provider, tools=TOOLS)[0] == 429
        assert len(provider.resets) == 2


def test_a_refusal_names_the_reset_in_its_headers() -> None:
    with Provider(allowances=(0,), reset_after=60) as provider:
        code, headers, body = ask(provider, tools=TOOLS)
    assert code == 429
    assert headers["anthropic-ratelimit-unified-status"] == "rejected"
    assert headers["anthropic-ratelimit-unified-reset"] == str(provider.resets[0])
    assert headers["anthropic-ratelimit-unified-5h-status"] == "rejected"
    assert json.loads(body)["error"]["type"] == "rate_limit_error"


def test_side_requests_use_up_nothing() -> None:
    with Provider(allowances=(1,)) as provider:
        assert [ask(provider)[0] for _ in range(3)] == [200, 200, 200]
        assert ask(provider, "/v1/messages/count_tokens?beta=true")[0] == 200
        assert ask(provider, tools=TOOLS)[0] == 200
        assert ask(provider, tools=TOOLS)[0] == 429
        assert ask(provider)[0] == 429, "a shut account refuses everything"
    assert [request.turn for request in provider.requests] == [False] * 4 + [True, True, False]


def test_a_conversation_takes_as_many_turns_as_asked() -> None:
    with Provider(allowances=(9,), turns=2, tool="sleep 1") as provider:
        first = json.loads(ask(provider, tools=TOOLS)[2])
        assert first["stop_reason"] == "tool_use"
        assert first["content"][-1]["input"]["command"] == "sleep 1"
        history = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "step"}]},
        ]
        last = json.loads(ask(provider, tools=TOOLS, messages=history)[2])
    assert (last["stop_reason"], last["content"]) == ("end_turn", [{"type": "text", "text": "Done: hello"}])
    assert [(turn.session, turn.prompts, turn.tools_used) for turn in provider.turns] == [
        ("s1", ("hello",), 0),
        ("s1", ("hello",), 1),
    ]


def test_a_stream_tells_the_same_as_plain_json() -> None:
    with Provider(turns=2) as provider:
        _, headers, body = ask(provider, tools=TOOLS, stream=True)
    assert headers["content-type"] == "text/event-stream"
    names = [line.removeprefix("event: ") for line in body.decode().splitlines() if line.startswith("event: ")]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    assert '"partial_json": "{\\"command\\": \\"echo step\\"' in body.decode()
