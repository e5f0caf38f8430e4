"""A results directory of ProjectScylla: what each run is worth, and the batch that runs the rest again."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import scylla_tree as tree
from installed import Tidegate, said
from scylla_tree import FOUR_PM, POOL, RATE_LIMIT, agent_result, refused, run_result

from tidegate import scylla
from tidegate.batch import toml
from tidegate.cli import main, results
from tidegate.errors import BadInput
from tidegate.scylla import Found, Run, RunFiles, Verdict, found
from tidegate.scylla.rerun import reason, where

AT = datetime(2026, 1, 9, 20, tzinfo=UTC)
Json = dict[str, Any]


def file(table: Json | None, path: str = "T5/01/run_01/x.json", wrong: str = "") -> Found:
    return Found(path=path, written=AT, table=table or {}, wrong=wrong)


def judged(**files: Any) -> Run:
    return scylla.judged("T5", "01", 1, RunFiles(**files), results.READS)


def subtest(reason: str, **info: Any) -> Json:
    return {"runs": [], "selection_reason": reason, "rate_limit_info": info or None}


LIMITED: dict[str, Json] = {
    "its agent was refused, as the old runner left it": {"agent": file(refused())},
    "its agent was refused in JSON": {
        "result": file(run_result(1, judge_score=0, judge_passed=False)),
        "agent": file(
            agent_result(exit_code=1, stdout=json.dumps({"type": "result", "is_error": True, "result": FOUR_PM}))
        ),
    },
    "an attempt was moved aside": {"failed": [file(refused("a fault")), file(refused())]},
    "the first attempt alone says why": {"failed": [file(refused()), file(refused("killed"))]},
    "its judge was refused": {
        "result": file(
            run_result(1, judge_score=0, judge_passed=False, judge_reasoning=f"Invalid: Agent error - {FOUR_PM}")
        )
    },
    "each of its judges was refused": {
        "result": file(
            run_result(1, judge_score=0, judge_passed=False, judges=[{"reasoning": FOUR_PM}, {"reasoning": FOUR_PM}])
        )
    },
    "the judge's own file says so": {"judge": file({"score": 0, "passed": False, "reasoning": FOUR_PM})},
    "its tier knows the limit": {"subtest": subtest("", error_message=FOUR_PM, detected_at="2026-01-09T20:00:00")},
    "its tier knows when": {"subtest": subtest("", error_message=FOUR_PM, detected_at="2026-01-09T20:00:00+00:00")},
    "its tier says so in words": {"subtest": subtest(f"RateLimitError: {FOUR_PM}")},
    "its tier kept no words of the provider": {"subtest": subtest("RateLimitError: API limit hit")},
    "its tier kept other words": {"subtest": subtest("", error_message="the account is full")},
    "its result is cut off": {"result": file(None, wrong="cut off"), "failed": [file(refused())]},
}


@pytest.mark.parametrize("case", LIMITED)
def test_a_limit_in_disguise_is_told_with_its_evidence(case: str) -> None:
    run = judged(**LIMITED[case])
    assert (run.verdict, bool(run.refused and run.refused.evidence)) == (Verdict.LIMITED, True)


VALID: dict[str, Json] = {
    "it passed": {"result": file(run_result(1)), "agent": file(agent_result())},
    "a bad grade is a result": {"result": file(run_result(1, exit_code=1, judge_score=0, judge_passed=False))},
    "its tier alone has it": {"listed": run_result(1)},
    "it was run again after a limit": {"result": file(run_result(1)), "failed": [file(refused())]},
    "it ended before the pool broke": {"result": file(run_result(1)), "subtest": subtest(POOL)},
    "one judge of two was refused": {
        "result": file(run_result(1, judge_passed=False, judges=[{"reasoning": FOUR_PM}, {"reasoning": "It fails."}]))
    },
    "an answer about limits is none": {
        "result": file(run_result(1)),
        "agent": file(agent_result(stdout=f"The page says: {FOUR_PM}")),
    },
    "what passed was not refused": {"result": file(run_result(1, judge_reasoning=FOUR_PM))},
}


@pytest.mark.parametrize("case", VALID)
def test_what_is_valid_is_not_run_again(case: str) -> None:
    assert judged(**VALID[case]).verdict is Verdict.VALID


BROKEN: dict[str, tuple[Json, str]] = {
    "no judge_score": ({"result": file(run_result(1, judge_score=None))}, "has no judge_score"),
    "wrong type": ({"result": file(run_result(1, judge_passed="yes"))}, "has no judge_passed"),
    "never ran": ({"result": file(run_result(1, exit_code=-1, token_stats=[]))}, "the agent never ran"),
    "in the tier": ({"listed": {"run_number": 1}}, "has no judge_score"),
    "cut off": ({"result": file(None, wrong="line 1: not JSON"), "there": True}, "line 1: not JSON"),
    "no words": ({"there": True}, "it was begun and left no result"),
    "agent unreadable": ({"agent": file(None, wrong="it is empty"), "there": True}, "it is empty"),
    "a fault": ({"failed": [file(refused("Traceback\nOSError: no space"))]}, "OSError: no space"),
    "not logged in": (
        {"agent": file(refused("Invalid API key · Please run /login")), "there": True},
        "Invalid API key",
    ),
    "a pool": ({"subtest": subtest(POOL)}, "the process pool broke"),
    "another reason": ({"subtest": subtest("Error: no such model\nmore")}, "Error: no such model"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_has_no_valid_result_and_no_limit_says_what_is_wrong(case: str) -> None:
    files, why = BROKEN[case]
    run = judged(**files)
    assert (run.verdict, why in run.why, run.refused) == (Verdict.BROKEN, True, None), run


def test_what_left_nothing_is_missing() -> None:
    assert judged() == Run(tier="T5", subtest="01", number=1, verdict=Verdict.MISSING)
    assert "passed, but nothing is there" in judged(mark="passed").why


def test_a_run_that_went_down_with_the_pool_knows_the_limit_of_its_tier_alone() -> None:
    first, second = judged(failed=[file(refused())]), judged(subtest=subtest(POOL))
    elsewhere = scylla.judged("T4", "01", 1, RunFiles(subtest=subtest(POOL)), results.READS)
    told = scylla.infected([second, elsewhere, first])
    assert [run.verdict for run in told] == [Verdict.LIMITED, Verdict.BROKEN, Verdict.LIMITED]
    assert told[0].refused == first.refused
    assert reason(told[0]) == f"the process pool broke: {RATE_LIMIT}"


def test_what_scylla_would_take_for_a_result_is_marked() -> None:
    files = {"result": file(run_result(1)), "agent": file(refused()), "judge": file({"passed": True})}
    assert judged(**files).looks_complete
    assert not judged(agent=file(refused())).looks_complete


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b"", "it is empty"),
        (b'{"a": 1, "b"', "not JSON: Expecting ':' delimiter (it is cut off)"),
        (b'{"a": "b', "(it is cut off)"),
        (b'{"a" 1}\n', "line 1, column 6: not JSON: Expecting ':' delimiter"),
        (b"[1]", "must be an object"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a number too long"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(raw: bytes, wrong: str) -> None:
    told = scylla.read("x.json", raw, AT)
    assert (wrong in told.wrong, told.table) == (True, {}), told.wrong


def test_values_of_other_types_are_none() -> None:
    assert found.inside({"a": {"b": [1]}}, "a", "b") == {}
    assert found.inside(3, "a") == {}
    assert (found.text({"a": 1}, "a"), found.number(True), found.number(2)) == ("", None, 2)
    assert file({"a": {"b": {"c": 1}}}).at("a", "b") == {"c": 1}


# --- what should be there ---


def test_each_subtest_that_anything_names_has_as_many_runs_as_the_configuration_says() -> None:
    tiers = {"T10": file(tree.tier_result("T10", {"01": [run_result(3), {"run_number": "x"}], "02": []}))}
    checkpoint = file(
        {
            "experiment_id": "from checkpoint",
            "completed_runs": {
                "T0": {"00": [1, "2", 0, True], "01": {"1": "passed", "2": 5}, "02": 3},
                "X": {"a": [1]},
            },
            "run_states": {"T1": {"00": {"2": "pending"}}, "T2": 5},
            "subtest_states": {"T3": {"07": "pending"}},
        }
    )
    config = file({"runs_per_subtest": 2, "tiers_to_run": ["T0", "T6", 5, "no"]})
    told = scylla.expected({("T5", "01"): [4]}, tiers, checkpoint, config)
    assert told.runs == {
        **{("T0", name): [1, 2] for name in ("00", "01", "02")},
        ("T1", "00"): [1, 2],
        ("T3", "07"): [1, 2],
        ("T5", "01"): [1, 2, 4],
        ("T10", "01"): [1, 2, 3],
        ("T10", "02"): [1, 2],
    }
    assert list(told.runs)[-2:] == [("T10", "01"), ("T10", "02")]
    assert (told.name, told.unknown, told.marks["T0", "01", 1]) == ("from checkpoint", ["T6"], "passed")


def test_without_a_configuration_each_subtest_has_as_many_runs_as_the_one_with_the_most() -> None:
    told = scylla.expected({("T0", "01"): [1, 2, 3], ("T5", "01"): []}, {}, None, None)
    assert told.runs == {("T0", "01"): [1, 2, 3], ("T5", "01"): [1, 2, 3]}
    assert scylla.expected({("T0", "01"): []}, {}, None, file({"tiers_to_run": 3})).runs == {("T0", "01"): [1]}


# --- the batch ---


def test_the_batch_survives_whatever_names_and_evidence_hold() -> None:
    evil = scylla.Refused('quote " \\ \x7f \u2028 # ]', "x")
    runs = [
        Run(tier="T5", subtest='a"b', number=2, verdict=Verdict.LIMITED, why="w\ud800", refused=evil),
        Run(tier="T5", subtest="c", number=1, verdict=Verdict.VALID),
        Run(tier="T6", subtest="d", number=1, verdict=Verdict.MISSING),
    ]
    how = scylla.Rerun(name="n", results="/a\x7f", command=["x", "${{ subtest }}"], cwd="/", files="a${{b")
    text = scylla.rerun(runs, how)
    told = toml(text.encode().decode(), "x")
    assert told["groups"]["T5"]["matrix"]["include"] == [{"id": 'a"b#2', "subtest": 'a"b', "run": "2"}]
    assert (list(told["groups"]), where(runs[0])) == (["T5", "T6"], 'T5/a"b/run_02')
    assert told["defaults"]["result_files"] == ["a$${{b/${{ group }}/${{ subtest }}/**/agent/result.json"]
    assert "# 1 run is" in scylla.rerun(runs[2:], scylla.Rerun(name="n", results="/", command=["x"], cwd="/", own=True))


# --- the verb ---


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(file: Path, capsys: pytest.CaptureFixture[str]) -> list[Json]:
    capsys.readouterr()
    assert main(["plan", str(file)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_only_the_tier_that_a_limit_took_down_is_to_be_run_again(tidegate: Tidegate) -> None:
    root = tree.damaged(tidegate.place / "results" / "x", runs=2)
    before = tree.prints(root)
    done = tidegate("import", "scylla", "results/x", "-o", "rerun.toml", "--", "rerun", "${{ group }}", "${{ run }}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "54 runs, 30 to be run again" in done.stdout
    assert "T4  4 valid" in done.stdout
    assert "T5  30 limits in disguise" in done.stdout
    assert done.stdout.count(FOUR_PM) == 1
    assert "tidegate run rerun.toml" in done.stdout
    planned = [json.loads(line) for line in tidegate("plan", "rerun.toml").stdout.splitlines()]
    assert {job["id"] for job in planned} == {f"T5/{n:02}{trial}" for n in range(1, 16) for trial in ("", "#2")}
    assert planned[1]["command"] == ["rerun", "T5", "2"]
    assert (planned[1]["account"], planned[1]["result_files"]) == ("claude", ["results/x/T5/01/**/agent/result.json"])
    assert tree.prints(root) == before
    assert said(tidegate("import", "scylla", "nowhere")).endswith("nowhere: there is no such directory")


def test_without_a_file_the_batch_is_printed_and_scyllas_own_script_runs_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree.damaged(here / "check[out]" / "results" / "x")
    script = here / "check[out]" / "scripts" / "rerun_agents.py"
    script.parent.mkdir()
    script.touch()
    assert main(["import", "scylla", str(root)]) == 0
    told = capsys.readouterr()
    assert "15 to be run again" in told.err
    (here / "b.toml").write_text(told.out)
    job = jobs(here / "b.toml", capsys)[0]
    assert job["cwd"] == str(script.parent.parent)
    assert job["command"][:4] == ["pixi", "run", "python", "scripts/rerun_agents.py"]
    assert job["command"][4:] == [str(root), "--tier", "T5", "--subtest", "01", "--runs", "1", "--skip-regenerate"]
    assert job["result_files"] == ["results/x/T5/01/**/agent/result.json"]


def test_a_batch_that_is_there_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree.damaged(here / "x")
    (here / "b.toml").write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        main(["import", "scylla", "x", "-o", "b.toml"])
    assert (here / "b.toml").read_text() == "mine"
    assert main(["import", "scylla", "x", "-o", "b.toml", "--force"]) == 0
    assert "change cwd in the batch" in capsys.readouterr().err
    with pytest.raises(BadInput, match="cannot write it"):
        main(["import", "scylla", "x", "-o", "no/b.toml"])
    assert (here / "b.toml").stat().st_mode & 0o777 == 0o600
    assert len(jobs(here / "b.toml", capsys)) == 15


def test_a_tree_in_which_all_is_valid_needs_no_batch(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree.whole(here / "x" / "completed" / "T0" / "00" / "run_01", 1)
    assert main(["import", "scylla", "x", "-o", "b.toml"]) == 0
    assert "all valid" in capsys.readouterr().out
    assert not (here / "b.toml").exists()


def test_an_odd_tree_is_read_as_far_as_it_goes_and_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = here / "x"
    tree.whole(root / "T0" / "00" / "run_01", 1)
    (root / "checkpoint.json").write_text('{"completed_runs": {"T0"')
    (root / "T0" / "result.json").write_text("[]")
    (root / "T1").write_text("a file")
    (root / "T2" / "01" / "run_01" / "run_result.json").mkdir(parents=True)
    (root / "T2" / "02" / "run_01" / "agent").mkdir(parents=True)
    (root / "T2" / "02" / "run_01" / "agent" / "stderr.log").write_text(FOUR_PM)
    os.mkfifo(root / "T2" / "result.json")
    (root / "T2" / ("x" * 220)).mkdir()
    (root / "T2" / "01#2").mkdir()
    assert main(["import", "scylla", "x", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["run"]: line["verdict"] for line in told if "run" in line} == {
        "T0/00/run_01": "valid",
        "T2/01/run_01": "broken",
        "T2/02/run_01": "limited",
    }
    unread = {Path(line["unreadable"]).name for line in told if "unreadable" in line}
    assert unread == {"checkpoint.json", "result.json", "run_result.json", "x" * 220, "01#2"}
    assert main(["import", "scylla", "x", "-o", "b.toml"]) == 0
    assert "unreadable\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("file", "is no directory"),
        ("empty", "holds no run of an experiment"),
        ("a\0b", "no such directory"),
        ("cut", "it is cut off"),
    ],
)
def test_what_is_no_results_directory_is_one_line(here: Path, name: str, wrong: str) -> None:
    (here / "file").touch()
    (here / "empty").mkdir()
    (here / "cut").mkdir()
    (here / "cut" / "checkpoint.json").write_text('{"a"')
    with pytest.raises(BadInput, match=wrong):
        main(["import", "scylla", name])
