"""Batch files as they lie on a disk or come through a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tidegate import allowed, batch, files
from tidegate.cli.templates import KNOWN
from tidegate.errors import BadInput

JOB = '[[job]]\nid = "x"\ncommand = ["true"]\n'
READ = """
import sys
from tidegate import files
told = files.read_batch(sys.argv[1], agents=["claude"], recognise=lambda argv: "command", has_limits=lambda agent: True)
print(told.name, told.jobs[0].name, told.jobs[0].spec.cwd)
"""


def read(file: object) -> batch.Expanded:
    return files.read_batch(
        str(file), agents=["claude"], recognise=lambda argv: "command", has_limits=lambda agent: True
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(file: object) -> str:
    with pytest.raises(BadInput) as bad:
        read(file)
    return str(bad.value)


def test_a_batch_file_is_known_by_its_absolute_path_and_its_jobs_work_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "b.toml", f'{JOB}cwd = "repo"')
    monkeypatch.chdir(tmp_path)
    told = read("sub/b.toml")
    assert told.name == f"{tmp_path}/sub/b.toml"
    assert told.jobs[0].spec.cwd == f"{tmp_path}/sub/repo"


@pytest.mark.parametrize("name", ["b.jsonl", "b.ndjson", "b.json", "b", "b.txt"])
def test_a_text_that_begins_with_a_brace_is_jsonl(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / name, '{"id": "x", "command": ["true"]}\n')).jobs[0].name == "x"


@pytest.mark.parametrize("name", ["b.toml", "B.TOML", "b", "b.conf"])
def test_any_other_text_is_toml(tmp_path: Path, name: str) -> None:
    assert read(write(tmp_path / name, JOB)).jobs[0].name == "x"


@pytest.mark.parametrize("content", ["\ufeff" + JOB, JOB.replace("\n", "\r\n")], ids=["mark", "crlf"])
def test_a_file_from_another_system_reads_the_same(tmp_path: Path, content: str) -> None:
    assert read(write(tmp_path / "b.toml", content)).jobs[0].name == "x"


def test_standard_input_is_read_from_the_present_directory_and_named_by_its_jobs(tmp_path: Path) -> None:
    def piped(text: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", READ, "-"], input=text, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    name, job, cwd = piped('{"id": "x", "command": ["true"]}\n')
    assert (job, cwd) == ("x", str(tmp_path))
    assert piped(json.dumps({"command": ["true"], "id": "x"}))[0] == name
    assert piped(JOB)[0] == name, "TOML does too"
    assert piped('{"batch": {"name": "mine"}}\n{"id": "x", "command": ["true"]}')[0] == "mine"


def test_a_pipe_with_a_path_is_a_pipe_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `tidegate run <(generate)`."""
    fifo = tmp_path / "63"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_text, args=[JOB])
    writer.start()
    monkeypatch.chdir(tmp_path.parent)
    told = read(fifo)
    writer.join()
    assert told.name.startswith("stdin-")
    assert told.jobs[0].spec.cwd == str(tmp_path.parent)


def test_what_cannot_be_read_is_one_line_with_the_name_of_the_file(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert refused(gone) == f"{gone}: cannot read it: No such file or directory"
    assert refused(tmp_path) == f"{tmp_path}: cannot read it: Is a directory"
    assert refused("a\0b") == "'a\\x00b': cannot read it: embedded null byte"
    assert refused("/dev/null") == "/dev/null: no jobs: nothing to do"
    assert refused(write(tmp_path / "b.tsv", "id")) == (
        f"{tmp_path}/b.tsv: a batch is TOML, YAML, JSONL, CSV or lines, not .tsv (or say --format)"
    )
    assert (
        refused(write(tmp_path / "b.toml", b"[batch]\nname = '\xff'")) == f"{tmp_path}/b.toml: line 2: not UTF-8 text"
    )


def test_a_name_that_would_forge_a_line_is_shown_quoted(tmp_path: Path) -> None:
    assert refused("a\nb.toml") == "'a\\nb.toml': cannot read it: No such file or directory"


def prompted(tmp_path: Path) -> str:
    return refused(write(tmp_path / "b.toml", '[[job]]\nid = "x"\nagent = "claude"\nprompt_file = "p"\n'))


def test_a_prompt_file_that_cannot_be_read_is_one_line_with_the_job(tmp_path: Path) -> None:
    place = f'{tmp_path}/b.toml: [[job]] 1 ("x") prompt_file: '
    assert prompted(tmp_path) == f"{place}cannot read 'p' ({tmp_path}/p): No such file or directory"
    (tmp_path / "p").mkdir()
    assert prompted(tmp_path) == f"{place}cannot read 'p' ({tmp_path}/p): Is a directory"
    (tmp_path / "p").rmdir()
    os.mkfifo(tmp_path / "p")
    assert prompted(tmp_path) == f"{place}'p' ({tmp_path}/p): must be a regular file"
    (tmp_path / "p").unlink()
    write(tmp_path / "p", b"\xff")
    assert prompted(tmp_path) == f"{place}'p' ({tmp_path}/p): must be UTF-8 text"
    write(tmp_path / "p", b"a" * (allowed.TEXT_MOST + 1))
    assert prompted(tmp_path) == f"{place}'p' ({tmp_path}/p): must be at most 8,388,608 bytes"


def test_a_prompt_file_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "p", "Fix it.\n\n  Now.\n")
    write(tmp_path / "b.toml", '[[job]]\nagent = "claude"\nprompt_file = "p"\n')
    assert read(tmp_path / "b.toml").jobs[0].spec.prompt == "Fix it.\n\n  Now.\n"


EXAMPLES = [name for name in KNOWN if name != "config"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_shipped_examples_are_good(name: str, tmp_path: Path) -> None:
    chosen, shipped = KNOWN[name], Path(files.__file__).parent / "examples"
    texts = {file: (shipped / text).read_bytes() for file, text in chosen.files.items()}
    for file, text in (texts | {file: text.encode() for file, text in chosen.texts.items()}).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / file, text)
    told = files.read_batch(
        str(tmp_path / f"{name}.toml"),
        agents=["claude", "codex", "gemini", "demo"],
        recognise=lambda argv: "command",
        has_limits=lambda agent: agent != "command",
    )
    assert told.name == name
    assert len(told.jobs) > 3


def test_there_are_shipped_examples() -> None:
    assert {f"{name}.toml" for name in KNOWN} == {
        path.name for path in (Path(files.__file__).parent / "examples").glob("*.toml")
    }
