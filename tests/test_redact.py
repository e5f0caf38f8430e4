"""What looks like a secret, and what was read as one, is taken out of text; the rest stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tidegate import redact
from tidegate.redact import GONE, redacted, redacted_variable, without_known

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def known() -> Iterator[str]:
    """A secret that this process has read."""
    before = redact._known.values
    redact._known.values = ()
    redact.learn(SECRET)
    yield SECRET
    redact._known.values = before


# --- what looks like a secret ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-ant-api03-abc_DEF-123456 used", "key sk-ant-[redacted] used"),
        ("sk-proj-abcdefghij1234567890", "sk-[redacted]"),
        ("token ghp_0123456789abcdefABCDEF.", "token ghp_[redacted]."),
        ("github_pat_11ABCDEFG0123456789_x", "github_pat_[redacted]"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstu", "AIza[redacted]"),
        ("ya29.a0AfH6SMBx1234567890", "ya29.[redacted]"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIA[redacted]"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSM", "eyJ[redacted]"),
        ("Authorization: Bearer abc123.DEF456-xyz", "Authorization: Bearer [redacted]"),
        ("ANTHROPIC_API_KEY=whatever-it-is", "ANTHROPIC_API_KEY=[redacted]"),
        ('{"OPENAI_API_KEY": "whatever"}', '{"OPENAI_API_KEY": "[redacted]"}'),
        ("https://me:hunter2@proxy.example:8080/", "https://me:[redacted]@proxy.example:8080/"),
        ("\\nsk-ant-abcdefgh12345678", "\\nsk-ant-[redacted]"),
        ("\\u00b7sk-ant-abcdefgh12345678", "\\u00b7sk-ant-[redacted]"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_its_kind_stays(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "You've hit your 5-hour limit · resets 9:30am (America/Los_Angeles)",
        "risk-assessment-for-the-year-2026-part-1",
        "task-0123456789-0123456789",
        "the bearer of this letter",
        "input_tokens=5120 output_tokens=77",
        "8f2d3a2c-7c11-4bd5-9a51-0d8a6c2e7f10",
        "git@github.com:owner/repository.git",
        "https://example.org:8080/path@2",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redacted(text) == text


def test_a_variable_whose_name_says_that_it_is_secret_shows_nothing() -> None:
    assert redacted_variable("MY_TOKEN", "x") == "[redacted]"
    assert redacted_variable("HOME", "/home/me") == "/home/me"
    assert redacted_variable("SSH_AUTH_SOCK", "/run/agent") == "/run/agent"
    assert redacted_variable("NOTE", "sk-ant-abcdefgh12345678") == "sk-ant-[redacted]"


def test_text_that_is_no_longer_than_a_word_is_no_secret() -> None:
    assert redacted("sk-ant-1") == "sk-ant-1"


# --- what this process has read ----------------------------------------------------------------


def test_a_secret_that_was_read_is_taken_out_whatever_it_looks_like(known: str) -> None:
    assert redacted(f"I was given {known}, and {known}.") == f"I was given {GONE}, and {GONE}."
    assert without_known(f"<{known}>") == f"<{GONE}>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"cut off in the middle: {SECRET[:20]}", f"cut off in the middle: {GONE}"),
        (f"{SECRET[:12]} and {SECRET[:15]}", f"{GONE} and {GONE}"),
        (f"{SECRET[-12:]} is its end", f"{GONE} is its end"),
        (f"{SECRET[-20:]}", GONE),
        (f"not cut off there: {SECRET[-20:]}", f"not cut off there: {SECRET[-20:]}"),
        (f"{SECRET[:11]} is too short to tell", f"{SECRET[:11]} is too short to tell"),
        (f"x{SECRET[-12:]}", f"x{SECRET[-12:]}"),
    ],
)
def test_a_secret_is_also_known_by_its_beginning_and_at_the_start_of_a_text_by_its_end(
    known: str, text: str, shown: str
) -> None:
    assert without_known(text) == shown


def test_plain_words_are_searched_for_what_was_read_too(known: str) -> None:
    redact.learn("abracadabrasesame")
    assert redacted("job abracadabrasesame ended") == f"job {GONE} ended"
    assert redacted("job abracadabras") == f"job {GONE}"


def test_each_long_line_of_a_secret_is_one(known: str) -> None:
    redact.learn("first line of it\nshort\nlast line of it\n")
    assert without_known("a first line of it, short, a last line of it") == f"a {GONE}, short, a {GONE}"


def test_a_short_secret_is_taken_out_only_whole(known: str) -> None:
    redact.learn("hunter2")
    assert without_known("hunter2 hunter hunte") == f"{GONE} hunter hunte"


def test_the_latest_secrets_are_kept_in_mind_and_one_that_comes_again_is_late(known: str) -> None:
    for number in range(redact.KNOWN_MOST - 1):
        redact.learn(f"secret number {number:03}")
    redact.learn(known)
    redact.learn("one more secret")
    assert without_known(known) == GONE
    assert len(redact._known.values) == redact.KNOWN_MOST
    assert without_known("secret number 001") == GONE
    assert without_known("<secret number 000>") != f"<{GONE}>"
