"""What a person expects of a job, from text and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import Tidegate
from test_batch import AROUND, PIPE, WANTED

from tidegate import batch, hints
from tidegate.allowed import Wrong
from tidegate.hints import Hint, hint
from tidegate.model import NewJob, Share, Spec

TWO = Share(0.02, 0.01)
TAKEN = {
    "10m": Hint(600.0),
    90: Hint(90.0),
    "2%": Hint(None, Share(0.02)),
    " 2.5 % ": Hint(None, Share(0.025)),
    "2% ± 1%": Hint(None, TWO),
    "2%±1%": Hint(None, TWO),
    "2% +- 1%": Hint(None, TWO),
    "2 % +/- 1 %": Hint(None, TWO),
    "2% ± 0%": Hint(None, Share(0.02, 0.0)),
    "150% ± 200%": Hint(None, Share(1.5, 2.0)),
    "10m, 2% ± 1%": Hint(600.0, TWO),
    "2% ± 1%, 1h30m": Hint(5400.0, TWO),
    "600, 2%": Hint(600.0, Share(0.02)),
}
PERCENT = "must be more than 0 % and at most 1000 % of a window"
REFUSED = [
    ("soon", f"{WANTED}, not 'soon'"),
    (["10m"], f"{WANTED}, not a list"),
    (True, f"{WANTED}, not true"),
    ("", f"{WANTED}, not ''"),
    ("%", f"{WANTED}, not '%'"),
    ("2% 1%", f"{WANTED}, not '2% 1%'"),
    ("2% ± 1", f"{WANTED}, not '2% ± 1'"),
    ("2% ± 1%, 3%", f"{WANTED}, not '2% ± 1%, 3%'"),
    ("1m, 2%, 1m", f"{WANTED}, not '1m, 2%, 1m'"),
    ("-2%", f"{WANTED}, not '-2%'"),
    ("soon, 2%", f"{WANTED}, not 'soon'"),
    ("0%", f"{PERCENT}, not '0%'"),
    ("1001%", f"{PERCENT}, not '1001%'"),
    ("2% ± 1001%", f"{PERCENT}, not '2% ± 1001%'"),
    ("400d", "must be at most 366 days, not '400d'"),
    (0, "must be more than 0 seconds, not 0"),
]


@pytest.mark.parametrize("said", TAKEN)
def test_a_hint_is_a_length_of_time_a_share_of_a_window_or_both(said: object) -> None:
    assert hint(said) == TAKEN[said]


@pytest.mark.parametrize(("said", "words"), REFUSED, ids=lambda one: repr(one)[:20])
def test_what_is_no_hint_is_told_with_what_is(said: object, words: str) -> None:
    with pytest.raises(Wrong) as raised:
        hint(said)
    assert str(raised.value) == words


percents = st.integers(1, 10**9).map(lambda millionths: millionths / 1_000_000)


@given(
    st.none() | st.integers(1, 10**8).map(lambda tenths: tenths / 10) | st.just(60.0),
    st.none()
    | st.builds(lambda mean, spread: Share(mean / 100, spread and spread / 100), percents, st.none() | percents),
)
@settings(max_examples=25)
def test_what_is_written_of_a_hint_reads_as_the_same(seconds: float | None, share: Share | None) -> None:
    if seconds is not None and seconds > 366 * 86400:
        return
    said = hints.written(seconds, share)
    if said is None:
        return
    again = hint(said)
    assert again.seconds == seconds
    if share is not None:
        assert again.share is not None
        assert again.share.mean == pytest.approx(share.mean, abs=1e-8)
        assert again.share.spread == (share.spread and pytest.approx(share.spread, abs=1e-8))


def test_a_length_of_time_alone_is_written_as_a_number() -> None:
    assert (hints.written(90.0, None), hints.written(1.5, None), hints.written(None, None)) == (90, 1.5, None)


def test_hints_are_told_in_a_sentence() -> None:
    assert hints.said(5400.0, TWO) == "1 h 30 min, 2% ± 1% of a 5-hour window"
    assert hints.said(None, Share(0.12)) == "12% of a 5-hour window"
    assert (hints.said(60.0, None), hints.said(None, None)) == ("1 min", "")


def job(name: str, expect: float | None = None, share: Share | None = None) -> NewJob:
    return NewJob(name=name, account="a", spec=Spec(), expect=expect, share=share)


def test_what_is_expected_of_several_jobs_is_added_up_and_their_spreads_as_independent() -> None:
    jobs = [job("a", 60.0, Share(0.02, 0.03)), job("b", None, Share(0.03, 0.04)), job("c", 30.0), job("d")]
    whole, number = hints.total(jobs)
    assert (whole.seconds, number) == (90.0, 3)
    assert whole.share is not None
    assert [whole.share.mean, whole.share.spread] == pytest.approx([0.05, 0.05])
    assert hints.total([job("a", None, Share(0.02)), job("b")]) == (Hint(None, Share(0.02)), 1)
    assert hints.total([job("a")]) == (Hint(), 0)


def test_jobs_of_a_group_are_of_one_kind_where_about_as_much_is_expected_of_them() -> None:
    shares = (None, Share(0.02), Share(0.022, 0.01), Share(0.4), Share(0.0001))
    kinds = [hints.kind("b/g", None, share) for share in shares]
    assert kinds == ["b/g", "b/g ~2.2%", "b/g ~2.2%", "b/g ~38%", "b/g ~0.012%"]
    assert [hints.kind("b/g", 600.0, share) for share in shares[:2]] == ["b/g ~6.6e+02s", "b/g ~2.2%"]


FILE = """
[groups.g]
command = ["true"]
expect = "${{ share }}% ± 1%"
matrix = { share = [2, 30] }
[[job]]
id = "last"
command = ["true"]
expect = "10m, 1%"
"""


def test_a_batch_says_what_to_expect_of_groups_and_jobs_and_so_do_its_lines() -> None:
    read = batch.from_toml(FILE, AROUND)
    assert [(one.name, one.expect, one.share) for one in read.jobs] == [
        ("last", 600.0, Share(0.01)), ("g/2", None, TWO), ("g/30", None, Share(0.3, 0.01))
    ]  # fmt: skip
    assert batch.from_jsonl(batch.head_as_jsonl(read) + batch.as_jsonl(read.jobs), PIPE).jobs == read.jobs


def test_jobs_that_a_program_prints_are_expected_to_take_what_their_group_says() -> None:
    text = '[groups.g]\nexpand = ["print"]\ncommand = ["x"]\nexpect = "10m, 2% ± 1%"\n'
    (one,) = [job for job in batch.from_toml(text, AROUND).jobs if job.spec.expand]
    assert json.loads(one.spec.expand)["expect"] == "600s, 2% ± 1%"


@pytest.mark.slow
def test_a_hint_is_in_the_summary_and_kept_with_the_job(tidegate: Tidegate, tmp_path: Path) -> None:
    file = tmp_path / "b.toml"
    file.write_text(FILE)
    told = tidegate("plan", str(file), "--summary").stdout
    assert "g: 2 jobs: 2 of command; expected: 32% ± 1.41% of a 5-hour window" in told
    summary = json.loads(tidegate("plan", str(file), "--summary", "--json").stdout)
    assert summary["expect"][""] == {"seconds": 600.0, "share": 0.01, "spread": None, "jobs": 1}
    assert tidegate("run", str(file)).returncode == 0
    assert "expected  2% ± 1% of a 5-hour window" in tidegate("show", "2").stdout
    assert json.loads(tidegate("show", "1", "--json").stdout)["expect"]["seconds"] == 600.0
