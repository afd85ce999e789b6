"""The `orderfuse` command as tests run it: in this process, as a process of its own, and on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any, Self

from typer.testing import CliRunner, Result

from orderfuse.cli.commands import app
from orderfuse.settings import Settings
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker
from tests.states import Fields

# Written out: what they are is a promise to scripts.
DONE, REFUSED, USAGE, NOTHING_ANSWERS = 0, 1, 2, 3
COMMAND = [sys.executable, "-W", "error", "-m", "orderfuse.cli"]


def run(home: Path, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), *words], input=typed)


def environment(**changes: str) -> dict[str, str]:
    """What a person's shell would give, and nothing of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8", **changes}


def process(home: Path, *words: str, before: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; `before` is what the shell has in front of it."""
    usual: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": environment(),
    }
    command = [*before, *COMMAND, "--home", str(home), *words]
    return subprocess.run(command, text=True, timeout=DEADLINE_S, **(usual | options))


def unread(home: Path, *words: str) -> tuple[int, str]:
    """The command as a process whose output nobody reads: its exit code, and what it says on stderr."""
    with subprocess.Popen(
        [*COMMAND, "--home", str(home), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        # Gone before the first line is written, whatever is buffered where.
        command.stdout.close()
        said = command.stderr.read()
        return command.wait(DEADLINE_S), said


class Answering(WireBreaker):
    """Answers each op as told."""

    def __init__(self, settings: Settings, **replies: Fields) -> None:
        self.replies = replies
        super().__init__(settings)

    def _reply(self, request: Fields) -> Fields:
        return self.replies.get(request["op"]) or super()._reply(request)

    def asked(self, op: str) -> list[Fields]:
        return [request for request in self.requests if request["op"] == op]


class Terminal:
    """The command on a terminal of a given size; what it wrote is in `seen`."""

    def __init__(self, home: Path, *words: str, columns: int = 100, lines: int = 40, **variables: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            [*COMMAND, "--home", str(home), *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(**variables),
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)
        os.close(self._master)

    def wait_for(self, words: str) -> None:
        """Read until the terminal shows these words."""
        deadline = time.monotonic() + DEADLINE_S
        while words not in self.seen:
            assert time.monotonic() < deadline, f"{words!r} not in {self.seen}"
            assert self._read(), f"it ended without {words!r}: {self.seen}"

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def ctrl_c_at_a_question(self) -> int:
        """Press ctrl-C, and again as a person does where Python was just about to read and takes no notice."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self.ctrl_c()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
                break
        return self.end()

    def end(self) -> int:
        """Read all until it ends; its exit code."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_S)

    def _read(self) -> bool:
        # Not select(), which takes no descriptor past 1023: a process that runs many tests may have as many open.
        waiting = select.poll()
        waiting.register(self._master, select.POLLIN)
        if not waiting.poll(DEADLINE_S * 1000):
            raise AssertionError(f"nothing more comes after: {self.seen}")
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            # What a terminal says when its program is gone.
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


CIRCUIT = {
    "scope": "system",
    "state": "OPEN",
    "reason": "5 failures [in] a\x1b[31m row",
    "failures": 5,
    "retry_at": "2025-01-06T14:35:00+00:00",
    "latched": True,
    "conditions": ["margin_low"],
    "trading_allowed": False,
}
STATUS = {
    "circuits": [CIRCUIT],
    "executor": {"present": True, "account": "DU0000000", "lease_ms": 500},
    "gateway": {"connected": True, "host": "127.0.0.1", "port": 4010},
    "orders_out": 2,
    "unknown": ["o-7"],
    "queued": 3,
    "version": "0.1.0",
}
