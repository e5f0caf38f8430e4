"""What the readers take for evidence, what they pass over, and that nothing makes them raise or linger."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import effort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import agents, policy
from tidegate.agents import Agent
from tidegate.explain import seen_in
from tidegate.model import (
    NOT_DRAWN,
    Drawn,
    Exit,
    Failed,
    Kind,
    Limit,
    Limited,
    Outcome,
    Progress,
    Result,
    Seen,
    SessionSeen,
    Sighting,
    Stream,
    Succeeded,
    Usage,
    Warned,
    Window,
)

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
KNOWN = agents.known()
OUT, ERR = Stream.STDOUT, Stream.STDERR
Json = dict[str, Any]


def told(agent: str, *lines: Json | str | bytes, stream: Stream = OUT) -> list[Sighting]:
    """What an agent's lines tell before its end."""
    reader = KNOWN.agents[agent].reader(UTC)
    return [one for line in lines for one in reader.read(stream, raw(line), NOW)]


def raw(line: Json | str | bytes) -> bytes:
    if isinstance(line, dict):
        return json.dumps(line, separators=(",", ":")).encode()
    return line.encode() if isinstance(line, str) else line


def outcome(agent: str, out: Iterable[Json | str] = (), err: Iterable[Json | str] = (), *, exit: int) -> Outcome:
    return policy.verdict(seen(agent, out, err, exit=exit), Exit(exit))


def seen(agent: str, out: Iterable[Json | str] = (), err: Iterable[Json | str] = (), *, exit: int) -> Seen:
    lines = {OUT: [raw(one) for one in out], ERR: [raw(one) for one in err]}
    return seen_in(lines, KNOWN.agents[agent], exit=exit, now=NOW, zone=UTC)


def assistant(text: str, **more: Any) -> Json:
    return {"type": "assistant", "message": {"model": "claude-x", "content": [{"type": "text", "text": text}]}, **more}


def event(**info: Any) -> Json:
    return {"type": "rate_limit_event", "rate_limit_info": info, "session_id": "s"}


LINE = "You've hit your limit · resets 4pm (America/Los_Angeles)"
EPOCH = 1788625200
RESET = datetime(2026, 9, 5, 16, 20, tzinfo=UTC)
OK = {"type": "result", "subtype": "success", "is_error": False, "result": "done", "session_id": "s"}
INIT = {"type": "system", "subtype": "init", "session_id": "s"}

# --- claude's frames ---


def test_a_rejection_with_a_reset_is_sure_at_once() -> None:
    (session, limit) = told("claude", event(status="rejected", resetsAt=EPOCH, rateLimitType="five_hour"))
    assert session == SessionSeen("s")
    assert isinstance(limit, Limit)
    assert (limit.kind, limit.window, limit.resets_at) == (Kind.USAGE_LIMIT, Window.FIVE_HOURS, RESET)
    assert limit.sure
    assert limit.final
    assert limit.exact


@pytest.mark.parametrize("info", [
    {"status": "rejected"}, {"status": "rejected", "isUsingOverage": False}, {"status": "allowed", "resetsAt": EPOCH},
    {"status": "allowed_warning", "resetsAt": EPOCH, "rateLimitType": "five_hour"}, {},
    {"status": "allowed", "overageStatus": "rejected", "resetsAt": EPOCH, "rateLimitType": "five_hour"},
])  # fmt: skip
def test_other_events_are_no_limit(info: Json) -> None:
    assert not [one for one in told("claude", event(**info)) if isinstance(one, Limit)]


def test_how_much_is_used_is_kept_for_planning_and_shuts_nothing() -> None:
    windows = {"five_hour": {"utilization": 0.92, "resetsAt": EPOCH}, "seven_day": {"utilization": 0.59}}
    sightings = told("claude", event(status="allowed_warning", rateLimitType="five_hour", unifiedWindows=windows))
    assert sightings[1:] == [
        Warned(window=Window.FIVE_HOURS, used=0.92, at=NOW, resets_at=RESET),
        Warned(window=Window.WEEK, used=0.59, at=NOW),
    ]


def answer(id: str, *, output: int = 1, parent: str | None = None, **more: int) -> Json:
    used = {"input_tokens": 4, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 1000, **more}
    told = {**used, "output_tokens": output, "cache_creation": {"ephemeral_5m_input_tokens": 77}, "iterations": []}
    block = {
        "type": "tool_use",
        "id": "toolu_1",
        "input": {"usage": {"input_tokens": 10**6}, "text": '"usage":{"input_tokens":9}'},
    }
    message = {"id": id, "model": "claude-x", "content": [block], "stop_reason": None, "usage": told}
    return {"type": "assistant", "message": message, "parent_tool_use_id": parent, "session_id": "s"}


def drawn(agent: str, *lines: Json | str | bytes) -> Drawn:
    reader = KNOWN.agents[agent].reader(UTC)
    for line in lines:
        for _ in reader.read(OUT, raw(line), NOW):
            pass
    return reader.drawn


ONE = 4 + 125 + 100 + 5.0


def test_what_an_answer_draws_is_counted_once_in_however_many_lines_it_comes() -> None:
    assert drawn("claude", answer("msg_1")) == Drawn(ONE, 1)
    assert drawn("claude", answer("msg_1"), answer("msg_1"), answer("msg_2"), answer("msg_1")) == Drawn(2 * ONE, 2)
    assert drawn("claude", answer("msg_1"), answer("msg_1", output=11)) == Drawn(ONE + 50, 1), "it wrote more meanwhile"


def test_what_agents_of_an_agent_draw_is_its_own() -> None:
    assert drawn("claude", answer("msg_1"), answer("msg_2", parent="toolu_1")) == Drawn(2 * ONE, 2)


def test_the_result_tells_of_all_that_a_run_has_drawn() -> None:
    result = {
        "type": "result",
        "is_error": False,
        "result": "done",
        "usage": {"input_tokens": 10, "output_tokens": 900},
    }
    assert drawn("claude", answer("msg_1"), result) == Drawn(4510.0, 1, late=4510.0 - ONE)
    result["usage"] = {"input_tokens": 1}
    assert drawn("claude", answer("msg_1"), result) == Drawn(ONE, 1), "of a run that was cut off it may tell less"


def test_answers_that_come_in_one_array_are_counted_too() -> None:
    whole = json.dumps([answer("msg_1"), answer("msg_1"), {"type": "result", "is_error": False, "result": "done"}])
    assert drawn("claude", whole) == Drawn(ONE, 1)


def test_an_error_of_the_cli_and_a_line_without_a_usage_draw_nothing() -> None:
    synthetic = {"type": "assistant", "message": {"id": "x", "model": "<synthetic>", "usage": {"input_tokens": 0}}}
    assert drawn("claude", synthetic, assistant("hello")) == NOT_DRAWN


def test_an_answer_whose_usage_stands_before_its_long_content_is_counted() -> None:
    line = '{"type":"assistant","message":{"id":"msg_1","usage":{"input_tokens":9},"content":["' + "x" * 9000 + '"]}}'
    assert drawn("claude", line) == Drawn(9.0, 1)


def test_of_answers_without_a_name_each_line_is_one() -> None:
    line = '{"type":"assistant","message":{"model":"m","usage":{"input_tokens":9}}}'
    assert drawn("claude", line, line) == Drawn(18.0, 2)


def test_an_agent_that_answers_for_hours_keeps_only_its_latest_answers_in_mind() -> None:
    lines = [answer(f"msg_{n}") for n in range(200)]
    reader = KNOWN.agents["claude"].reader(UTC)
    for line in (*lines, lines[-1], lines[-60]):
        list(reader.read(OUT, raw(line), NOW))
    assert reader.drawn == Drawn(200 * ONE, 200)
    assert len(reader._frames._draws._last) <= 64  # type: ignore[attr-defined]


def test_codex_tells_of_its_whole_thread_and_of_what_a_cache_had() -> None:
    turn = {"input_tokens": 1000, "cached_input_tokens": 600, "cache_write_input_tokens": 100, "output_tokens": 10}
    later = {name: 2 * number for name, number in turn.items()}
    one = 300 + 60 + 125 + 50.0
    assert drawn("codex", {"type": "turn.completed", "usage": turn}) == Drawn(one, 1, of_session=True)
    told = drawn("codex", {"type": "turn.completed", "usage": turn}, {"type": "turn.completed", "usage": later})
    assert told == Drawn(2 * one, 2, of_session=True)


def test_gemini_and_opencode_tell_what_they_have_drawn() -> None:
    stats = {"total_tokens": 42, "input_tokens": 24, "output_tokens": 18, "cached": 4}
    assert drawn("gemini", {"type": "result", "status": "success", "stats": stats}) == Drawn(20 + 0.4 + 90, 1)
    step = {"input": 12, "output": 9, "reasoning": 1, "cache": {"write": 4, "read": 10}}
    line = {"type": "step_finish", "part": {"type": "step-finish", "tokens": step}}
    assert drawn("opencode", line, line) == Drawn(2 * (12 + 50 + 5 + 1.0), 2)
    assert drawn("qwen-code", answer("b6d0")) == Drawn(ONE, 1)
    assert drawn("command", "hello") == NOT_DRAWN


def test_a_window_that_one_model_has_alone_is_told_as_its_own() -> None:
    windows = {name: {"utilization": 0.5} for name in ("seven_day", "seven_day_opus", "overage", "seven_day_else")}
    sightings = told("claude", event(status="allowed", rateLimitType="five_hour", unifiedWindows=windows))
    warned = [one for one in sightings if isinstance(one, Warned)]
    assert [(one.window, one.model) for one in warned] == [(Window.WEEK, None), (Window.WEEK, "opus")]


def test_a_share_that_is_surpassed_is_used_at_least() -> None:
    (warned,) = told(
        "claude", event(status="allowed_warning", rateLimitType="five_hour", resetsAt=EPOCH, surpassedThreshold=0.9)
    )[1:]
    assert warned == Warned(window=Window.FIVE_HOURS, used=0.9, at=NOW, resets_at=RESET)


@pytest.mark.parametrize("used", [None, True, "0.5", [0.5], float("nan")])
def test_a_share_that_is_no_number_tells_nothing(used: object) -> None:
    assert not told("claude", event(status="allowed", rateLimitType="five_hour", utilization=used))[1:]


@pytest.mark.parametrize(("name", "model", "window"), [
    ("seven_day_opus", "opus", Window.WEEK),
    ("seven_day_sonnet", "sonnet", Window.WEEK),
    ("seven_day", None, Window.WEEK),
    ("seven_day_overage_included", "fable", Window.WEEK), ("five_hour", None, Window.FIVE_HOURS),
    ("something_new", None, Window.UNKNOWN), ("seven_day_something", None, Window.WEEK),
])  # fmt: skip
def test_the_event_names_the_window_and_the_model(name: str, model: str | None, window: Window) -> None:
    limit = told("claude", event(status="rejected", resetsAt=EPOCH, rateLimitType=name))[1]
    assert isinstance(limit, Limit)
    assert (limit.model, limit.window) == (model, window)


def test_the_sentence_adds_no_later_time_to_the_exact_one() -> None:
    error = {"error": "rate_limit", "api_error_status": 429, "api_error": "usage_limit_reached"}
    frames = [
        INIT,
        event(status="rejected", resetsAt=EPOCH, rateLimitType="five_hour"),
        assistant("You've hit your 5-hour limit · resets 4:19pm (UTC)", **error),
        {"type": "result", "is_error": True, "result": "You've hit your 5-hour limit · resets 4:19pm (UTC)", **error},
    ]
    known = seen("claude", frames, exit=1)
    assert known.sure is not None
    assert (known.sure.resets_at, known.sure.exact) == (RESET, True)
    assert known.result == Result(ok=False, text="You've hit your 5-hour limit · resets 4:19pm (UTC)")


def test_a_spend_limit_beside_a_window_that_resets_is_a_clock_and_not_a_person() -> None:
    said = "You've hit your org's monthly spend limit · ask your admin to raise it"
    frames = [
        event(
            status="rejected", resetsAt=EPOCH, rateLimitType="five_hour", overageDisabledReason="org_spend_cap_reached"
        ),
        {"type": "result", "is_error": True, "result": said, "api_error": "usage_limit_reached"},
    ]
    ended = outcome("claude", frames, exit=1)
    assert isinstance(ended, Limited)
    assert (ended.limit.kind, ended.limit.resets_at) == (Kind.USAGE_LIMIT, RESET)


def test_a_spend_limit_alone_waits_for_a_person() -> None:
    said = "You've hit your org's monthly spend limit · ask your admin to raise it"
    frames = [
        event(status="rejected", rateLimitType="overage", overageDisabledReason="org_level_disabled_until"),
        {"type": "result", "is_error": True, "result": said, "api_error": "usage_limit_reached"},
    ]
    ended = outcome("claude", frames, exit=1)
    assert isinstance(ended, Limited)
    assert (ended.limit.kind, ended.limit.window) == (Kind.CREDIT, Window.SPEND)


def test_a_retry_after_a_rejection_means_that_claude_waits_for_the_reset_itself() -> None:
    retry = {"type": "system", "subtype": "api_retry", "retry_delay_ms": 44612, "error_status": 429}
    last = told("claude", event(status="rejected", resetsAt=EPOCH, rateLimitType="five_hour"), retry)[-1]
    assert isinstance(last, Limit)
    assert policy.waits_inside(last)
    assert last.resets_at == RESET


def test_a_retry_alone_is_neither_sure_nor_final_and_names_its_wait() -> None:
    (limit,) = told("claude", {"type": "system", "subtype": "api_retry", "retry_delay_ms": 5501, "error_status": 429})
    assert isinstance(limit, Limit)
    assert (limit.kind, limit.sure, limit.final) == (Kind.RATE_LIMIT, False, False)
    assert limit.resets_at == NOW + timedelta(seconds=5.501)


@pytest.mark.parametrize(("status", "kind"), [(529, Kind.OVERLOADED), (500, Kind.OVERLOADED), (429, Kind.RATE_LIMIT)])
def test_a_retry_is_of_its_statuss_kind(status: int, kind: Kind) -> None:
    (limit,) = told("claude", {"type": "system", "subtype": "api_retry", "error_status": status, "retry_delay_ms": 1})
    assert isinstance(limit, Limit)
    assert limit.kind is kind


def test_a_retry_that_helped_is_no_limit_when_the_agent_then_fails_by_itself() -> None:
    frames = [
        {"type": "system", "subtype": "api_retry", "retry_delay_ms": 1, "error_status": 429},
        assistant("working"),
        {
            "type": "result",
            "subtype": "error_max_turns",
            "is_error": True,
            "errors": ["Reached maximum number of turns"],
        },
    ]
    ended = outcome("claude", frames, exit=1)
    assert ended == Failed(reason="exit 1: Reached maximum number of turns")


@pytest.mark.parametrize(("fields", "kind"), [
    ({"api_error_status": 429}, Kind.RATE_LIMIT),
    ({"api_error_status": 401}, Kind.AUTH),
    ({"api_error_status": 529}, Kind.OVERLOADED),
    ({"error": "billing_error"}, Kind.CREDIT),
    ({"error": "authentication_failed"}, Kind.AUTH),
    ({"error": "server_error"}, Kind.OVERLOADED),
    ({"api_error": "usage_limit_reached"}, Kind.USAGE_LIMIT),
    ({"api_error": "long_context_credits_required", "api_error_status": 429}, Kind.CREDIT),
])  # fmt: skip
def test_an_error_frame_in_words_that_nobody_has_seen_is_known_by_its_fields(fields: Json, kind: Kind) -> None:
    ended = outcome(
        "claude", [{"type": "result", "is_error": True, "result": "Something new happened", **fields}], exit=1
    )
    assert isinstance(ended, Limited)
    assert (ended.limit.kind, ended.limit.sure) == (kind, True)


def test_a_failed_connection_is_no_limit() -> None:
    frame = {
        "type": "result",
        "is_error": True,
        "result": "API Error: Connection refused",
        "api_error": "connection_failed",
    }
    assert isinstance(outcome("claude", [frame], exit=1), Failed)


@pytest.mark.parametrize("frame", [
    {**OK, "result": LINE},
    {**OK, "is_error": True, "result": "I could not do it. " + LINE},
])  # fmt: skip
def test_an_answer_that_talks_about_limits_is_none(frame: Json) -> None:
    assert not isinstance(outcome("claude", [INIT, assistant(LINE), frame], exit=1), Limited)


def test_a_result_counts_only_with_its_flag_and_exit_0() -> None:
    assert outcome("claude", [OK], exit=0) == Succeeded("done")
    assert isinstance(outcome("claude", [OK], exit=1), Failed)
    assert isinstance(outcome("claude", [{**OK, "is_error": True}], exit=0), Failed)
    assert isinstance(outcome("claude", [{**OK, "subtype": "error_max_turns"}], exit=0), Failed)
    assert isinstance(outcome("claude", [{**OK, "result": ""}], exit=0), Failed)
    assert isinstance(outcome("claude", [INIT], exit=0), Failed)


def test_a_result_is_found_wherever_its_type_stands() -> None:
    late = {"duration_ms": 1, "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5}, **OK}
    known = seen("claude", [INIT, late], exit=0)
    assert known.result == Result(ok=True, text="done")
    assert known.usage == Usage(input_tokens=7, output_tokens=5, of_session=("cost_usd",))


def test_an_array_of_frames_is_read_like_the_frames() -> None:
    text = json.dumps([INIT, assistant("hi"), OK])
    assert outcome("claude", [text], exit=0) == Succeeded("done")


# --- what is never evidence ---

QUOTED = [
    {
        "type": "user",
        "message": {"content": [{"type": "tool_result", "content": LINE}]},
        "tool_use_result": {"stdout": LINE},
    },
    {"type": "user", "message": {"content": json.dumps(event(status="rejected", resetsAt=EPOCH, rateLimitType="x"))}},
    {"type": "user", "tool_use_result": event(status="rejected", resetsAt=EPOCH, rateLimitType="five_hour")},
    {"type": "user", "tool_use_result": {"type": "result", "is_error": True, "result": LINE, "api_error": "x"}},
    assistant(LINE),
    assistant(json.dumps({"model": "<synthetic>", "error": "rate_limit"})),
    {
        "type": "assistant",
        "message": {"content": [{"type": "tool_use", "input": {"error": "rate_limit", "command": LINE}}]},
    },
    {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"text": LINE}}},
    {"type": "system", "subtype": "hook_response", "stdout": LINE, "stderr": LINE},
]


@pytest.mark.parametrize("frame", QUOTED)
@pytest.mark.parametrize(
    "agent", ["claude", "qwen-code", "cursor-agent", "amp", "command", "codex", "gemini", "opencode"]
)
def test_tool_results_user_frames_and_prose_are_never_evidence(agent: str, frame: Json) -> None:
    known = seen(agent, [INIT, frame], exit=1)
    assert known.sure is None
    assert known.unsure is None


@pytest.mark.parametrize("item", [
    {"type": "agent_message", "text": LINE},
    {"type": "command_execution", "aggregated_output": LINE, "exit_code": 1},
    {"type": "error", "message": LINE},
])  # fmt: skip
def test_codex_items_are_never_evidence(item: Json) -> None:
    known = seen("codex", [{"type": "item.completed", "item": {"id": "item_0", **item}}], exit=1)
    assert known.sure is None
    assert known.unsure is None


# --- codex, gemini, text ---


def test_codex_reconnecting_is_not_final_and_its_last_word_is() -> None:
    words = "exceeded retry limit, last status: 429 Too Many Requests"
    first = {"type": "error", "message": f"Reconnecting... 1/5 ({words})"}
    last = {"type": "turn.failed", "error": {"message": words}}
    (limit,) = told("codex", first)
    assert isinstance(limit, Limit)
    assert (limit.kind, limit.sure, limit.final) == (Kind.RATE_LIMIT, False, False)
    known = seen("codex", [first, last], exit=1)
    assert known.sure is not None
    assert known.sure.final


def test_codex_answers_with_its_last_message() -> None:
    frames: list[Json | str] = [
        {"type": "thread.started", "thread_id": "t"},
        {"type": "item.completed", "item": {"id": "item_0", "type": "agent_message", "text": "first"}},
        {"type": "item.completed", "item": {"id": "item_1", "type": "agent_message", "text": "last"}},
        {"type": "turn.completed", "usage": {"input_tokens": 12, "cached_input_tokens": 3, "output_tokens": 9}},
    ]
    known = seen("codex", frames, exit=0)
    assert policy.verdict(known, Exit(0)) == Succeeded("last")
    of_session = ("input_tokens", "output_tokens")
    assert known.session == "t"
    assert known.usage == Usage(input_tokens=12, output_tokens=9, of_session=of_session)


def test_codex_text_is_judged_by_its_last_error_line_alone() -> None:
    echoed = ["user", LINE, "codex", "You've hit your usage limit. Try again later.", "ERROR: Something else broke"]
    assert isinstance(outcome("codex", err=echoed, exit=1), Failed)
    assert isinstance(outcome("codex", err=[*echoed, f"ERROR: {LINE}"], exit=1), Limited)


def test_gemini_answers_with_what_it_said_last() -> None:
    frames: list[Json | str] = [
        {"type": "init", "session_id": "g"},
        {"type": "message", "role": "assistant", "content": "Let me ", "delta": True},
        {"type": "message", "role": "assistant", "content": "look.", "delta": True},
        {"type": "tool_use", "tool_name": "x"},
        {"type": "message", "role": "assistant", "content": "All ", "delta": True},
        {"type": "message", "role": "assistant", "content": "done.", "delta": True},
        {"type": "result", "status": "success", "stats": {"input_tokens": 1, "output_tokens": 2}},
    ]
    assert outcome("gemini", frames, exit=0) == Succeeded("All done.")
    assert isinstance(outcome("gemini", frames[:-1], exit=0), Failed), "exit 0 after a signal proves nothing"


@pytest.mark.parametrize(
    ("exit", "kind"), [(173, Kind.RATE_LIMIT), (247, Kind.OVERLOADED), (147, Kind.AUTH), (41, Kind.AUTH)]
)
def test_geminis_exit_code_alone_is_a_status(exit: int, kind: Kind) -> None:
    ended = outcome("gemini", err=["something new"], exit=exit)
    assert isinstance(ended, Limited)
    assert (ended.limit.kind, ended.limit.sure) == (kind, False)


def test_gemini_waits_out_a_short_pause_by_itself() -> None:
    words = "You have exhausted your capacity on this model. Your quota will reset after 9s."
    (limit,) = told("gemini", f"Attempt 1 failed: {words}. Retrying after 9500ms...", stream=ERR)
    assert isinstance(limit, Limit)
    assert not policy.waits_inside(limit)
    assert (limit.kind, limit.final) == (Kind.RATE_LIMIT, False)


def test_a_zone_of_its_own_is_used_for_times_without_one() -> None:
    reader = KNOWN.agents["claude"].reader(ZoneInfo("Asia/Tokyo"))
    list(reader.read(OUT, "You've hit your limit · resets 4pm".encode(), NOW))
    limit = next(one for one in reader.end(Exit(1), NOW) if isinstance(one, Limit))
    assert limit.resets_at == datetime(2026, 1, 10, 7, tzinfo=UTC)


def test_a_time_is_relative_to_when_it_was_printed_and_not_to_the_end() -> None:
    reader = KNOWN.agents["command"].reader(UTC)
    list(reader.read(ERR, b"You've hit your usage limit. Try again in 2 hours.", NOW))
    (limit,) = reader.end(Exit(1), NOW + timedelta(hours=5))
    assert isinstance(limit, Limit)
    assert limit.resets_at == NOW + timedelta(hours=2)


def test_claude_in_text_mode_succeeds_with_its_text_unless_it_was_interrupted() -> None:
    assert outcome("claude", ["Hello.", "Bye."], exit=0) == Succeeded("Hello.\nBye.")
    assert isinstance(outcome("claude", ["Execution error"], exit=0), Failed)
    assert isinstance(outcome("claude", [], exit=0), Failed)
    assert isinstance(outcome("claude", [LINE], exit=1), Limited)
    assert outcome("claude", [LINE], exit=0) == Succeeded(LINE)


# --- any program ---


def test_a_wrappers_line_on_stderr_counts_only_if_it_fails() -> None:
    line = "Rate limit from agent: You've hit your limit · resets 4pm (America/Los_Angeles)"
    after = ["Traceback (most recent call last):", '  File "x.py", line 3, in <module>', "SystemExit: -1"]
    ended = outcome("command", err=["starting", line, *after], exit=255)
    assert isinstance(ended, Limited)
    assert (ended.limit.kind, ended.limit.sure, ended.limit.stream) == (Kind.USAGE_LIMIT, False, ERR)
    assert ended.limit.resets_at == datetime(2026, 1, 10, tzinfo=UTC)
    assert outcome("command", err=["starting", line], exit=0) == Succeeded()


def test_a_wrappers_log_line_is_a_label_whatever_time_stands_before_it() -> None:
    words = (
        "[ERROR] scylla.e2e.rerun: Failed to re-run: Rate limit from agent: You've hit your limit · resets 4pm (UTC)"
    )
    for stamp in ("2026-01-09 18:29:59", "2026-01-09T18:29:59.123Z", "[2026-01-09 18:29:59,123]"):
        ended = outcome("command", err=[f"{stamp} {words}", f"{stamp} [WARNING] __main__: 1 runs failed"], exit=1)
        assert isinstance(ended, Limited), stamp
        assert isinstance(outcome("command", out=[f"{stamp} {words}"], exit=1), Failed)


def test_a_limit_far_up_on_stderr_was_overcome() -> None:
    assert isinstance(outcome("command", err=[LINE, *["more"] * 40], exit=1), Failed)


def test_a_programs_last_error_is_the_one_that_counts() -> None:
    assert isinstance(outcome("command", [LINE, "Error: the disk is full"], exit=1), Failed)
    assert isinstance(outcome("command", ["The CLI said:", LINE], exit=1), Failed)


def test_a_program_that_passes_claudes_frames_on_is_understood_but_not_sure() -> None:
    frames = [event(status="rejected", resetsAt=EPOCH, rateLimitType="five_hour")]
    ended = outcome("command", frames, exit=1)
    assert isinstance(ended, Limited)
    assert (ended.limit.resets_at, ended.limit.sure) == (RESET, False)


def test_the_last_line_is_the_reason_of_a_plain_failure() -> None:
    assert outcome("command", ["out"], ["\x1b[31mboom\x1b[0m", "  "], exit=3) == Failed(reason="exit 3: boom")
    assert outcome("command", ["out", ""], exit=3) == Failed(reason="exit 3: out")
    assert outcome("command", exit=3) == Failed(reason="exit 3")
    assert len(seen("command", ["x" * 100_000], exit=1).last_words) == 500


# --- whatever comes ---

TEXTS = st.one_of(
    st.text(max_size=40), st.sampled_from([LINE, "limit", "rate_limit", "result", "error", "429", "{", "usage"])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
TYPE_NAMES = (
    "system assistant user result rate_limit_event error turn.failed turn.completed thread.started item.completed init"
    " message session.error text tool_use step_finish assistant.message"
)
KEY_NAMES = (
    "subtype rate_limit_info error message result is_error api_error api_error_status usage stats session_id thread_id"
    " item data status errors content role retry_delay_ms part text"
)
TYPES, KEYS = st.sampled_from(TYPE_NAMES.split()), st.sampled_from(KEY_NAMES.split())
FRAMES = st.builds(lambda kind, rest: {"type": kind, **rest}, TYPES, st.dictionaries(KEYS, VALUES, max_size=6))
LINES = st.one_of(
    st.binary(max_size=60),
    FRAMES.map(lambda frame: json.dumps(frame).encode()),
    FRAMES.map(lambda frame: json.dumps(frame, separators=(",", ":")).encode()[:-5]),
    TEXTS.map(lambda text: text.encode(errors="surrogatepass")),
)


@pytest.mark.parametrize("agent", KNOWN.names)
@settings(max_examples=effort.of(20, 60), deadline=None)
@given(
    lines=st.lists(st.tuples(st.sampled_from(Stream), LINES), max_size=12),
    exit=st.one_of(st.none(), st.integers(0, 255)),
    at=st.datetimes(timezones=st.just(UTC)),
)
def test_no_bytes_make_a_reader_raise(
    agent: str, lines: list[tuple[Stream, bytes]], exit: int | None, at: datetime
) -> None:
    reader = KNOWN.agents[agent].reader(UTC)
    known = Seen(proof=True)
    for stream, line in lines:
        for one in reader.read(stream, line, at):
            known = policy.see(known, one)
    for one in reader.end(Exit(exit), at):
        known = policy.see(known, one)
    policy.verdict(known, Exit(exit))
    assert len(reader.last_words) <= 500


BIG = 30_000_000
HUGE = [
    b'{"type":"user","message":{"content":"' + b"limit resets " * (BIG // 13),
    b'{"type":"assistant","message":{"model":"m","content":[{"type":"text","text":"' + b"y" * BIG + b'"}]}}',
    b"Attempt 1 failed: " + b"Retrying " * (BIG // 9),
    b"x" * BIG,
    b"\x1b[" * (BIG // 2),
    b'{"type":"item.completed","item":{"id":"item_1","type":"command_execution","aggregated_output":"' + b"z" * BIG,
]


@pytest.mark.parametrize("line", HUGE, ids=["user", "assistant", "retrying", "plain", "escapes", "item"])
@pytest.mark.parametrize("agent", KNOWN.names)
def test_a_line_of_30_megabytes_costs_next_to_nothing(agent: str, line: bytes) -> None:
    reader = KNOWN.agents[agent].reader(UTC)
    began = time.perf_counter()
    for stream in Stream:
        list(reader.read(stream, line, NOW))
    list(reader.end(Exit(1), NOW))
    assert time.perf_counter() - began < 0.5


def test_what_a_reader_keeps_is_bounded() -> None:
    for agent in KNOWN.agents.values():
        assert kept(agent) < 1_000_000, agent.name


def kept(agent: Agent) -> int:
    """Bytes that a reader holds after a long run, roughly."""
    reader = agent.reader(UTC)
    for n in range(3000):
        for stream in Stream:
            list(reader.read(stream, b"%d " % n + b"x" * 20_000, NOW))
    return sum(len(value) for value in strings(reader, set()))


def strings(thing: object, known: set[int]) -> Iterable[bytes | str]:
    if id(thing) in known or isinstance(thing, int | float | datetime | type(None)):
        return
    known.add(id(thing))
    if isinstance(thing, bytes | str):
        yield thing
    elif isinstance(thing, dict):
        yield from (one for value in thing.values() for one in strings(value, known))
    elif hasattr(thing, "__dict__"):
        yield from strings(vars(thing), known)
    elif isinstance(thing, Iterable):
        yield from (one for value in thing for one in strings(value, known))


def test_progress_is_told_once() -> None:
    for agent, line in (
        ("claude", assistant("hi")),
        ("codex", {"type": "item.completed", "item": {"id": "i", "type": "x"}}),
    ):
        assert told(agent, line, line, line) == [Progress()]
