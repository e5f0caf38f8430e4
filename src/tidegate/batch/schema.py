"""The JSON Schema of a batch file, for editors: made of the tables that check it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegate import allowed
from tidegate.allowed import Check
from tidegate.batch.foreach import SOURCES
from tidegate.batch.groups import TRIALS
from tidegate.batch.matrix import BESIDE, RESERVED
from tidegate.batch.tables import ACCOUNT, BATCH, DEFAULTS, EXPAND, JOB, LISTS, OF_GROUP, PAIRS, TIES
from tidegate.batch.templates import NAME

Schema = dict[str, Any]

SCALAR = {"type": ["string", "number", "boolean"]}
TEMPLATE = {"type": "string", "pattern": r"\$\{\{"}
VALUES = {"type": "object", "additionalProperties": SCALAR, "minProperties": 1}


def schema() -> Schema:
    """What a batch in TOML or YAML may say."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tidegate batch",
        **_closed(
            {
                "batch": _table(BATCH),
                "defaults": _table(DEFAULTS, templates=True),
                "accounts": {"type": "object", "additionalProperties": _table(ACCOUNT)},
                "groups": {"type": "object", "propertyNames": _names(), "additionalProperties": _group()},
                "job": {"type": "array", "items": _table(JOB, templates=True)},
            }
        ),
    }


def _group() -> Schema:
    shapes = {
        "matrix": _matrix(),
        "foreach": _foreach(),
        "trials": dict(allowed.schema(TRIALS)),
        "job": {"type": "array", "items": _table(OF_GROUP, templates=True)},
    }
    group = _table(OF_GROUP, templates=True)
    ties = _table({**TIES, **EXPAND})["properties"]
    rules = [*group.get("allOf", ()), {"anyOf": [{"not": {"required": ["when"]}}, {"required": ["needs"]}]}]
    return {**group, "properties": {**group["properties"], **shapes, **ties}, "allOf": rules}


def _matrix() -> Schema:
    files = _closed({"glob": {"type": "string", "minLength": 1}}) | {"required": ["glob"]}
    values = {"type": "array", "items": SCALAR, "minItems": 1, "uniqueItems": True}
    return {
        "type": "object",
        "properties": {key: {"type": "array", "items": VALUES} for key in BESIDE},
        "propertyNames": {"pattern": f"^{NAME.pattern.replace('.', '')}$", "not": {"enum": list(RESERVED)}},
        "additionalProperties": {"anyOf": [values, files]},
    }


def _foreach() -> Schema:
    read = {kind: dict(allowed.schema(allowed.argv if kind == "command" else allowed.path)) for kind in SOURCES}
    return {**_closed(read), "minProperties": 1, "maxProperties": 1}


def _table(checks: Mapping[str, Check[object]], *, templates: bool = False) -> Schema:
    said = {key: _value(key, check, templates=templates) for key, check in checks.items()}
    pairs = [{"not": {"required": list(pair)}} for pair in PAIRS if set(pair) <= said.keys()]
    return {**_closed(said), **({"allOf": pairs} if pairs else {})}


def _value(key: str, check: Check[object], *, templates: bool) -> Schema:
    said = dict(allowed.schema(check))
    return {"anyOf": [said, TEMPLATE]} if templates and key not in LISTS else said


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _names() -> Schema:
    return {"pattern": allowed.schema(allowed.word)["pattern"]}
