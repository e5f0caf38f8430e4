"""Malformed batch files in tests/data/batches, each with the one line that is expected of it in expected.txt."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_batch import AGENTS, recognise

from tidegate import files
from tidegate.errors import BadInput

PLACE = Path(__file__).parent / "data" / "batches"
EXPECTED = dict(line.split("\t", 1) for line in (PLACE / "expected.txt").read_text().splitlines())


def refusal(name: str) -> str:
    with pytest.raises(BadInput) as bad:
        files.read_batch(name, agents=AGENTS, recognise=recognise, has_limits=lambda agent: agent in AGENTS)
    return str(bad.value)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_malformed_file_is_one_line_that_names_the_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.endswith(".yaml") and not pytest.importorskip("yaml").__with_libyaml__:
        pytest.skip("PyYAML by itself says it in other words")
    monkeypatch.chdir(PLACE)
    line = refusal(name)
    assert line.isprintable()
    assert line == EXPECTED[name]


def test_every_malformed_file_is_expected() -> None:
    assert {path.name for path in PLACE.iterdir()} - {"expected.txt"} == EXPECTED.keys()
    assert len(EXPECTED) >= 60
