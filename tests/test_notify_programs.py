"""The programs of deploy/notify, each against what it talks to: an HTTP server, a sendmail, a notify-send."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from installed import Json, Tidegate

PROGRAMS = Path(__file__).parents[1] / "deploy" / "notify"


@contextmanager
def server(status: int = 200) -> Iterator[tuple[str, list[tuple[str | None, Json]]]]:
    """An ntfy on this machine: its address, and the posts that it has got, each with its authorization."""
    got: list[tuple[str | None, Json]] = []

    class Ntfy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called there
            pass

    with HTTPServer(("127.0.0.1", 0), Ntfy) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", got
        finally:
            http.shutdown()
            thread.join()


def configured(tidegate: Tidegate, *command: object) -> None:
    said = json.dumps([str(one) for one in command])
    (tidegate.place / "config.toml").write_text(f"[notify]\ncommand = {said}\n")
    tidegate.env["TIDEGATE_CONFIG"] = "config.toml"
    tidegate.env["PATH"] = f"{tidegate.place}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"


def fake(tidegate: Tidegate, name: str, script: str) -> None:
    program = tidegate.place / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


def test_ntfy_posts_the_sentence_with_its_priority(tidegate: Tidegate) -> None:
    (tidegate.place / "token").write_text("tk_secret\n")
    with server() as (address, got):
        configured(tidegate, PROGRAMS / "ntfy", f"{address}/my-topic", tidegate.place / "token")
        assert tidegate("notify", "needs_human").returncode == 0
        configured(tidegate, PROGRAMS / "ntfy", f"{address}/my-topic")
        assert tidegate("notify", "finished").returncode == 0
    (allowed, first), (nobody, second) = got
    assert (allowed, nobody) == ("Bearer tk_secret", None)
    assert (first["topic"], first["priority"], second["priority"]) == ("my-topic", 5, 3)
    assert first["message"] == "claude needs a person: not logged in"
    assert first["title"] == f"tidegate on {os.uname().nodename}"


def test_an_ntfy_that_refuses_or_is_not_there_is_one_line(tidegate: Tidegate) -> None:
    with server(403) as (address, _):
        configured(tidegate, PROGRAMS / "ntfy", f"{address}/my-topic")
        done = tidegate("notify")
    assert (done.returncode, done.stderr) == (5, "tidegate: not told: exit 1: ntfy: HTTP Error 403: Forbidden\n")
    done = tidegate("notify")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "Connection refused" in done.stderr


def test_mail_hands_a_whole_message_to_sendmail(tidegate: Tidegate) -> None:
    fake(tidegate, "sendmail", f'echo "$*" > {tidegate.place}/args; cat > {tidegate.place}/mail')
    configured(tidegate, PROGRAMS / "mail", "me@example.org")
    done = tidegate("notify", "hold")
    assert done.returncode == 0, done.stderr
    assert (tidegate.place / "args").read_text() == "-t -oi\n"
    mail = message_from_bytes((tidegate.place / "mail").read_bytes(), policy=policy.default)
    assert mail["To"] == "me@example.org"
    assert str(mail["Subject"]).startswith("[tidegate] claude is shut until ")
    text = mail.get_content()
    assert "evidence: You've hit your 5-hour limit" in text
    assert str(tidegate.state) in text


def test_a_sendmail_that_fails_is_told(tidegate: Tidegate) -> None:
    fake(tidegate, "sendmail", "echo no such user >&2; exit 67")
    configured(tidegate, PROGRAMS / "mail", "me@example.org")
    done = tidegate("notify")
    assert (done.returncode, done.stderr) == (5, "tidegate: not told: exit 67: no such user\n")


def test_the_desktop_shows_a_text_that_is_no_markup(tidegate: Tidegate) -> None:
    fake(tidegate, "notify-send", f'for one; do printf "%s\\n" "$one"; done > {tidegate.place}/args')
    configured(tidegate, PROGRAMS / "desktop")
    assert tidegate("notify", "error").returncode == 0
    assert (tidegate.place / "args").read_text().splitlines() == [
        "--app-name=tidegate",
        "--urgency=critical",
        "--",
        f"tidegate on {os.uname().nodename}",
        "job sample:train/3 ended without a result: a sample",
    ]
    batch = tidegate.batch(
        json.dumps({"batch": {"name": "a <b> & c"}}) + '\n{"id":"x","command":["true"]}\n', "b.jsonl"
    )
    assert tidegate("run", batch).returncode == 0
    assert "batch a &lt;b&gt; &amp; c has finished: 1 succeeded" in (tidegate.place / "args").read_text()
