"""One JSON file of a results directory, as it was found: whole, or with what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from tidegate import allowed

Table = Mapping[str, Any]


class Found(Struct, frozen=True, kw_only=True):
    """A file below the results directory, when it was written, and its table; `wrong` says why it cannot be read."""

    path: str
    written: datetime
    table: Table = {}
    wrong: str = ""

    def at(self, *keys: str) -> Table:
        """The table at the end of a way of keys; {} where there is none."""
        return inside(self.table, *keys)


def read(path: str, raw: bytes, written: datetime) -> Found:
    """A file of these bytes."""
    try:
        value = json.loads(raw)
    except UnicodeDecodeError:
        return Found(path=path, written=written, wrong="not UTF-8 text")
    except json.JSONDecodeError as error:
        return Found(
            path=path, written=written, wrong=f"line {error.lineno}, column {error.colno}: {_said(error, raw)}"
        )
    except (ValueError, RecursionError):  # a number of thousands of digits; nested too deeply
        return Found(path=path, written=written, wrong="not read: a number too long, or nested too deeply")
    if not isinstance(value, dict):
        return Found(path=path, written=written, wrong=f"must be an object, {allowed.but(value)}")
    return Found(path=path, written=written, table=value)


def _said(error: json.JSONDecodeError, raw: bytes) -> str:
    if not raw.strip():
        return "it is empty"
    whole = error.pos < len(error.doc.rstrip()) and not error.msg.startswith("Unterminated")
    return f"not JSON: {error.msg}" + ("" if whole else " (it is cut off)")


# --- values that may be anything ---


def inside(table: object, *keys: str) -> Table:
    """The table at the end of a way of keys; {} where there is none."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table if isinstance(table, Mapping) else {}


def text(table: Table, key: str) -> str:
    """The text under a key; "" for none."""
    value = table.get(key)
    return value if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A number that is no boolean; None for none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
