"""What a value that a person wrote may be, and the words for one that it may not."""

from __future__ import annotations

import math
import re
from datetime import date

import pytest

from tidegate import allowed
from tidegate.allowed import ARG_MOST, ARGV_MOST, NAME_MOST, TEXT_MOST, Check, Typed, Wrong

TO_NINE = allowed.whole(0, 9)
LENGTH, LENGTH_OR_0 = allowed.seconds(), allowed.seconds(zero=True)
TABLE = allowed.mapping_of(allowed.name, TO_NINE)

GOOD: list[tuple[Check[object], object, object]] = [
    (TO_NINE, 0, 0),
    (TO_NINE, 9, 9),
    (TO_NINE, Typed("7"), 7),
    (TO_NINE, Typed("+7"), 7),
    # lengths of time
    (LENGTH, 90, 90.0),
    (LENGTH, 0.5, 0.5),
    (LENGTH, "90", 90.0),
    (LENGTH, "1.5", 1.5),
    (LENGTH, "90s", 90.0),
    (LENGTH, " 15m ", 900.0),
    (LENGTH, "15 min", 900.0),
    (LENGTH, "2h", 7200.0),
    (LENGTH, "1.5h", 5400.0),
    (LENGTH, "1d 2h 3m 4s", 93784.0),
    (LENGTH, "366d", 366 * 86400.0),
    (LENGTH, Typed("2.5"), 2.5),
    (LENGTH_OR_0, 0, 0.0),
    (LENGTH_OR_0, "0s", 0.0),
    # sizes
    (allowed.size, 0, 0),
    (allowed.size, 10**15, 10**15),
    (allowed.size, Typed("512"), 512),
    (allowed.size, "512", 512),
    (allowed.size, "512B", 512),
    (allowed.size, " 5k ", 5000),
    (allowed.size, "500M", 500 * 10**6),
    (allowed.size, "5GB", 5 * 10**9),
    (allowed.size, "1.5GiB", 3 * 2**29),
    (allowed.size, "2 Ti", 2**41),
    # or none
    (allowed.or_none(TO_NINE), None, None),
    (allowed.or_none(TO_NINE), "none", None),
    (allowed.or_none(TO_NINE), 3, 3),
    # text
    (allowed.text, "two\nlines ", "two\nlines "),
    (allowed.any_text, "", ""),
    (allowed.any_text, "x" * ARG_MOST, "x" * ARG_MOST),
    (allowed.name, "n" * NAME_MOST, "n" * NAME_MOST),
    (allowed.name, "a tier/ä #2", "a tier/ä #2"),
    (allowed.word, "claude-max_2@work.example+1", "claude-max_2@work.example+1"),
    (allowed.path, "~/x", "~/x"),
    (allowed.pattern, "**/.failed/*.json", "**/.failed/*.json"),
    (allowed.pattern, "a..b/c", "a..b/c"),
    (allowed.one_of("wait", "exit"), "Wait", "wait"),
    # collections
    (allowed.argv, ["make", ""], ("make", "")),
    (allowed.argv, Typed('["make", "-j"]'), ("make", "-j")),
    (allowed.args, [], ()),
    (allowed.args, Typed("a, b,, c"), ("a", "b", "c")),
    (allowed.args, Typed(' ["a, b"]'), ("a, b",)),
    (allowed.args, ["x" * (ARGV_MOST // 8 - 2)] * 8, ("x" * (ARGV_MOST // 8 - 2),) * 8),
    (TABLE, {"a": 1}, {"a": 1}),
    (TABLE, Typed(' {"a": 1}'), {"a": 1}),
    (allowed.variables, {"_A1": ""}, {"_A1": ""}),
]


@pytest.mark.parametrize(("check", "value", "meant"), GOOD, ids=range(len(GOOD)))
def test_what_is_allowed_becomes_the_value_to_work_with(check: Check[object], value: object, meant: object) -> None:
    found = check(value)
    assert found == meant
    assert type(found) is type(meant)


HUGE = int("9" * 400)
NO_LENGTH = 'must be seconds or text like "90s", "15m", "2h", not '
NO_SIZE = 'must be bytes or text like "500M", "5GB", "20GiB", not '
BAD: list[tuple[Check[object], object, str]] = [
    (TO_NINE, -1, "must be a whole number from 0 to 9, not -1"),
    (TO_NINE, 10, "must be a whole number from 0 to 9, not 10"),
    (TO_NINE, 1.0, "must be a whole number from 0 to 9, not 1.0"),
    (TO_NINE, True, "must be a whole number from 0 to 9, not true"),
    (TO_NINE, "7", "must be a whole number from 0 to 9, not '7'"),
    (TO_NINE, Typed("x"), "must be a whole number from 0 to 9, not 'x'"),
    (TO_NINE, Typed("7.0"), "must be a whole number from 0 to 9, not '7.0'"),
    (TO_NINE, HUGE, "must be a whole number from 0 to 9, not a number of more than 40 digits"),
    # lengths of time
    (LENGTH, 0, "must be more than 0 seconds, not 0"),
    (LENGTH, "0s", "must be more than 0 seconds, not '0s'"),
    (LENGTH, -1, "must be more than 0 seconds, not -1"),
    (LENGTH_OR_0, -1, "must be 0 or more than 0 seconds, not -1"),
    (LENGTH, "367d", "must be at most 366 days, not '367d'"),
    (LENGTH, 366 * 86400 + 1, "must be at most 366 days, not 31622401"),
    (LENGTH, math.inf, "must be at most 366 days, not inf"),
    (LENGTH, -math.inf, "must be more than 0 seconds, not -inf"),
    (LENGTH, HUGE, "must be at most 366 days, not a number of more than 40 digits"),
    (LENGTH, -HUGE, "must be more than 0 seconds, not a number of more than 40 digits"),
    (LENGTH, math.nan, NO_LENGTH + "nan"),
    (LENGTH, True, NO_LENGTH + "true"),
    (LENGTH, None, NO_LENGTH + "null"),
    (LENGTH, "soon", NO_LENGTH + "'soon'"),
    (LENGTH, "-2h", NO_LENGTH + "'-2h'"),
    (LENGTH, "2 weeks", NO_LENGTH + "'2 weeks'"),
    (LENGTH, "1s" * 21, NO_LENGTH + "'" + "1s" * 18 + "1...'"),
    (LENGTH, [], NO_LENGTH + "a list"),
    # sizes
    (allowed.size, -1, "must be from 0 to 1,000,000,000,000,000 bytes, not -1"),
    (allowed.size, 10**15 + 1, "must be from 0 to 1,000,000,000,000,000 bytes, not 1000000000000001"),
    (allowed.size, "1001T", "must be from 0 to 1,000,000,000,000,000 bytes, not '1001T'"),
    (allowed.size, math.nan, NO_SIZE + "nan"),
    (allowed.size, "5X", NO_SIZE + "'5X'"),
    (allowed.size, False, NO_SIZE + "false"),
    # or none
    (allowed.or_none(TO_NINE), "x", "must be a whole number from 0 to 9, not 'x'; \"none\" for none"),
    # text
    (allowed.text, " \n", "must not be empty"),
    (allowed.text, 7, 'must be text, not 7 (write "7")'),
    (allowed.text, True, "must be text, not true"),
    (allowed.text, {}, "must be text, not a table"),
    (allowed.text, date(2026, 1, 9), "must be text, not a date"),
    (allowed.text, "x" * (TEXT_MOST + 1), "must be at most 8,388,608 bytes, not 8,388,609"),
    (allowed.any_text, "ä" * (ARG_MOST // 2 + 1), "must be at most 131,071 bytes, not 131,072"),
    (allowed.any_text, "a\0b", "must not hold a NUL character"),
    (allowed.any_text, "\ud800", "must be valid Unicode, not half of a surrogate pair"),
    (allowed.name, "a\nb", r"must be one line without control characters, not 'a\nb'"),
    (allowed.name, "a ", "must not begin or end with a blank, not 'a '"),
    (allowed.name, "n" * (NAME_MOST + 1), "must be at most 200 characters, not 201"),
    (allowed.word, "a/b", "must be letters, digits and . _ @ + - (a letter or digit first), not 'a/b'"),
    (allowed.word, "-a", "must be letters, digits and . _ @ + - (a letter or digit first), not '-a'"),
    (allowed.path, "/" * 4096, "must be at most 4,095 bytes, not 4,096"),
    *(
        (allowed.pattern, said, f"must be a pattern of files below the job's directory, not '{said}'")
        for said in ("/etc/*", "~/x", "../x", "a/../b")
    ),
    (allowed.one_of("wait", "exit"), "wat", 'must be "wait" or "exit", not \'wat\'; did you mean wait?'),
    (allowed.one_of("wait", "exit"), "zzz", 'must be "wait" or "exit", not \'zzz\''),
    (allowed.one_of("wait", "exit"), 3, 'must be "wait" or "exit", not 3'),
    # collections
    (allowed.argv, "make x", "must be a list, one text for each argument, not 'make x'; there is no shell"),
    (allowed.argv, [], "must name a program, not be an empty list"),
    (allowed.argv, [" ", "x"], "must begin with a program, not with an empty text"),
    (allowed.args, {}, "must be a list, not a table"),
    (allowed.args, Typed("[1"), "must be JSON where it begins with [, not '[1'"),
    (allowed.args, Typed("[" * 100_000), "must be JSON where it begins with [, not '" + "[" * 37 + "...'"),
    (allowed.args, ["x" * (ARGV_MOST // 8 - 1)] * 8 + [""], "must be at most 1,048,576 bytes together"),
    (TABLE, [], "must be a table, not a list"),
    (TABLE, Typed("a=1"), "must be a table, not 'a=1'"),
    (TABLE, Typed('{"a"'), "must be JSON where it begins with {, not '{\"a\"'"),
    (allowed.variable, "1A", "must be letters, digits and _ (no digit first), not '1A'"),
    (allowed.variables, {"A": "x" * 130_000, **{f"B{n}": "x" * 131_000 for n in range(8)}}, "1,048,576 bytes together"),
]


@pytest.mark.parametrize(("check", "value", "words"), BAD, ids=range(len(BAD)))
def test_what_is_not_allowed_is_told_in_one_line_with_what_is(check: Check[object], value: object, words: str) -> None:
    with pytest.raises(Wrong, match=f"{re.escape(words)}$"):
        check(value)


@pytest.mark.parametrize(
    ("check", "value", "inside"),
    [
        (allowed.args, ["a", 3], "[1]"),
        (allowed.variables, {"A": "x", "B": 3}, ".B"),
        (allowed.variables, {"a b": "x"}, '."a b"'),
        (allowed.tuple_of(allowed.variables), [{}, {"A": 1}], "[1].A"),
        (allowed.or_none(allowed.args), [1], "[0]"),
        (TABLE, {"k" * 41: 10}, "." + "k" * 37 + "..."),
    ],
)
def test_the_way_to_what_is_wrong_is_told(check: Check[object], value: object, inside: str) -> None:
    with pytest.raises(Wrong) as bad:
        check(value)
    assert bad.value.inside == inside


def test_an_unknown_key_names_the_one_that_is_meant_or_all_that_there_are() -> None:
    allowed.known({"name": 1}, ["name", "group"])
    with pytest.raises(Wrong, match=re.escape("unknown key; did you mean name?")) as bad:
        allowed.known({"name": 1, "nmae": 2}, ["name", "group"])
    assert bad.value.inside == ".nmae"
    with pytest.raises(Wrong, match=r"unknown key; known are name, group$"):
        allowed.known({"zzz": 1}, ["name", "group"])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("x" * 40, f"'{'x' * 40}'"),
        ("x" * 41, f"'{'x' * 37}...'"),
        (Typed("7"), "'7'"),
        (True, "true"),
        (1.5, "1.5"),
        (10**39, str(10**39)),
        (-(10**40), "a number of more than 40 digits"),
        (1e300, "1e+300"),
        (None, "null"),
        ({}, "a table"),
        ((), "a list"),
        (b"", "a list"),
        (date(2026, 1, 9), "a date"),
    ],
)
def test_a_wrong_value_is_shown_in_a_few_words(value: object, words: str) -> None:
    assert allowed.shown(value) == words


@pytest.mark.parametrize(("key", "spelled"), [("a-b_c.1", "a-b_c.1"), ("a b", '"a b"'), ("", '""'), ("ä", '"\\u00e4"')])
def test_a_key_is_quoted_where_toml_wants_it_quoted(key: str, spelled: str) -> None:
    assert allowed.toml_key(key) == spelled
    assert allowed.shown_key(key) == spelled


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1024, "1 KiB"),
        (10**9, "1 GB"),
        (15 * 10**8, "1.5 GB"),
        (6 * 2**30, "6 GiB"),
        (3 * 2**29, "1.5 GiB"),
        (2 * 10**12, "2 TB"),
        (1_234_567, "1,234,567 bytes"),
    ],
)
def test_a_size_is_shown_as_somebody_would_have_written_it(number: int, shown: str) -> None:
    assert allowed.shown_size(number) == shown
    assert "," in shown or "byte" in shown or allowed.some_size(shown) == number


def test_some_size_is_more_than_nothing() -> None:
    assert allowed.some_size("1kB") == 1000
    with pytest.raises(Wrong, match="must be more than 0 bytes, not 0"):
        allowed.some_size(0)
