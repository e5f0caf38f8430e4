"""The forms that a batch may have besides TOML and JSONL: YAML, CSV tables and plain lines."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from installed import Tidegate, said
from test_batch import AROUND

from tidegate import batch
from tidegate.errors import BadInput

TOML = """
[batch]
name = "n"
[defaults]
agent = "claude"
[groups.T0]
timeout = "2h"
prompt = '''x ${{ s }}
y'''
matrix = { s = ["a", 7], exclude = [{ s = 7 }] }
trials = 2
[[job]]
id = "one"
command = ["make"]
"""
YAML = """
batch: {name: n}
defaults: &all
  agent: claude
groups:
  T0:
    <<: *all
    timeout: 2h
    prompt: |-
      x ${{ s }}
      y
    matrix:
      s: [a, 7]
      exclude: [{s: 7}]
    trials: 2
job:
  - id: one
    command: [make]
"""
MERGES = "a: &a0 {}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 1500)) + "<<: *a1499"


def yaml(text: str) -> batch.Expanded:
    if not pytest.importorskip("yaml").__with_libyaml__:
        pytest.skip("PyYAML by itself says it in other words")
    return batch.from_yaml(textwrap.dedent(text), AROUND)


def test_yaml_says_the_same_as_toml() -> None:
    assert yaml(YAML) == batch.from_toml(TOML, AROUND)


def test_a_mapping_that_is_merged_after_it_merged_another_has_no_key_twice() -> None:
    text = """
    groups:
      g: {command: [x], labels: {deep: &b {<<: &a {k: v}, k: w}}}
      h: {command: [x], labels: {<<: *b}}
    """
    with pytest.raises(BadInput, match=r"b\.toml: \[groups\.g\] labels\.deep: must be text, not a table"):
        yaml(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "no jobs: nothing to do"),
        ("- a", "must be tables, such as batch, defaults and job, not a list"),
        ("job: [", "line 2, column 1: not YAML: did not find expected node content"),
        ("job: {id: a}", "job: must be a list of tables, not a table"),
        ("groups: {g: {job: {id: a}}}", "groups.g.job: must be a list of tables, not a table"),
        ("batch: {name: a}\nbatch: {name: b}", "line 2, column 1: not YAML: the key batch is there twice"),
        ("groups: {g: {matrix: {a: [1], a: [2]}}}", "line 1, column 31: not YAML: the key a is there twice"),
        ("groups: {1: {}}", "line 1, column 10: not YAML: a key must be text: quote it"),
        ("? [a]\n: b", "line 1, column 3: not YAML: a key must be text: quote it"),
        ("job: [{id: a, command: [x], on: y}]", "line 1, column 29: not YAML: a key must be text: quote it"),
        ("job: [{id: a, command: [no]}]", '[[job]] 1 ("a") command[0]: must be text, not false'),
        ("job: [{id: 2026-01-01, command: [x]}]", "[[job]] 1 id: must be text, not a date"),
        (
            "job: !!python/object:os.system []",
            (
                "line 1, column 6: not YAML: could not determine a constructor for the tag "
                "'tag:yaml.org,2002:python/object:os.system'"
            ),
        ),
        ("a: &a [*a]", "a: unknown key; known are batch, defaults, accounts, groups, job"),
        ("a: 1\n---\nb: 2", "line 2, column 1: not YAML: but found another document"),
        ("a: 2026-13-45", "not YAML: month must be in 1..12"),
        (MERGES, "not read: nested too deeply"),
        ("job: \x01", "not YAML: unacceptable character #x0001: "),
    ],
)
def test_a_mistake_in_yaml_is_one_line(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        yaml(text)
    assert str(bad.value).isprintable()
    assert str(bad.value).startswith(f"b.toml: {line}")


def test_yaml_without_its_library_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(BadInput) as bad:
        batch.from_yaml(YAML, AROUND)
    assert str(bad.value) == "b.toml: YAML needs PyYAML: pip install 'tidegate[yaml]', or write TOML"


def table(text: str, **defaults: str) -> batch.Expanded:
    return batch.from_csv(text, AROUND, defaults)


def test_a_csv_table_has_a_column_for_each_key_and_an_empty_cell_says_nothing() -> None:
    one, two = table(
        "id,group,agent,prompt,args,priority,labels.tier,env.A\n"
        'a,T0,claude,"Fix, please","-v,-w",3,x,\nb,,,Do it,"[""-x y""]",,,1\n',
        agent="codex",
        timeout="2h",
    ).jobs
    assert (one.name, one.group, one.spec.agent, one.spec.prompt) == ("a", "T0", "claude", "Fix, please")
    assert (one.spec.args, one.priority, one.spec.labels, one.spec.env) == (("-v", "-w"), 3, {"tier": "x"}, {})
    assert (two.group, two.spec.agent, two.spec.args, two.spec.env) == ("", "codex", ("-x y",), {"A": "1"})
    assert (one.spec.timeout, two.spec.labels) == (7200, {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "must begin with a line that names the columns"),
        ("id,prompt\n", "no jobs: nothing to do"),
        ("id,promt\na,b\n", "line 1 promt: unknown key; did you mean prompt?"),
        ("id,foo.bar\na,b\n", "line 1 foo.bar: unknown key; known are id, group, agent"),
        ("id,prompt\na\n", "line 2: has 1 values for 2 columns"),
        ("id,agent,prompt\na,claude,x\na,claude,y\n", 'line 3 ("a") id: is already that of line 2'),
        ("id,priority,command\na,high,x\n", 'line 2 ("a") priority: must be a whole number from -1000000 to 1000000'),
        ("id,command\na,\n", 'line 2 ("a"): must say agent (with a prompt) or command'),
        ('id,command\na,"[1"\n', 'line 2 ("a") command: must be JSON where it begins with ['),
        ('id,prompt\na,"b\n', "line 2: not CSV: unexpected end of data"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        table(text)
    assert str(bad.value).startswith(f"b.toml: {line}")


def test_lines_are_prompts_named_by_what_they_say() -> None:
    first, second = batch.from_prompts("Fix a.\n\n  Fix ${{ b }}.\n", AROUND, {"agent": "claude"}).jobs
    assert (first.spec.prompt, second.spec.prompt) == ("Fix a.", "Fix ${{ b }}.")
    assert batch.from_prompts("New.\nFix a.\n", AROUND, {"agent": "claude"}).jobs[1].name == first.name


def test_the_form_is_told_by_the_files_name_or_said(tidegate: Tidegate) -> None:
    tidegate.batch("Fix it.\n", "todo.txt")
    done = tidegate("plan", "todo.txt", "--format", "lines", "--default", "agent=claude")
    assert json.loads(done.stdout)["prompt"] == "Fix it."
    done = tidegate("plan", "-", "--format", "csv", stdin='id,command\na,"echo,hi"\n')
    assert json.loads(done.stdout)["command"] == ["echo", "hi"]
    wrong = tidegate("plan", tidegate.batch('[[job]]\ncommand = ["x"]'), "--default", "agent=claude")
    assert said(wrong) == "tidegate: --default: is for csv and lines; a batch in TOML says [defaults] itself"
