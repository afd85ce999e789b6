"""The real services as processes of their own, and the certainty that they end with the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ("paper", "executor", "breaker")
# They end in a fraction of a second; whoever takes longer than this hangs, and is killed.
END_TIMEOUT_S = 5.0
# Waits for the end of its input, which comes with the end of the demo, kill -9 included; then ends its process group.
GUARD = "trap '' INT TERM HUP; cat >/dev/null; kill -KILL 0"


class Pipeline:
    """Paper gateway, executor and breaker in one process group, each with a log in `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start everything. They take their settings from this process's environment.

        Raises:
            OSError: a process cannot be started.
        """
        # A group of their own, so that ctrl-C reaches the demo alone, which then ends them.
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        for name in SERVICES:
            with (self.home / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, "-m", f"services.{name}"],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=self._guard.pid,
                )

    def ended(self) -> str:
        """Which process has ended though nobody asked it to, and its last words; empty: none."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                lines = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
                return f"{name} has ended with exit code {process.returncode}: {lines[-1] if lines else 'no word'}"
        return ""

    def stop(self) -> None:
        """End everything, and return when it is gone."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
