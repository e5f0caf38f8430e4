"""A small agent that behaves like claude 2.1.330 in `-p` mode, with an account that runs out and resets.

    python -m tidegate.examples.demo_agent -p "say hello" --output-format stream-json --verbose --account DIR

It prints the lines, the texts and the exit codes of the real CLI at a usage limit, so the same reader reads it. Its
work is `--steps` steps; a session remembers how many are done, and `--resume` goes on with the next. Each step takes
one from the allowance of the account, a directory that any number of these agents share.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TYPE_CHECKING = False  # dataclasses and typing are a third of a start, and batches start hundreds of these
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

MODEL = "demo-1"
PRICE = 0.01  # dollars a step
NOTHING: Json = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
STEP: Json = {**NOTHING, "input_tokens": 1200, "output_tokens": 240, "service_tier": "standard"}


def main() -> int:
    """Do the steps that are left; 0 when all are done, 1 at a limit or a bad command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    args = parsed()
    if args.output_format == "stream-json" and not args.verbose:
        return refused("Error: When using --print, --output-format=stream-json requires --verbose")
    prompt = args.prompt if args.prompt is not None else sys.stdin.buffer.read().decode(errors="replace").strip()
    if not prompt:
        return refused("Error: Input must be provided either through stdin or as a prompt argument when using --print")
    account = Account(owned(Path(args.account).expanduser()), args.allowance, args.reset_after)
    session = opened(owned(account.folder / "sessions"), args.resume, args.session_id, prompt)
    if isinstance(session, str):
        return refused(session)
    talk = Talk(session, stream=args.output_format == "stream-json")
    return talk.work(account, args.steps, args.step_seconds)


def parsed() -> argparse.Namespace:
    """The command line; DEMO_* variables stand in for what it leaves out."""
    own = os.environ.get
    at_home = f"{own('XDG_STATE_HOME') or '~/.local/state'}/tidegate-demo-account"
    parser = argparse.ArgumentParser(prog="demo_agent", allow_abbrev=False, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("prompt", nargs="?", help="read from stdin where it is absent")
    parser.add_argument("-p", "--print", action="store_true", help="accepted: there is no other mode")
    parser.add_argument("--output-format", choices=["text", "stream-json"], default="text")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--model", default=MODEL)
    for flag in ("--append-system-prompt", "--append-system-prompt-file", "--permission-mode", "--max-turns"):
        parser.add_argument(flag, help="accepted, and changes nothing")
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--session-id", metavar="UUID", help="begin a conversation under this id")
    known.add_argument("--resume", metavar="UUID", help="go on with this conversation")
    parser.add_argument("--account", metavar="DIR", default=own("DEMO_ACCOUNT") or at_home)
    parser.add_argument("--steps", type=int, default=own("DEMO_STEPS", "4"), help="what a job takes")
    parser.add_argument("--step-seconds", type=float, default=own("DEMO_STEP_SECONDS", "0.7"))
    parser.add_argument("--allowance", type=int, default=own("DEMO_ALLOWANCE", "26"), help="steps in each window")
    parser.add_argument("--reset-after", type=float, default=own("DEMO_RESET_AFTER", "15"), help="seconds")
    return parser.parse_args()


def refused(words: str) -> int:
    """Tell on stderr why nothing was begun."""
    print(words, file=sys.stderr)
    return 1


# --- the conversation --------------------------------------------------------------------------


class Session:
    """A conversation on disk: what was asked first, and how many steps are done."""

    def __init__(self, id: str, file: Path, prompt: str) -> None:
        self.id = id
        self.file = file
        self.prompt = prompt
        self.done = 0

    def save(self) -> None:
        """Write it, whole or not at all."""
        replace_file(self.file, {"session_id": self.id, "prompt": self.prompt, "done": self.done})


def opened(folder: Path, resume: str | None, new: str | None, prompt: str) -> Session | str:
    """The session to work in, or the words that say why there is none; `prompt` begins a new one."""
    try:
        id = str(uuid.UUID(resume or new or uuid.uuid4().hex))
    except ValueError:
        return "Error: Invalid session ID. Must be a valid UUID."
    session = Session(id, folder / f"{id}.json", prompt)
    if resume:
        return known(session)
    try:
        os.close(os.open(session.file, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return f"Error: Session ID {id} is already in use."
    session.save()
    return session


def known(session: Session) -> Session | str:
    """The session as it was left."""
    try:
        left = json.loads(session.file.read_text())
    except (FileNotFoundError, ValueError):
        return f"No conversation found with session ID: {session.id}"
    session.prompt, session.done = left["prompt"], left["done"]
    return session


# --- the account that all these agents share ---------------------------------------------------


class Account:
    """An allowance of steps in each window; the window resets `reset_after` seconds after it was found used up."""

    def __init__(self, folder: Path, allowance: int, reset_after: float) -> None:
        self.folder = folder
        self.allowance = allowance
        self.reset_after = reset_after

    def take(self, now: float) -> Json:
        """Take one step; the `rate_limit_info` that the provider would answer with, `status` "rejected" for no."""
        with self._alone():
            state = self._state(now)
            if state["used"] < self.allowance:
                state["used"] += 1
            elif state["resets_at"] is None:
                state["resets_at"] = math.ceil(now + self.reset_after)
            replace_file(self.folder / "account.json", state)
        return self._told(state["used"], state["resets_at"])

    def _state(self, now: float) -> Json:
        new: Json = {"used": 0, "resets_at": None}
        file = self.folder / "account.json"
        state: Json = json.loads(file.read_text()) if file.exists() else new
        return new if state["resets_at"] is not None and now >= state["resets_at"] else state

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self.folder / "account.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _told(self, used: int, resets_at: int | None) -> Json:
        part = round(used / self.allowance, 2) if self.allowance else 1
        if resets_at is not None:
            return {"status": "rejected", "resetsAt": resets_at, "rateLimitType": "five_hour", "isUsingOverage": False}
        info = {"status": "allowed", "rateLimitType": "five_hour", "utilization": part, "isUsingOverage": False}
        return {**info, "status": "allowed_warning"} if part >= 0.9 else info


def owned(folder: Path) -> Path:
    """The folder, made for its owner alone where it is missing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def replace_file(file: Path, content: Json) -> None:
    """Write a file whole or not at all, for its owner alone."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        json.dump(content, out)
    draft.replace(file)


# --- what is printed ---------------------------------------------------------------------------


class Talk:
    """One run: does the steps and prints what claude prints."""

    def __init__(self, session: Session, *, stream: bool) -> None:
        self.session = session
        self.stream = stream
        self.turns = 0
        self.began = 0.0

    def work(self, account: Account, steps: int, seconds: float) -> int:
        """Do what is left of `steps`, at least one; the exit code."""
        self.began = time.monotonic()
        self.line(INIT | {"cwd": str(Path.cwd())})
        prompt = self.session.prompt[:80]
        last = max(steps, self.session.done + 1)
        while self.session.done < last:
            info = account.take(time.time())
            if info["status"] == "rejected":
                return self.limited(info)
            time.sleep(seconds)
            self.step(f"Step {self.session.done + 1} of {last} is done: {prompt}", info)
        return self.finished(f"All {last} steps are done: {prompt}")

    def step(self, text: str, info: Json) -> None:
        """One answer of the model, and the session as it is then."""
        self.turns += 1
        self.session.done += 1
        self.session.save()
        self.line({"type": "assistant", "message": message(MODEL, text, STEP), "parent_tool_use_id": None})
        if self.turns == 1:
            self.line({"type": "rate_limit_event", "rate_limit_info": info})

    def limited(self, info: Json) -> int:
        """The limit, as the provider's event, as the CLI's own words and as the result."""
        text = f"You've hit your 5-hour limit · resets {clock(info['resetsAt'])}"
        error = {"api_error_status": 429, "api_error_type": "rate_limit_error", "api_error": "usage_limit_reached"}
        synthetic = message("<synthetic>", text, NOTHING) | {"stop_reason": "stop_sequence", "stop_sequence": ""}
        self.line({"type": "rate_limit_event", "rate_limit_info": info})
        marks = {"error": "rate_limit", "is_api_error_message": True}
        self.line({"type": "assistant", "message": synthetic} | marks | error)
        ends = {"is_error": True, "stop_reason": "stop_sequence", "terminal_reason": "api_error", "result": text}
        self.result(ends | error)
        return 1

    def finished(self, text: str) -> int:
        """The result of a success."""
        ends = {"is_error": False, "stop_reason": "end_turn", "terminal_reason": "completed", "result": text}
        self.result(ends | {"api_error_status": None})
        return 0

    def result(self, ends: Json) -> None:
        """The last line; its cost is that of the whole session, its usage that of this run."""
        taken = round((time.monotonic() - self.began) * 1000)
        facts = {
            "type": "result",
            "subtype": "success",  # also where is_error is true
            "duration_ms": taken,
            "duration_api_ms": taken,
            "num_turns": self.turns,
            "total_cost_usd": round(self.session.done * PRICE, 6),
            "usage": STEP | {name: STEP[name] * self.turns for name in NOTHING},
            "permission_denials": [],
        }
        self.line(facts | ends)
        if not self.stream:
            say(ends["result"])

    def line(self, what: Json) -> None:
        """One line of stream-json."""
        if self.stream:
            known = what | {"session_id": self.session.id, "uuid": str(uuid.uuid4())}
            say(json.dumps(known, ensure_ascii=False, separators=(",", ":")))


def say(text: str) -> None:
    """One line on stdout, at once, in UTF-8 whatever the locale."""
    sys.stdout.buffer.write(f"{text}\n".encode(errors="replace"))
    sys.stdout.buffer.flush()


INIT: Json = {
    "type": "system",
    "subtype": "init",
    "tools": ["Bash"],
    "mcp_servers": [],
    "model": MODEL,
    "permissionMode": "default",
    "apiKeySource": "none",
    "claude_code_version": "2.1.330",
}


def message(model: str, text: str, usage: Json) -> Json:
    """An assistant's message with one text."""
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def clock(epoch: int) -> str:
    """A time today as claude prints it, floored to the minute, in the zone of TZ: "9:30am (UTC)", "5pm (UTC)"."""
    from datetime import datetime  # noqa: PLC0415 - needed only at a limit, and a start is to be quick
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        zone = ZoneInfo(os.environ.get("TZ") or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    at = datetime.fromtimestamp(epoch, zone)
    minutes = f":{at.minute:02}" if at.minute else ""
    return f"{at.hour % 12 or 12}{minutes}{'am' if at.hour < 12 else 'pm'} ({zone.key})"


if __name__ == "__main__":
    sys.exit(main())
