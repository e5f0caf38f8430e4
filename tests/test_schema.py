"""The JSON Schema of batch files: it takes whatever tidegate takes, and refuses what is wrong in its shape."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from installed import Tidegate
from test_batch import BAD_TOML, VALUES
from test_groups import FOREACH, GROUP

from tidegate import allowed, batch
from tidegate.allowed import Wrong
from tidegate.batch import tables
from tidegate.batch.schema import schema

SCHEMA = schema()
CHECKS = {**tables.BATCH, **tables.ACCOUNT, **tables.JOB}
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
Rule = Callable[[Any, Any, Any], bool]


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _others(value: Any, said: Any) -> list[Any]:
    return [each for name, each in value.items() if name not in said.get("properties", {})]


ANY: dict[str, Rule] = {
    "type": lambda value, one, said: any(_is(value, name) for name in (one if isinstance(one, list) else [one])),
    "enum": lambda value, one, said: value in one,
    "anyOf": lambda value, one, said: any(fits(value, each) for each in one),
    "allOf": lambda value, one, said: all(fits(value, each) for each in one),
    "not": lambda value, one, said: not fits(value, one),
    "$schema": lambda value, one, said: True,
    "title": lambda value, one, said: True,
}
TEXT: dict[str, Rule] = {
    "pattern": lambda value, one, said: re.search(one, value) is not None,
    "minLength": lambda value, one, said: len(value) >= one,
    "maxLength": lambda value, one, said: len(value) <= one,
}
NUMBER: dict[str, Rule] = {
    "minimum": lambda value, one, said: value >= one,
    "maximum": lambda value, one, said: value <= one,
    "exclusiveMinimum": lambda value, one, said: value > one,
}
ARRAY: dict[str, Rule] = {
    "items": lambda value, one, said: all(fits(each, one) for each in value),
    "minItems": lambda value, one, said: len(value) >= one,
    "uniqueItems": lambda value, one, said: len({json.dumps(each) for each in value}) == len(value),
}
OBJECT: dict[str, Rule] = {
    "required": lambda value, one, said: set(one) <= value.keys(),
    "propertyNames": lambda value, one, said: all(fits(name, one) for name in value),
    "properties": lambda value, one, said: all(fits(value[name], one[name]) for name in one if name in value),
    "additionalProperties": lambda value, one, said: all(one and fits(each, one) for each in _others(value, said)),
    "minProperties": lambda value, one, said: len(value) >= one,
    "maxProperties": lambda value, one, said: len(value) <= one,
}
RULES = {"string": TEXT, "number": NUMBER, "array": ARRAY, "object": OBJECT}


def fits(value: Any, said: Any) -> bool:
    """As much of JSON Schema as ours says."""
    known = ANY | {key: rule for kind, rules in RULES.items() if _is(value, kind) for key, rule in rules.items()}
    assert said.keys() <= ANY.keys() | {key for rules in RULES.values() for key in rules}
    return all(known[key](value, one, said) for key, one in said.items() if key in known)


@pytest.mark.parametrize("key", CHECKS)
def test_every_key_tells_what_it_may_be(key: str) -> None:
    assert allowed.schema(CHECKS[key])


@given(st.sampled_from(sorted(CHECKS)), VALUES | st.sampled_from(["2h", "1h30m", "5GB", "exit", "a b", 7, 0.5, ["x"]]))
def test_what_a_check_takes_its_schema_takes(key: str, value: object) -> None:
    try:
        CHECKS[key](value)
    except (Wrong, ValueError):
        return
    assert (isinstance(value, str) and value != value.lower()) or fits(value, allowed.schema(CHECKS[key]))


@pytest.mark.parametrize(
    "text",
    [
        GROUP + 'matrix = { s = ["a", 7, true], exclude = [{ s = 7 }], include = [{ s = "z" }] }\ntrials = 3',
        '[groups.g]\ncommand = ["x"]\nmatrix = { s = { glob = "*.md" } }\ntimeout = "${{ s }}"',
        '[batch.budget]\nusd = 50\nday = { tokens = 9 }\non_exceed = "warn"\n[[job]]\ncommand = ["x"]',
        FOREACH % ("a", 'command = ["ls"]'),
        '[batch]\norder = "shuffle"\nseed = 3\n[[groups.g.job]]\nid = "a"\ncommand = ["x"]\n[groups.g]\nmemory = "5GB"',
        '[groups.a]\ncommand = ["x"]\nretries = { timeout = 1 }\n[groups.g]\nneeds = "a"\nexpand = ["x"]',
        '[accounts.a]\nconcurrency = 3\nhours = "20:00-07:00"\n[[job]]\ngroup = "g"\nagent = "claude"\nprompt = "x"',
    ],
)
def test_a_good_batch_fits_the_schema(text: str) -> None:
    assert fits(tomllib.loads(text), SCHEMA)


SHAPES = re.compile(r"unknown key|must be text|must be a (list|table|whole number)|not both|must be tables|must be \"")


def test_what_is_wrong_in_its_shape_does_not_fit_the_schema() -> None:
    wrong = []
    for text, line in BAD_TOML:
        if SHAPES.search(line):
            try:
                document = tomllib.loads(text)
            except (ValueError, RecursionError):
                continue
            wrong.append(line)
            assert not fits(document, SCHEMA), line
    assert len(wrong) > 30


def test_the_verb_prints_the_schema(tidegate: Tidegate) -> None:
    assert json.loads(tidegate("schema").stdout) == SCHEMA == json.loads(tidegate("schema", "--json").stdout)
    assert set(SCHEMA["properties"]["job"]["items"]["properties"]) == set(batch.JOB)
