"""The verb `config`: each setting, its value and where that came from."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Iterable

from tidegate import settings
from tidegate.look import plain
from tidegate.look.desk import note
from tidegate.look.words import Page, clean, pad, page
from tidegate.settings import Loaded, Row

KEY, ORIGIN = 24, 9  # columns; a longer one pushes what follows to the right


def config(args: Namespace) -> int:
    """Print the settings in force; 0. Raises BadSetting."""
    rows = settings.effective(loaded(args))
    for line in [plain.line(_form(rows))] if args.json else _lines(rows, page()):
        print(line)
    return 0


def loaded(args: Namespace) -> Loaded:
    """The settings in force for a command line; what is doubtful is told. Raises BadSetting."""
    found = settings.load(args.config, os.environ)
    for warning in found.warnings:
        note(warning)
    return found


def _form(rows: Iterable[Row]) -> plain.Form:
    return {row.key: {"value": row.value, "origin": row.origin} for row in rows}


def _lines(rows: Iterable[Row], on: Page) -> Iterable[str]:
    for row in rows:
        value = clean(json.dumps(row.value, ensure_ascii=False))
        head = f"{pad(row.key, KEY)}  {pad(clean(row.origin), ORIGIN)}  "
        yield from on.wrap(f"{head}{value}", hang=KEY + ORIGIN + 4)
