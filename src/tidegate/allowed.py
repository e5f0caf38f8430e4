"""What a value that a person wrote may be, and the words that say so.

Each check takes what a TOML or JSON parser returned, gives the value to work with, and raises Wrong otherwise.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Check = Callable[[object], T]
Schema = Mapping[str, object]

NAME_MOST = 200  # characters of an id, a name, a model
TEXT_MOST = 8 * 1024 * 1024  # bytes of a prompt
ARG_MOST = 128 * 1024 - 1  # bytes of one argument or NAME=VALUE: the kernel's MAX_ARG_STRLEN without its NUL
ARGV_MOST = 1024 * 1024  # bytes of a whole argv, or of a whole environment: half of the kernel's usual ARG_MAX
DAYS_MOST = 366
MONEY_MOST = 1_000_000_000  # dollars
SHOWN = 40  # characters of a wrong value that a message repeats

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}
PART = r"(\d{1,12}(?:\.\d{1,6})?)\s*(d|h|min|m|s)"
DURATION = re.compile(rf"{PART}(?:\s*{PART})*", re.ASCII)
SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGTkmgt]?)(i?)[Bb]?", re.ASCII)
BYTES = rf"^\s*{SIZE.pattern}\s*$"
SIZE_MOST = 10**15  # bytes
PLAIN = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)
LENGTH = rf"^\s*(?:{PLAIN.pattern}|{DURATION.pattern})\s*$"  # a duration as text
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Wrong(ValueError):
    """Raised when a value is not allowed; its text says what is, "must be ..., not ...".

    `inside` is the way from the value that was checked to the part of it that is wrong.
    """

    def __init__(self, said: str, inside: str = "") -> None:
        super().__init__(said)
        self.inside = inside


class Typed(str):
    """A value from a variable or a flag, where everything is text: a check that wants a number or a list reads it."""

    __slots__ = ()


# --- what a check allows, as JSON Schema ---


def says(check: Check[T], schema: Schema) -> Check[T]:
    """The same check, which can also tell an editor what it allows."""
    check.__dict__["schema"] = schema
    return check


def schema(check: Check[object]) -> Schema:
    """What a check allows, as JSON Schema: it may allow a little less; {} where it does not say."""
    said: Schema = check.__dict__.get("schema", {})
    return said


def _whole_text(pattern: re.Pattern[str]) -> str:
    return f"^(?:{pattern.pattern})$"


# --- numbers ---


def whole(least: int, most: int) -> Check[int]:
    """A whole number from `least` to `most`."""

    def check(value: object) -> int:
        number = _number(value)
        if isinstance(number, int) and least <= number <= most:
            return number
        raise Wrong(f"must be a whole number from {least} to {most}, {but(value)}")

    return says(check, {"type": "integer", "minimum": least, "maximum": most})


def money(value: object) -> float:
    """An amount of dollars, more than 0."""
    number = _number(value)
    if number is None or not 0 < number <= MONEY_MOST:
        raise Wrong(f"must be more than 0 dollars and at most {MONEY_MOST:,}, {but(value)}")
    return float(number)


says(money, {"type": "number", "exclusiveMinimum": 0, "maximum": MONEY_MOST})


def seconds(*, zero: bool = False) -> Check[float]:
    """A length of time: seconds, or text with units ("90s", "15m", "2h", "1d", "1h30m"); more than 0 unless `zero`."""
    wanted = 'must be seconds or text like "90s", "15m", "2h"'

    def check(value: object) -> float:
        length = _duration(value)
        if length is None or math.isnan(length):
            raise Wrong(f"{wanted}, {but(value)}")
        if length < 0 or (length == 0 and not zero):
            raise Wrong(f"must be {'0 or ' if zero else ''}more than 0 seconds, {but(value)}")
        if length > DAYS_MOST * UNITS["d"]:
            raise Wrong(f"must be at most {DAYS_MOST} days, {but(value)}")
        return float(length)

    number = {"type": "number", "minimum": 0, "maximum": DAYS_MOST * 86400}
    return says(check, {"anyOf": [number, {"type": "string", "pattern": LENGTH}]})


def size(value: object) -> int:
    """A number of bytes, or text with a unit ("500M", "5GB", "1.5GiB"): thousands, or 1024s where an i says so."""
    number = _number(value)
    if number is None and isinstance(value, str) and (said := SIZE.fullmatch(value.strip())):
        step = 1024 if said[3] else 1000
        number = float(said[1]) * step ** " KMGT".index(said[2].upper() or " ")
    if number is None or number != number:  # noqa: PLR0124 - a huge int fits no float, and so no isnan
        raise Wrong(f'must be bytes or text like "500M", "5GB", "20GiB", {but(value)}')
    if not 0 <= number <= SIZE_MOST:
        raise Wrong(f"must be from 0 to {SIZE_MOST:,} bytes, {but(value)}")
    return int(number)


says(size, {"anyOf": [{"type": "number", "minimum": 0, "maximum": SIZE_MOST}, {"type": "string", "pattern": BYTES}]})


def some_size(value: object) -> int:
    """A number of bytes as `size`, at least one."""
    number = size(value)
    if not number:
        raise Wrong(f"must be more than 0 bytes, {but(value)}")
    return number


says(some_size, schema(size))


def or_none(check: Check[T], word: str = "none") -> Check[T | None]:
    """What `check` allows, or a word for none of it."""

    def either(value: object) -> T | None:
        if value is None or value == word:
            return None
        try:
            return check(value)
        except Wrong as wrong:
            raise Wrong(f'{wrong}; "{word}" for none', wrong.inside) from None

    return either


def _duration(value: object) -> float | None:
    number = _number(value)
    if number is not None:
        return number if abs(number) < 1e15 or number != number else math.inf if number > 0 else -math.inf  # noqa: PLR0124
    said = value.strip() if isinstance(value, str) else ""
    if PLAIN.fullmatch(said):
        return float(said)
    if len(said) > SHOWN or not DURATION.fullmatch(said):
        return None
    return sum(float(size) * UNITS[unit] for size, unit in re.findall(PART, said, re.ASCII))


def _number(value: object) -> int | float | None:
    """A number that is no boolean; text counts where everything is text."""
    if isinstance(value, Typed):
        try:
            return int(value) if re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII) else float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def truth(value: object) -> bool:
    """Yes or no."""
    said = {"true": True, "false": False}.get(value.lower()) if isinstance(value, Typed) else value
    if not isinstance(said, bool):
        raise Wrong(f"must be true or false, {but(value)}")
    return said


says(truth, {"type": "boolean"})

# --- text ---


def text(value: object, *, most: int = TEXT_MOST) -> str:
    """Text that is not blank and that a program can be given: no NUL, valid Unicode, at most `most` bytes."""
    said = any_text(value, most=most)
    if not said.strip():
        raise Wrong("must not be empty")
    return said


says(text, {"type": "string", "minLength": 1})


def any_text(value: object, *, most: int = ARG_MOST) -> str:
    """Text that a program can be given; it may be empty."""
    if not isinstance(value, str):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        raise Wrong(f"must be text, {but(value)}" + (f" (write {json.dumps(shown(value))})" if number else ""))
    _passable(value, most)
    return str(value)


says(any_text, {"type": "string"})


def _passable(value: str, most: int) -> None:
    if "\0" in value:
        raise Wrong("must not hold a NUL character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Wrong("must be valid Unicode, not half of a surrogate pair") from None
    if size > most:
        raise Wrong(f"must be at most {most:,} bytes, not {size:,}")


def name(value: object) -> str:
    """A name for people: one line of printable characters, at most NAME_MOST of them."""
    said = text(value)
    if not said.isprintable():
        raise Wrong(f"must be one line without control characters, {but(said)}")
    if said != said.strip():
        raise Wrong(f"must not begin or end with a blank, {but(said)}")
    if len(said) > NAME_MOST:
        raise Wrong(f"must be at most {NAME_MOST} characters, not {len(said):,}")
    return said


says(name, {"type": "string", "minLength": 1, "maxLength": NAME_MOST})


def word(value: object) -> str:
    """A name that scopes are built from (an account's, an agent's): letters, digits and . _ @ + -."""
    said = name(value)
    if not WORD.fullmatch(said):
        raise Wrong(f"must be letters, digits and . _ @ + - (a letter or digit first), {but(said)}")
    return said


says(word, {"type": "string", "maxLength": NAME_MOST, "pattern": _whole_text(WORD)})


def path(value: object) -> str:
    """A path, as it is written."""
    return text(value, most=4095)  # the kernel's PATH_MAX without its NUL


says(path, {"type": "string", "minLength": 1, "maxLength": 4095})


def pattern(value: object) -> str:
    """A pattern of files below a directory, such as "**/.failed/*.json"."""
    said = path(value)
    if said.startswith(("/", "~")) or ".." in said.split("/"):
        raise Wrong(f"must be a pattern of files below the job's directory, {but(value)}")
    return said


says(pattern, schema(path))


def one_of(*choices: str) -> Check[str]:
    """One of some words, in lower or upper case."""
    listed = " or ".join(json.dumps(choice) for choice in choices)

    def check(value: object) -> str:
        if isinstance(value, str) and value.lower() in choices:
            return value.lower()
        raise Wrong(f"must be {listed}, {but(value)}{meant(value, choices) if isinstance(value, str) else ''}")

    return says(check, {"enum": list(choices)})


# --- collections ---


def argv(value: object) -> tuple[str, ...]:
    """A command: a list of a program and its arguments."""
    if isinstance(value, str) and not isinstance(value, Typed):
        raise Wrong(f"must be a list, one text for each argument, {but(value)}; there is no shell")
    said = args(value)
    if not said:
        raise Wrong("must name a program, not be an empty list")
    if not said[0].strip():
        raise Wrong("must begin with a program, not with an empty text")
    return said


says(argv, {"type": "array", "items": {"type": "string"}, "minItems": 1})


def args(value: object) -> tuple[str, ...]:
    """A list of arguments; each may be empty text."""
    said = tuple_of(any_text)(value)
    if sum(len(arg.encode()) + 1 for arg in said) > ARGV_MOST:
        raise Wrong(f"must be at most {ARGV_MOST:,} bytes together")
    return said


says(args, {"type": "array", "items": schema(any_text)})


def tuple_of(check: Check[T]) -> Check[tuple[T, ...]]:
    """A list whose every value `check` allows."""

    def each(value: object) -> tuple[T, ...]:
        listed = _listed(value)
        if not isinstance(listed, list | tuple):
            raise Wrong(f"must be a list, {but(value)}")
        return tuple(inside(f"[{place}]", check, one) for place, one in enumerate(listed))

    return says(each, {"type": "array", "items": schema(check)})


def one_or_several(check: Check[T]) -> Check[tuple[T, ...]]:
    """A list as `tuple_of` allows it, each value once and at least one, or one value by itself."""

    def several(value: object) -> tuple[T, ...]:
        said = (check(value),) if isinstance(value, str) else tuple_of(check)(value)
        if not said:
            raise Wrong("must not be an empty list")
        for place, one in enumerate(said):
            if one in said[:place]:
                raise Wrong(f"is there twice: {shown(one)}", f"[{place}]")
        return said

    one = schema(check)
    return says(several, {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}]})


def mapping_of(key: Check[str], check: Check[T]) -> Check[dict[str, T]]:
    """A table whose every key and value are allowed."""

    def each(value: object) -> dict[str, T]:
        table = parsed(value, "{")
        if not isinstance(table, Mapping):
            raise Wrong(f"must be a table, {but(value)}")
        return {inside(_dotted(one), key, one): inside(_dotted(one), check, table[one]) for one in table}

    names = {key: one for key, one in schema(key).items() if key != "type"}
    return says(each, {"type": "object", "propertyNames": names, "additionalProperties": schema(check)})


def table(value: object, checks: Mapping[str, Check[object]]) -> dict[str, Any]:
    """A table whose keys are among those of `checks`, with the values as they give them; null says nothing."""
    said = parsed(value, "{")
    if not isinstance(said, Mapping):
        raise Wrong(f"must be a table, {but(value)}")
    known(said, checks)
    return {key: inside(_dotted(key), checks[key], one) for key, one in said.items() if one is not None}


def table_of(checks: Mapping[str, Check[object]]) -> Check[dict[str, object]]:
    """A table as `table` gives it."""

    def each(value: object) -> dict[str, object]:
        return table(value, checks)

    properties = {key: schema(check) for key, check in checks.items()}
    return says(each, {"type": "object", "properties": properties, "additionalProperties": False})


def _dotted(key: str) -> str:
    return f".{shown_key(key)}"


def variables(value: object) -> dict[str, str]:
    """Environment variables."""
    said = mapping_of(variable, any_text)(value)
    if sum(len(key.encode()) + len(one.encode()) + 2 for key, one in said.items()) > ARGV_MOST:
        raise Wrong(f"must be at most {ARGV_MOST:,} bytes together")
    return said


says(
    variables,
    {"type": "object", "propertyNames": {"pattern": _whole_text(VARIABLE)}, "additionalProperties": schema(any_text)},
)


def variable(value: object) -> str:
    """The name of an environment variable."""
    said = name(value)
    if not VARIABLE.fullmatch(said):  # /bin/sh, under which agents run, passes no others on
        raise Wrong(f"must be letters, digits and _ (no digit first), {but(said)}")
    return said


says(variable, {"type": "string", "maxLength": NAME_MOST, "pattern": _whole_text(VARIABLE)})


def inside(place: str, check: Check[T], value: object) -> T:
    """What a check gives for a part of a value; what is wrong with it is at this place."""
    try:
        return check(value)
    except Wrong as wrong:
        raise Wrong(str(wrong), place + wrong.inside) from None


def _listed(value: object) -> object:
    """A list; a variable's or a flag's text is JSON, or values between commas."""
    if isinstance(value, Typed) and not value.lstrip().startswith("["):
        return [Typed(one.strip()) for one in value.split(",") if one.strip()]
    return parsed(value, "[")


def parsed(value: object, opening: str) -> object:
    """A value; where everything is text, what its JSON says if it begins so."""
    if isinstance(value, Typed) and value.lstrip().startswith(opening):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise Wrong(f"must be JSON where it begins with {opening}, {but(value)}") from None
    return value


# --- words ---


def known(table: Mapping[str, object], keys: Iterable[str]) -> None:
    """Raises Wrong for the first key of `table` that is none of `keys`."""
    allowed = tuple(keys)
    for key in table:
        if key not in allowed:
            raise Wrong(unknown(key, allowed), _dotted(key))


def unknown(key: str, choices: Iterable[str]) -> str:
    """The words that say that a key is none of the choices, and which was meant, or which there are."""
    known_keys = tuple(choices)
    return f"unknown key{meant(key, known_keys) or '; known are ' + ', '.join(known_keys)}"


def meant(said: str, choices: Iterable[str]) -> str:
    """The words "; did you mean ...?" where one of the choices is close, else none."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake pays for it

    cutoff = 0.6 if len(said) > 3 else 0.75  # two letters are in many words
    close = get_close_matches(said[:NAME_MOST], list(choices), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def but(value: object) -> str:
    """The words "not ..." with the value that was written, short and on one line."""
    return f"not {shown(value)}"


def shown(value: object) -> str:
    """A value in a few words, in the spelling of TOML and JSON."""
    match value:
        case str():
            return repr(str(value) if len(value) <= SHOWN else value[: SHOWN - 3] + "...")
        case bool():
            return str(value).lower()
        case int() | float():
            return _digits(value)
        case None:
            return "null"
        case Mapping():
            return "a table"
        case Sequence():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _digits(value: float) -> str:
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "a number of more than 40 digits"
    return str(value)


def shown_size(number: int) -> str:
    """A number of bytes as somebody would have written it: "1 GB", "1.5 GiB", "1,234,567 bytes"."""
    for base, kind in ((1000, "B"), (1024, "iB")):
        for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "k" if base == 1000 else "K")):
            if number >= base**power and number * 10 % base**power == 0:
                return f"{number / base**power:.1f}".removesuffix(".0") + f" {letter}{kind}"
    return f"{number:,} bytes" if number != 1 else "1 byte"


def shown_key(key: str) -> str:
    """A key as TOML spells it: bare where it can be, else quoted; at most SHOWN characters."""
    return toml_key(key if len(key) <= SHOWN else key[: SHOWN - 3] + "...")


def toml_key(key: str) -> str:
    """A key as TOML spells it: bare where it can be, else quoted."""
    return key if re.fullmatch(r"[A-Za-z0-9_.-]+", key) else json.dumps(key)
