"""Directories of a job's own, as a batch says them: what is meant, and the one line that says what is wrong."""

from __future__ import annotations

import json
import tomllib

import pytest
from test_batch import AROUND, job, jsonl, toml
from test_schema import SCHEMA, fits

from tidegate import batch
from tidegate.errors import BadInput
from tidegate.model import Put, Workspace
from tidegate.stores.rows import define, spec_of

X = 'b.toml: [[job]] 1 ("x")'
JOB = '[[job]]\nid = "x"\ncommand = ["make"]\n'
GOOD = [
    ('cwd = { worktree = "r" }', Workspace(kind="worktree", source="/batches/r")),
    ('cwd = { worktree = "~/r", commit = "v1.0" }', Workspace(kind="worktree", source="/home/me/r", commit="v1.0")),
    ('cwd = { clone = "../r", branch = "a/b" }', Workspace(kind="clone", source="/batches/../r", branch="a/b")),
    ('cwd = { clone = "https://h/r.git" }', Workspace(kind="clone", source="https://h/r.git")),
    ('cwd = { clone = "git@h:a/r.git" }', Workspace(kind="clone", source="git@h:a/r.git")),
    ('cwd = { clone = "ssh://git@h/r" }', Workspace(kind="clone", source="ssh://git@h/r")),
    ('cwd = { clone = "./a:b" }', Workspace(kind="clone", source="/batches/a:b")),
    (
        'cwd = { copy = "/d" }\nfiles = [{ from = "p.md", to = "./in//p.md" }, { from = "/q", to = "q" }]',
        Workspace(
            kind="copy",
            source="/d",
            files=(Put(source="/batches/p.md", to="in/p.md"), Put(source="/q", to="q")),
        ),
    ),
]


@pytest.mark.parametrize(("text", "made"), GOOD)
def test_a_table_asks_for_a_directory(text: str, made: Workspace) -> None:
    one = job(f'id = "x"\ncommand = ["make"]\n{text}')
    assert (one.spec.workspace, one.spec.cwd) == (made, ".")
    assert fits(tomllib.loads(JOB + text), SCHEMA)
    assert jsonl(json.loads(json.dumps(batch.as_record(one)))).jobs[0].spec == one.spec
    assert spec_of(define(one, lambda _, value: value).spec, str) == one.spec


def test_a_directory_as_it_is_stays_a_path() -> None:
    spec = job('command = ["ls"]\ncwd = "r"').spec
    assert (spec.cwd, spec.workspace) == ("/batches/r", None)
    assert "files" not in batch.as_record(job('command = ["ls"]\ncwd = "r"'))


def test_templates_are_filled_inside_of_the_tables() -> None:
    one, other = toml("""
        [groups.T]
        command = ["make"]
        cwd = { worktree = "repos/${{ repo }}", branch = "v${{ trial }}" }
        files = [{ from = "t/${{ repo }}.md", to = "${{ repo }}/task.md" }]
        matrix = { repo = ["a", "b"] }
    """).jobs
    files = (Put(source="/batches/t/b.md", to="b/task.md"),)
    assert one.spec.workspace is not None
    assert one.spec.workspace.source == "/batches/repos/a"
    assert other.spec.workspace == Workspace(kind="worktree", source="/batches/repos/b", branch="v1", files=files)


def test_what_a_program_prints_works_in_directories_that_are_made_and_the_program_does_not() -> None:
    (program,) = toml("""
        [groups.T]
        expand = ["./more.py"]
        agent = "claude"
        cwd = { copy = "d" }
        files = [{ from = "a", to = "b" }]
    """).jobs
    assert (program.spec.cwd, program.spec.workspace) == ("/batches", None)
    told = {key: one for key, one in json.loads(program.spec.expand).items() if one}
    assert told == {
        "agent": "claude",
        "cwd": {"copy": "/batches/d"},
        "files": [{"from": "/batches/a", "to": "b"}],
    }
    (here,) = toml('[groups.T]\nexpand = ["./more.py"]\ncwd = "d"\nprompt_file = "p"\nagent = "claude"').jobs
    assert (here.spec.cwd, json.loads(here.spec.expand)["cwd"]) == ("/batches/d", "/batches/d")


def test_a_cell_says_a_table_as_json() -> None:
    text = 'command,cwd\n"[""make""]","{""copy"": ""d""}"\n'
    assert batch.from_csv(text, AROUND, {}).jobs[0].spec.workspace == Workspace(kind="copy", source="/batches/d")


def test_a_job_in_another_directory_inherits_no_files() -> None:
    head = '[defaults]\ncwd = { copy = "d" }\nfiles = [{ from = "a", to = "a" }]'
    assert job('command = ["ls"]\ncwd = "r"', head).spec.workspace is None
    kept = job('command = ["ls"]\ncwd = { copy = "e" }', head).spec.workspace
    assert kept is not None
    assert kept.files == (Put(source="/batches/a", to="a"),)


def test_what_asks_for_a_directory_is_a_part_of_the_name_of_a_job_without_one() -> None:
    names = {job(f'command = ["ls"]\ncwd = {{ copy = "{one}" }}').name for one in ("a", "b")}
    assert len(names) == 2


def test_a_spec_that_says_what_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError):
        spec_of('{"workspace":{"kind":"copy"}}', str)


WHERE = 'a path, or a table like { worktree = "REPOSITORY" }'
FILE = '{ from = "FILE", to = "PATH" }'
BAD = [
    ("cwd = 7", f"cwd: must be {WHERE}, not 7"),
    ("cwd = {}", "cwd: must say one of worktree, copy and clone"),
    ('cwd = { branch = "b" }', "cwd: must say one of worktree, copy and clone"),
    ('cwd = { copy = "a", clone = "b" }', "cwd: must say one of worktree, copy and clone, not copy and clone"),
    (
        'cwd = { work_tree = "a" }',
        "cwd.work_tree: unknown key; did you mean worktree?",
    ),
    ("cwd = { copy = 1 }", 'cwd.copy: must be text, not 1 (write "1")'),
    ('cwd = { copy = "a", branch = "b" }', "cwd.branch: is for a worktree or a clone, not for a copy"),
    ('cwd = { worktree = "a", branch = "b", commit = "c" }', "cwd: must say commit or branch, not both"),
    ('cwd = { worktree = "a", branch = "b..c" }', "cwd.branch: must be the name of a branch, not 'b..c'"),
    ('cwd = { worktree = "a", commit = "-f" }', "cwd.commit: must be a commit, as a hash or a tag, not '-f'"),
    ('cwd = { worktree = "~bob/a" }', "cwd.worktree: only ~ and ~/... stand for a home directory, not '~bob/a'"),
    ('cwd = { clone = "-u:x" }', "cwd.clone: must not begin with -"),
    (
        'cwd = { clone = "ftp://h/r" }',
        "cwd.clone: must be a path, HOST:PATH or a URL of https, http, ssh, git, file, not of ftp",
    ),
    *(
        (
            f'cwd = {{ clone = "{url}" }}',
            "cwd.clone: must not hold a user, password or token: git asks a credential helper for them",
        )
        for url in ("https://me:hush@h/r", "https://me@h/r", "ssh://me:hush@h/r", "ghp_0123456789abcdefghij@h:r")
    ),
    ("files = 7", "files: must be a list, not 7"),
    ('files = ["a"]', f"files[0]: must be a table like {FILE}, not 'a'"),
    ('files = [{ from = "a" }]', f"files[0]: must say from and to, as {FILE}; to is missing"),
    ('files = [{ from = "a", to = "b", at = 1 }]', "files[0].at: unknown key; known are from, to"),
    (
        'files = [{ from = "a", to = "b" }]',
        'files: needs a directory of the job\'s own: cwd = { copy = "DIR" } or the like',
    ),
]
PUT = 'cwd = { copy = "d" }\nfiles = [{ from = "a", to = "%s" }]'
BAD += [
    (PUT % to, f"files[0].to: must be a path below the job's directory, not '{to}'")
    for to in ("/etc/x", "../x", "a/../../x", "~/x", ".")
]
BAD += [
    (PUT % "a/.git/config", "files[0].to: must not lead into .git, not 'a/.git/config'"),
    (
        'cwd = { copy = "d" }\nfiles = [{ from = "a", to = "x" }, { from = "b", to = "./x" }]',
        "files[1].to: is said twice: 'x'",
    ),
]


@pytest.mark.parametrize(("text", "line"), BAD)
def test_a_mistake_is_one_line_that_names_the_key(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        toml(JOB + text)
    assert str(bad.value) == f"{X} {line}"


def test_what_a_template_has_become_is_looked_at_as_well() -> None:
    text = '[groups.T]\ncommand = ["ls"]\nmatrix = { u = ["https://a:b@c/d"] }\ncwd = { clone = "${{ u }}" }'
    with pytest.raises(BadInput, match=r"cwd\.clone: must not hold a user"):
        toml(text)
