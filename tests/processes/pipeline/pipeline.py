"""The whole pipeline as real processes in a home of its own, on ports of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
# What an order passes through. The strategies are programs of the tests.
SERVICES = ("paper", "executor", "breaker")
# Any single step of the line takes milliseconds; this long means that it hangs.
DEADLINE_SECS = 30.0


def wait_until(holds: Callable[[], Any], what: str, secs: float = DEADLINE_SECS) -> Any:
    """Wait for something that is true of the outside world; fail with `what` at the deadline."""
    deadline = time.monotonic() + secs
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"after {secs} s still not: {what}")
        time.sleep(0.01)


class Pipeline:
    """Processes of the Procfile, by name. `wire_record` is what the paper gateway saw and said."""

    def __init__(self, **settings: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="of-"))
        self.wire_record = self.home / "wire.jsonl"
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")},
            "ORDERFUSE_HOME": str(self.home),
            "ORDERFUSE_PAPER__PORT": str(self.port),
            "ORDERFUSE_PAPER__WIRE_RECORD": str(self.wire_record),
            "ORDERFUSE_IB__PORT": str(self.port),
            **settings,
        }

    def start(self, *names: str, crash_at: str = "") -> None:
        for name in names:
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", f"services.{name}"],
                    cwd=ROOT,
                    env={**self.env, **({"ORDERFUSE_CRASH_AT": crash_at} if crash_at else {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """End a process and wait until it is gone; returns its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(timeout=DEADLINE_SECS)

    def end(self, name: str) -> int:
        """Ask a process to end, as honcho does; returns its exit code."""
        return self.kill(name, signal.SIGTERM)

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)

    def log(self, name: str) -> str:
        path = self.home / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def command(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run `orderfuse ...` as a person would."""
        return subprocess.run(
            [sys.executable, "-m", "orderfuse.cli", *shlex.split(line)],
            cwd=self.home,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECS,
        )

    def at_the_wire(self, message: str, **fields: str) -> list[dict[str, Any]]:
        """What the gateway received of this message, decoded."""
        if not self.wire_record.exists():
            return []
        found = []
        # What stands behind the last end of a line is being written.
        for line in self.wire_record.read_text().rpartition("\n")[0].splitlines():
            entry = json.loads(line)
            if (
                entry["dir"] == "in"
                and entry["message"] == message
                and all(str(entry["fields"].get(name)) == value for name, value in fields.items())
            ):
                found.append(entry)
        return found

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=DEADLINE_SECS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        shutil.rmtree(self.home)


@contextmanager
def running(*names: str, **settings: str) -> Iterator[Pipeline]:
    """A pipeline that is stopped and removed in the end; its logs are printed, for when the test fails."""
    pipeline = Pipeline(**settings)
    try:
        pipeline.start(*names)
        yield pipeline
    finally:
        try:
            for name in ("paper", "executor", "breaker", "monitor", "strategy"):
                sys.stdout.write(f"--- {name}\n{pipeline.log(name)}")
        finally:
            # Also if whoever read the output is gone.
            pipeline.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
