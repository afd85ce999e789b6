"""A service as a process of its own, and what it logs."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from tests.processes.orderfuse.wire import DEADLINE_S

ROOT = Path(__file__).parents[3]


class Service:
    """`python -m services.<name>` with a home of its own."""

    def __init__(self, name: str, home: Path) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ORDERFUSE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", f"services.{name}"],
            cwd=ROOT,
            env={**environ, "ORDERFUSE_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._coming: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._coming.put(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def wait_for(self, words: str) -> str:
        """The first line from here on that has these words."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{words!r} not in {self.lines}"
            try:
                self.lines.append(self._coming.get(timeout=left_s))
            except queue.Empty:
                continue
            if words in self.lines[-1]:
                return self.lines[-1]

    def said(self, words: str) -> int:
        """In how many lines so far."""
        return sum(words in line for line in self.lines)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self._process.send_signal(number)
        code = self._process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        while not self._coming.empty():
            self.lines.append(self._coming.get())
        return code
