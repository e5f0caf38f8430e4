"""Recorded runs of the real CLIs, read as a live attempt reads them, come to the outcome that each of them had.

A recording is one line of `tests/data/captures/CLI-VERSION.jsonl`: both streams, the exit code as a shell tells it, the
instant at which it ended and the zone that it ran in. The server was a stand-in on loopback; the CLIs' words are real.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tidegate import agents, policy
from tidegate.explain import judged, seen_in
from tidegate.model import Exit, Interrupted, Kind, Limit, Limited, Seen, Stream, Succeeded, Window

FOLDER = Path(__file__).parents[1] / "data" / "captures"
KNOWN = agents.known()

# What a recording's label comes to: a kind of limit, or an outcome.
LABELS = {
    "usage_limit": "usage_limit",
    "usage_limit+hangs": "usage_limit",
    "usage_limit_then_ok": "succeeded",
    "quota_exhausted": "usage_limit",
    "quota_exhausted+hangs": "usage_limit",
    "rate_limit_transient": "rate_limit",
    "rate_limit_transient+hangs": "rate_limit",
    "rejected_429_apikey": "rate_limit",
    "overloaded_in_stream": "rate_limit",  # its text is "Rate limit reached. Please try again in 8s."
    "overloaded": "overloaded",
    "server_error": "overloaded",  # 5xx: the provider's trouble, not the job's
    "auth": "auth",
    "billing": "credit",
    "ok": "succeeded",
    "ok_after_retry": "succeeded",
    "ok_talks_about_limits": "succeeded",
    "rejected_429_apikey+hangs": "failed",  # silent until it was killed
    "network": "failed",
    "config": "failed",
    "usage_error": "failed",
    "signal": "failed",
}

# Recordings that come to something else than their label's, and why.
SPENT = "a spend limit waits for a person"
OTHERS = {
    ("claude-2.0.76", "cred_max.limit_bare.text"): ("rate_limit", "says no more than a plain 429 says"),
    ("claude-2.1.330", "orgdisabled400"): ("auth", "the organization is disabled"),
    ("claude-2.1.330", "drop.stream-json"): ("succeeded", "the CLI recovered"),
    ("claude-2.1.330", "drop.text"): ("succeeded", "the CLI recovered"),
    ("claude-2.1.330", "o529_sse.stream-json"): ("succeeded", "the CLI recovered"),
    ("claude-2.1.330", "o529_sse.text"): ("succeeded", "the CLI recovered"),
    ("claude-2.1.330", "r429_60.text"): ("failed", "silent until it was killed"),
    ("claude-2.1.330", "probe.get_usage"): ("failed", "answers a control request, no prompt"),
    ("claude-2.1.330", "resume.11_sessionid_reuse"): ("failed", "the id is in use"),
    ("claude-2.1.330", "resume.13_nopersist_resume"): ("interrupted", "the session is gone"),
    ("claude-2.1.330", "resume.7_bogus"): ("interrupted", "the session is gone"),
    ("claude-2.1.330", "reason.5h.org_level_disabled_until"): ("credit", SPENT),
    ("claude-2.1.330", "reason.5h.org_spend_cap_reached"): ("credit", SPENT),
    **{
        ("claude-2.1.330", f"reason.overage.{why}"): ("credit", SPENT)
        for why in (
            "org_level_disabled_until",
            "org_spend_cap_reached",
            "org_service_level_disabled",
            "group_zero_credit_limit",
            "member_level_disabled",
            "member_zero_credit_limit",
        )
    },
    ("claude-2.1.330", "spendlimit.stream-json"): ("credit", SPENT),
    **{
        ("claude-2.1.330", f"signalresume.{how}.json"): ("succeeded", "goes on after a signal")
        for how in ("TERM.slow", "KILL.slow", "INT.tl", "KILL.tl", "TERM.tl")
    },
    ("codex-0.169.0", "a401.chatgpt.json"): ("failed", "could not reach the login server"),
    ("codex-0.169.0", "probe.loginstatus"): ("failed", "asks for the login, no prompt"),
    ("codex-0.169.0", "resume.5_bogus.json"): ("interrupted", "the session is gone"),
    ("codex-0.169.0", "resume.7_nogit.json"): ("failed", "not a trusted directory"),
    ("codex-0.169.0", "quota.json"): ("credit", "the account's money is spent"),
    ("codex-0.169.0", "quota.text"): ("credit", "the account's money is spent"),
    ("copilot-1.0.102", "limit_5h.text"): ("rate_limit", "passes on the text of a plain 429"),
    ("copilot-1.0.102", "quota.text"): ("credit", "the account's money is spent"),
    ("gemini-0.61.0", "signal.INT.slow.pro.json"): ("succeeded", "ignores the signal"),
    ("gemini-0.61.0", "signal.TERM.slow.pro.json"): ("succeeded", "ignores the signal"),
    ("gemini-0.61.0", "signal.TERM.retrysleep.json"): ("rate_limit", "was killed while it retried"),
    **{("opencode-1.18.33", f"quota.{form}"): ("credit", "the account's money is spent") for form in ("json", "text")},
    **{
        ("opencode-1.18.33", name): ("failed", "silent until it was killed")
        for name in ("limit_5h.json", "limit_5h.logs.json", "limit_5h.text", "limit_midsession.json")
    },
    **{
        ("qwen-0.24.4", f"quota.{form}"): ("credit", "the account's money is spent")
        for form in ("json", "stream-json", "text")
    },
    ("qwen-0.24.4", "mid.stream-json"): ("failed", "silent until it was killed"),
    ("qwen-0.24.4", "mid.text"): ("failed", "silent until it was killed"),
    ("qwen-0.24.4", "r429_3h.stream-json"): ("failed", "silent until it was killed"),
    ("qwen-0.24.4", "walltime.text"): ("failed", "its own time was up"),
}  # fmt: skip


@dataclass(frozen=True)
class Recording:
    cli: str
    said: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.said["name"])

    @property
    def zone(self) -> tzinfo:
        try:
            return ZoneInfo(self.said["tz"])
        except (KeyError, ValueError):  # claude prints UTC for a zone that is none
            return UTC

    @property
    def printed(self) -> datetime:
        return datetime.fromtimestamp(self.said["printed"], UTC)

    @property
    def agent(self) -> agents.Agent:
        return KNOWN.called(self.cli.rpartition("-")[0])

    @property
    def lines(self) -> dict[Stream, list[bytes]]:
        return {stream: self.said[stream.value].encode().split(b"\n") for stream in Stream}

    def seen(self) -> Seen:
        return seen_in(self.lines, self.agent, exit=self.said["exit"], now=self.printed, zone=self.zone)

    def expected(self) -> str:
        return OTHERS.get((self.cli, self.name), (LABELS[self.said["label"]], ""))[0]


RECORDINGS = [
    Recording(file.stem, json.loads(line))
    for file in sorted(FOLDER.glob("*.jsonl"))
    for line in file.read_text().splitlines()
]
each = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda one: f"{one.cli}/{one.name}")


def of(name: str, cli: str = "claude-2.1.330") -> Recording:
    return next(one for one in RECORDINGS if (one.cli, one.name) == (cli, name))


@each
def test_a_recording_comes_to_its_outcome(recording: Recording) -> None:
    outcome = policy.verdict(recording.seen(), Exit(recording.said["exit"]))
    came_to = outcome.limit.kind.value if isinstance(outcome, Limited) else type(outcome).__name__.lower()
    assert came_to == recording.expected(), outcome


@each
def test_explain_concludes_the_same(recording: Recording) -> None:
    concluded = judged(
        recording.lines, recording.agent, exit=recording.said["exit"], now=recording.printed, zone=recording.zone
    )
    kinds = {kind.value for kind in Kind}
    assert (concluded.kind.value if concluded.kind is not Kind.NONE else concluded.outcome) == recording.expected()
    assert (concluded.action == "none") == (recording.expected() not in kinds)


SPOKEN_OF = [
    one
    for one in RECORDINGS
    if one.agent.proof and (seen := one.seen()).sure is None and seen.unsure is not None and seen.result is None
]


@pytest.mark.parametrize("recording", SPOKEN_OF, ids=lambda one: f"{one.cli}/{one.name}")
def test_who_ends_at_a_limit_without_a_result_was_limited_also_where_it_says_that_all_is_well(
    recording: Recording,
) -> None:
    """As gemini does that is told to end while it retries: exit 0, and nothing else."""
    assert isinstance(policy.verdict(recording.seen(), Exit(0)), Limited)


def test_every_exception_is_of_a_recording() -> None:
    names = {(one.cli, one.name) for one in RECORDINGS}
    assert OTHERS.keys() <= names


# --- what else a recording tells ---


def stdout_epoch(recording: Recording) -> int | None:
    """The last `resetsAt` of a rejection in the stream."""
    frames = [
        json.loads(line)
        for line in recording.said["stdout"].splitlines()
        if line.startswith('{"type":"rate_limit_event"')
    ]
    told = [
        frame["rate_limit_info"].get("resetsAt") for frame in frames if frame["rate_limit_info"]["status"] == "rejected"
    ]
    return told[-1] if told else None


EXACT = [one for one in RECORDINGS if one.said["label"] == "usage_limit" and stdout_epoch(one) is not None]


@pytest.mark.parametrize("recording", EXACT, ids=lambda one: one.name)
def test_the_exact_instant_of_the_event_outweighs_the_printed_minute(recording: Recording) -> None:
    limit = recording.seen().sure
    assert limit is not None
    assert limit.resets_at == datetime.fromtimestamp(stdout_epoch(recording) or 0, UTC)
    assert limit.exact
    assert limit.final


HOURS = [
    one for one in RECORDINGS if one.said["scenario"] in ("limit:five_hour:1795453200", "limit:seven_day:1795971600")
]


@pytest.mark.parametrize("recording", HOURS, ids=lambda one: one.name)
def test_a_reset_printed_in_any_zone_is_the_servers_instant(recording: Recording) -> None:
    limit = recording.seen().unsure
    assert limit is not None
    assert limit.resets_at == datetime.fromtimestamp(int(recording.said["scenario"].rpartition(":")[2]), UTC)


@pytest.mark.parametrize("name", ["limit_7d_opus.stream-json", "limit_7d_opus.json", "limit_7d_opus.text"])
def test_a_limit_of_one_model_binds_that_model(name: str) -> None:
    seen = of(name).seen()
    limit = seen.sure or seen.unsure
    assert limit is not None
    assert (limit.model, limit.window) == ("opus", Window.WEEK)


@pytest.mark.parametrize("name", ["limit_7d_sonnet.stream-json", "limit_oi.stream-json"])
def test_sonnet_and_fable_are_models_too(name: str) -> None:
    limit = of(name).seen().sure
    assert limit is not None
    assert limit.model == {"limit_7d_sonnet.stream-json": "sonnet", "limit_oi.stream-json": "fable"}[name]


def test_a_plain_429_is_rejected_too_but_is_no_usage_limit() -> None:
    seen = of("r429_3h.stream-json").seen()
    assert '"status":"rejected"' in of("r429_3h.stream-json").said["stdout"]
    assert seen.sure is not None
    assert seen.sure.kind is Kind.RATE_LIMIT


def limits(recording: Recording, stream: Stream) -> list[Limit]:
    """What the lines of one stream tell while the agent still runs."""
    reader = recording.agent.reader(recording.zone)
    told = [one for line in recording.lines[stream] for one in reader.read(stream, line, recording.printed)]
    return [one for one in told if isinstance(one, Limit)]


def test_claude_that_waits_inside_for_its_reset_is_noticed_at_once() -> None:
    told = limits(of("limit_soon.watchdog.stream-json"), Stream.STDOUT)
    assert [policy.waits_inside(one) for one in told[:2]] == [False, True]


def test_gemini_that_sleeps_until_a_far_reset_is_noticed_at_once() -> None:
    told = limits(of("ca.gca.stream-json", "gemini-0.61.0"), Stream.STDERR)
    assert [policy.waits_inside(one) for one in told] == [True]


@pytest.mark.parametrize("name", ["limit_5h.stream-json", "limit_7d.stream-json", "spendlimit.stream-json"])
def test_a_structured_refusal_is_sure_before_the_process_has_ended(name: str) -> None:
    assert limits(of(name), Stream.STDOUT)[0].sure


@pytest.mark.parametrize(
    ("cli", "name", "session"),
    [
        ("claude-2.1.330", "limit_midsession.stream-json", "5fb9b160-706e-4ef5-85cd-ea15d815185d"),
        ("claude-2.0.76", "limit_midsession.json", None),
        ("codex-0.169.0", "resume.1_limit.json", "01a208ef-f7bc-7c42-b5d2-a3f19a115fc5"),
        ("codex-0.169.0", "codex_plus.text", "01a208d3-8539-7103-bc6c-8394c7d3783f"),
        ("gemini-0.61.0", "resume.1_limit.json", "22222222-3333-4444-8555-666666666666"),
        ("gemini-0.61.0", "gmid.pro.stream-json", "30eca2a9-d8a0-4fb2-961a-beb6a5ba7d45"),
        ("opencode-1.18.33", "ok.json", "ses_df70e4d02ffeXKpor8Lyi7gyqd"),
        ("qwen-0.24.4", "resume.1_err.json", "c950b0c2-04f9-48ad-8df4-9f43fd669b8d"),
        ("copilot-1.0.102", "ok.text", "cde023a9-47be-4cdf-b338-1c542ce30ea9"),
    ],
)
def test_the_conversations_id_is_found(cli: str, name: str, session: str | None) -> None:
    found = of(name, cli).seen().session
    assert found is not None
    assert session is None or found == session


def test_a_success_has_its_text_its_tokens_and_its_progress() -> None:
    recording = of("tool_ok.stream-json")
    seen = recording.seen()
    assert policy.verdict(seen, Exit(0)) == Succeeded("Hello from the fake provider.")
    assert seen.progress
    assert seen.usage is not None
    assert (seen.usage.input_tokens, seen.usage.output_tokens, seen.usage.cost_usd) == (24, 18, 0.000228)


def test_a_cut_off_conversation_that_is_gone_says_so() -> None:
    outcome = policy.verdict(of("resume.7_bogus").seen(), Exit(1))
    assert isinstance(outcome, Interrupted)
    assert outcome.session_gone


@pytest.mark.parametrize(("cli", "name", "words"), [
    ("claude-2.1.330", "root.skipperm", "--dangerously-skip-permissions cannot be used"),
    ("claude-2.1.330", "badmodel404", "There's an issue with the selected model"),
    ("codex-0.169.0", "resume.7_nogit.json", "Not inside a trusted directory"),
    ("qwen-0.24.4", "walltime.text", "Run aborted: wall-clock budget"),
])  # fmt: skip
def test_a_plain_failure_shows_the_line_that_says_why(cli: str, name: str, words: str) -> None:
    recording = of(name, cli)
    outcome = policy.verdict(recording.seen(), Exit(recording.said["exit"]))
    assert words in getattr(outcome, "reason", "")
