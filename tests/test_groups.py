"""Groups of a batch: defaults of their own, matrices, trials, templates, and the order of the jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import effort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from installed import Tidegate, said
from msgspec.structs import replace
from test_batch import AROUND, PIPE

from tidegate import batch
from tidegate.batch import templates
from tidegate.errors import BadInput
from tidegate.model import NewJob

FOUND = {"tests/T0/*": ["tests/T0/01-a.md", "tests/T0/02-b.md"]}
TEXTS_READ = {
    "/batches/repos.csv": 'id,repo,note\nweb,org/web,"a, b"\n\napi,org/api,\n',
    "/batches/rows.jsonl": '{"name": "one", "at": {"x": 1, "y": null}, "l": [1]}\n{"name": "two", "at": {"x": true}}\n',
    "/home/me/list.txt": "first\n\n  second  \r\n",
    "/batches/none.txt": "\n",
    "/batches/latin.csv": "",
    "/batches/bad.csv": "a,b\n1,2\n3\n",
    "/batches/open.csv": 'a,b\n1,"2\n',
    "/batches/twice.csv": "a,a\n1,2\n",
    "/batches/own.csv": "a,group\n1,2\n",
    "/batches/bad.jsonl": '{"a": 1}\n{"a": }\n',
}


def read(path: Path) -> str:
    if str(path) not in TEXTS_READ:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if path.name == "latin.csv":
        raise ValueError("not UTF-8")
    return TEXTS_READ[str(path)]


def ran(argv: Sequence[str]) -> str:
    if argv[0] == "fail":
        raise ValueError("exited with 3")
    if argv[0] == "gone":
        raise FileNotFoundError(2, "No such file or directory")
    return "\n".join(argv[1:]) + "\n"


HERE = replace(AROUND, find=lambda pattern: FOUND.get(pattern, []), read_text=read, run=ran)


def jobs(text: str) -> list[NewJob]:
    return list(batch.from_toml(text, HERE).jobs)


def names(text: str) -> list[str]:
    return [job.name for job in jobs(text)]


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as bad:
        jobs(text)
    return str(bad.value)


GROUP = '[groups.T0]\nagent = "claude"\nprompt = "x ${{ s }} ${{ group }} ${{ trial }}"\n'


# --- what it means -----------------------------------------------------------------------------


def test_a_group_has_defaults_of_its_own_over_those_of_the_batch() -> None:
    first, second = jobs("""
        [defaults]
        agent = "claude"
        timeout = "1h"
        labels = { who = "all" }
        [groups.T0]
        account = "max"
        timeout = "2h"
        labels = { tier = "${{ group }}" }
        [[groups.T0.job]]
        id = "03"
        prompt = "Fix it."
        labels = { kind = "fix" }
        [[job]]
        prompt = "Alone."
    """)
    assert (first.group, second.group, second.name) == ("", "T0", "T0/03")
    assert (second.account, second.spec.timeout) == ("max", 7200)
    assert second.spec.labels == {"who": "all", "tier": "T0", "kind": "fix"}
    assert (first.account, first.spec.timeout) == ("claude", 3600)


def test_a_matrix_makes_a_job_of_each_combination_named_by_its_values() -> None:
    made = jobs(GROUP + 'matrix = { s = ["a", "b"], model = ["opus", 7, true] }\nmodel = "${{ model }}"')
    assert [job.name for job in made] == ["T0/a-opus", "T0/a-7", "T0/a-true", "T0/b-opus", "T0/b-7", "T0/b-true"]
    assert (made[0].spec.prompt, made[0].model) == ("x a T0 1", "opus")


def test_a_matrix_leaves_out_what_it_excludes_and_adds_what_it_includes() -> None:
    text = GROUP + '[groups.T0.matrix]\ns = ["a", "b"]\nm = ["1", "2"]\n'
    text += 'exclude = [{ s = "a", m = "2" }, { m = "1", s = "b" }]\ninclude = [{ s = "c", m = "9", extra = "e" }]'
    assert names(text) == ["T0/a-1", "T0/b-2", "T0/c-9"]


def test_an_axis_of_files_gives_their_paths_and_names_them_by_their_last_part() -> None:
    text = '[groups.T0]\nagent = "claude"\nmatrix = { s = { glob = "tests/T0/*" } }\n'
    made = jobs(text + 'prompt = "${{ s }} ${{ s.name }} ${{s.stem}}"')
    assert [job.name for job in made] == ["T0/01-a.md", "T0/02-b.md"]
    assert made[1].spec.prompt == "tests/T0/02-b.md 02-b.md 02-b"
    assert names(text + 'prompt = "x"\nid = "${{ s.stem }}"') == ["T0/01-a", "T0/02-b"]


FOREACH = '[groups.R]\nagent = "claude"\nprompt = "${{ %s }}"\nforeach = { %s }\n'


def told(text: str) -> list[tuple[str, str | None]]:
    return [(job.name, job.spec.prompt) for job in jobs(text)]


def test_each_row_of_a_csv_file_makes_a_job_named_by_its_id() -> None:
    assert told(FOREACH % ("note }} ${{repo", 'csv = "repos.csv"')) == [
        ("R/web", "a, b org/web"),
        ("R/api", " org/api"),
    ]


def test_each_object_of_a_jsonl_file_makes_a_job_and_what_is_within_has_a_dot() -> None:
    text = FOREACH % ("at.x", 'jsonl = "rows.jsonl"')
    assert told(text) == [("R/one", "1"), ("R/two", "true")]
    assert refusal(text.replace("at.x", "l")) == (
        "b.toml: [groups.R] (line 2) prompt: ${{ l }} is not defined; defined are at.x, group, name, trial"
    )
    assert refusal(text.replace("at.x", "at.y")) == (
        "b.toml: [groups.R] (line 1) prompt: ${{ at.y }} is not defined; did you mean at.x?"
    )


def test_each_line_of_a_file_or_of_a_program_makes_a_job() -> None:
    assert told(FOREACH % ("line", 'lines = "~/list.txt"')) == [("R/first", "first"), ("R/second", "second")]
    assert told(FOREACH % ("line", 'command = ["list", "a", "b"]')) == [("R/a", "a"), ("R/b", "b")]
    assert told(FOREACH % ("n", """command = ["list", '{"n": 1, "id": "x"}']""")) == [("R/x", "1")]


def test_a_line_that_is_too_long_for_a_name_is_named_by_what_its_job_does() -> None:
    (name,) = names(FOREACH % ("line", f'command = ["list", "{"x" * 200}"]'))
    assert name.startswith("R/claude-")


def test_a_group_may_have_no_rows_while_another_has() -> None:
    text = FOREACH % ("line", 'lines = "none.txt"')
    assert refusal(text) == "b.toml: no jobs: nothing to do"
    assert names(text + '[[job]]\nid = "a"\ncommand = ["x"]') == ["a"]


def test_each_row_is_met_with_each_combination() -> None:
    text = FOREACH % ("id", 'csv = "repos.csv"') + 'matrix = { m = ["x", "y"] }\ntrials = 2'
    assert names(text)[:5] == ["R/web-x", "R/web-x#2", "R/web-y", "R/web-y#2", "R/api-x"]
    assert refusal(text.replace("m =", "repo =")) == (
        "b.toml: [groups.R]: repo is an axis of matrix and a name in foreach: rename one"
    )


ROWS = [
    ('csv = "gone.csv"', "csv: cannot read 'gone.csv': No such file or directory"),
    ('csv = "latin.csv"', "csv: 'latin.csv': not UTF-8"),
    ('csv = "bad.csv"', "csv: bad.csv: line 3: has 1 values for 2 columns"),
    ('csv = "open.csv"', "csv: open.csv: line 2: not CSV: unexpected end of data"),
    ('csv = "twice.csv"', "csv: twice.csv: two columns are named 'a'"),
    ('csv = "own.csv"', "csv: own.csv: line 2: group has a meaning of its own: name it otherwise"),
    ('csv = "none.txt"', "csv: none.txt: must begin with a line that names the columns"),
    ("csv = 3", 'csv: must be text, not 3 (write "3")'),
    ('jsonl = "bad.jsonl"', "jsonl: bad.jsonl: line 2, column 7: not JSON: Expecting value"),
    ('command = "ls"', "command: must be a list, one text for each argument, not 'ls'; there is no shell"),
    ('command = ["fail"]', "command: 'fail' exited with 3"),
    ('command = ["gone"]', "command: 'gone': No such file or directory"),
    ('line = "x"', "line: unknown key; did you mean lines?"),
]


@pytest.mark.parametrize(("source", "line"), ROWS)
def test_rows_that_cannot_be_read_are_one_line(source: str, line: str) -> None:
    assert refusal(FOREACH % ("a", source)) == f"b.toml: [groups.R] foreach {line}"


@pytest.mark.slow
def test_a_program_is_run_in_the_batchs_directory_and_its_failure_is_one_line(tmp_path: Path) -> None:
    tidegate = Tidegate(tmp_path)
    (tmp_path / "repos").mkdir()
    (tmp_path / "repos" / "web").mkdir()
    text = '[groups.R]\ncommand = ["make"]\ncwd = "repos/${{ line }}"\nforeach = { command = ["ls", "repos"] }\n'
    done = tidegate("plan", tidegate.batch(text))
    (record,) = map(json.loads, done.stdout.splitlines())
    assert (record["id"], record["group"], record["cwd"]) == ("R/web", "R", f"{tmp_path}/repos/web")
    gone = tidegate("plan", tidegate.batch(text.replace('"ls"', '"no-such-program"')))
    assert (
        said(gone) == "tidegate: batch.toml: [groups.R] foreach command: 'no-such-program': No such file or directory"
    )
    bad = tidegate("plan", tidegate.batch(text.replace('["ls", "repos"]', '["sh", "-c", "exit 7"]')))
    assert said(bad) == "tidegate: batch.toml: [groups.R] foreach command: 'sh' exited with 7"


def test_what_is_read_where_there_is_nothing_finds_no_files_and_runs_no_program() -> None:
    with pytest.raises(BadInput, match="finds nothing: 'tests/T0/\\*'"):
        batch.from_toml(GROUP + 'matrix = { s = { glob = "tests/T0/*" } }', AROUND)
    with pytest.raises(BadInput, match="no jobs: nothing to do"):
        batch.from_toml(FOREACH % ("line", 'command = ["list", "a"]'), AROUND)


def test_an_id_that_is_too_long_with_its_group_and_trial_is_one_line() -> None:
    text = f'[groups.T]\ncommand = ["x"]\nid = "{"a" * 197}"\ntrials = 2'
    assert refusal(text) == "b.toml: [groups.T] id: must be at most 200 characters, not 201"


def test_trials_are_numbered_in_their_ids_and_more_of_them_change_no_id() -> None:
    three = names(GROUP + 'matrix = { s = ["a"] }\ntrials = 3')
    assert three == ["T0/a", "T0/a#2", "T0/a#3"]
    assert names(GROUP + 'matrix = { s = ["a"] }\ntrials = 2') == three[:2]
    assert names(GROUP + 'matrix = { s = ["a"] }\ntrials = 2\nid = "${{ s }}/${{ trial }}"') == ["T0/a/1", "T0/a/2"]
    assert names('[groups.lint]\ncommand = ["make"]\ntrials = 2') == ["lint", "lint#2"]
    assert names('[groups.T]\ntrials = 2\n[[groups.T.job]]\nid = "T/1"\ncommand = ["x"]') == ["T/1", "T/1#2"]


def test_a_job_of_a_group_without_an_id_is_named_by_what_it_does() -> None:
    first, second = names('[groups.T]\ntrials = 2\n[[groups.T.job]]\ncommand = ["make"]')
    assert first.startswith("T/make-")
    assert second == f"{first}#2"


def test_every_text_of_a_job_may_hold_templates_and_a_number_too() -> None:
    (job,) = jobs(
        """
        [defaults]
        env = { A = "${{ x }}", B = "b" }
        priority = "${{ n }}"
        [groups.g]
        command = ["run", "--x=${{ x }}", "$${{ x }}"]
        cwd = "in/${{ x }}"
        account = "acc-${{ x }}"
        env = { C = "${{ group }}" }
        timeout = "${{ n }}m"
        labels = { l = "${{ x }}!" }
        result_files = ["${{ x }}.json"]
        matrix = { x = ["${{ y }}"], n = [5] }
        id = "one"
    """.replace('["${{ y }}"]', '["v"]')
    )
    assert job.spec.command == ("run", "--x=v", "${{ x }}")
    assert (job.spec.cwd, job.account, job.priority, job.spec.timeout) == ("/batches/in/v", "acc-v", 5, 300)
    assert job.spec.env == {"A": "v", "B": "b", "C": "g"}
    assert (job.spec.labels, job.spec.result_files) == ({"l": "v!"}, ("v.json",))
    assert all(type(text) is str for text in (job.account, job.spec.cwd, job.name, *job.spec.command))


def test_a_value_is_never_a_template_itself() -> None:
    (job,) = jobs(GROUP + "matrix = { s = ['${{ nothing }}'] }\nid = \"a\"")
    assert job.spec.prompt == "x ${{ nothing }} T0 1"


def test_a_default_that_a_job_replaces_needs_no_values() -> None:
    assert jobs('[defaults]\nprompt = "${{ s }}"\n[[job]]\nagent = "claude"\nprompt = "own"')[0].spec.prompt == "own"


def test_blocked_is_every_job_once_before_any_a_second_time() -> None:
    text = GROUP + 'matrix = { s = ["a", "b"] }\ntrials = 2\n'
    assert names('[batch]\norder = "blocked"\n' + text) == ["T0/a", "T0/b", "T0/a#2", "T0/b#2"]
    assert names('[batch]\norder = "fifo"\n' + text) == ["T0/a", "T0/a#2", "T0/b", "T0/b#2"]


def test_a_shuffle_is_the_same_for_the_same_seed_and_what_is_added_moves_nothing_else() -> None:
    def order(seed: int, values: str) -> list[str]:
        return names(f'[batch]\norder = "shuffle"\nseed = {seed}\n{GROUP}matrix = {{ s = [{values}] }}')

    few = order(1, '"a", "b", "c", "d", "e"')
    assert few == order(1, '"e", "d", "c", "b", "a"') != order(2, '"a", "b", "c", "d", "e"')
    assert [name for name in order(1, '"a", "b", "c", "d", "e", "f", "g"') if name in few] == few


def test_what_plan_prints_keeps_groups_and_means_the_same_batch() -> None:
    text = GROUP.replace("x ${{ s }}", "$${{ s }} ${{ s }}") + 'matrix = { s = ["a", "b"] }\ntrials = 2\n'
    written = batch.from_toml(text, HERE)
    again = batch.from_jsonl(batch.as_jsonl(written.jobs), replace(PIPE, directory=Path("/else")))
    assert again.jobs == written.jobs
    assert again.jobs[0].spec.prompt == "${{ s }} a T0 1"
    assert {job.group for job in again.jobs} == {"T0"}


# --- one line for each mistake -----------------------------------------------------------------

MISTAKES = [
    (
        GROUP,
        "b.toml: [groups.T0] prompt: ${{ s }} is not defined; defined are group, trial",
    ),
    (
        GROUP + 'matrix = { subtest = ["a"] }',
        "b.toml: [groups.T0] (subtest 'a') prompt: ${{ s }} is not defined; defined are group, subtest, trial",
    ),
    (
        '[defaults]\nprompt = "${{ subtset }}"\n[groups.g]\nagent = "claude"\nmatrix = { subtest = ["a"] }',
        "b.toml: [groups.g] (subtest 'a') prompt of [defaults]: ${{ subtset }} is not defined; did you mean subtest?",
    ),
    (
        '[groups.g]\nlabels = { a = "${{ b }}" }\n[[groups.g.job]]\nid = "x"\ncommand = ["y"]',
        'b.toml: [[groups.g.job]] 1 ("x") labels.a of [groups.g]: ${{ b }} is not defined; defined are group, trial',
    ),
    (
        '[[job]]\nid = "x"\ncommand = ["a", "${{ b }}"]',
        (
            'b.toml: [[job]] 1 ("x") command[1]: ${{ b }} is not defined; nothing is defined here, '
            "write $${{ for ${{ itself"
        ),
    ),
]


@pytest.mark.parametrize(("text", "line"), MISTAKES)
def test_what_is_not_defined_is_one_line_with_the_place_and_what_is(text: str, line: str) -> None:
    assert refusal(text) == line


# --- whatever is written -----------------------------------------------------------------------

TEXTS = st.text(st.sampled_from("ab$${{}} \n.é"), max_size=20)


@given(TEXTS, TEXTS)
def test_an_escaped_text_is_itself_and_a_value_stands_where_it_is_named(plain: str, value: str) -> None:
    assert templates.text(plain.replace("${{", "$${{"), {}) == plain
    around = plain.replace("$", "")
    assert templates.text(around + "${{v}}" + around, {"v": value}) == around + value + around


VALUES = st.lists(st.from_regex(r"[a-z0-9]{1,4}", fullmatch=True), min_size=1, max_size=4, unique=True)
AXES = st.dictionaries(st.sampled_from(["p", "q", "r"]), VALUES, min_size=1)


@settings(max_examples=effort.of(25, 40))
@given(AXES, st.integers(1, 3), st.data())
def test_a_matrix_has_every_combination_once_but_those_excluded(
    axes: dict[str, list[str]], trials: int, data: st.DataObject
) -> None:
    excluded = [{name: data.draw(st.sampled_from(values)) for name, values in axes.items()}]
    parts = [f"${{{{ {name} }}}}" for name in axes]
    matrix = {**axes, "exclude": excluded, "include": [dict.fromkeys(axes, "ZZ")]}
    group = {"command": ["x", *parts], "id": "-".join(parts), "trials": trials, "matrix": matrix}
    made = batch._from_document({"groups": {"g": group}}, HERE)
    combinations = 1
    for values in axes.values():
        combinations *= len(values)
    assert len(made.jobs) == combinations * trials
    assert len({job.name for job in made.jobs}) == len(made.jobs)
    assert len({job.spec.command for job in made.jobs}) == combinations
    assert ("x", *excluded[0].values()) not in {job.spec.command for job in made.jobs}
    again = batch.from_jsonl(batch.as_jsonl(made.jobs), PIPE)
    assert json.loads(batch.as_jsonl(again.jobs).splitlines()[0])["group"] == "g"


def test_the_batch_of_many_in_the_readme_is_one_that_can_be_run() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```toml\n")[1:]]
    many, further = [block for block in blocks if "[groups." in block]
    files = {"/batches/repos.csv": "name\nweb\n"}
    around = replace(HERE, find=lambda _: ["tests/T0/01.md", "tests/T0/09.md"], read_text=lambda path: files[str(path)])
    made = batch.from_toml(f"{many}\n{further}", around)
    assert [job.name for job in made.jobs if job.name.endswith("#3")] == [
        "T0/01-opus#3",
        "T0/01-haiku#3",
        "T0/09-opus#3",
    ]
    assert {"repos/web", "T5/expand"} < {job.name for job in made.jobs}
