"""The paper gateway as a process of its own, on a free port, for one client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.paper.wire.framing import SERVER_VERSION_MAX
from tests.clients.environments import ROOT

START_SECS = 20.0
STOP_SECS = 10.0
# Shares on offer at each price step: enough for the script's ordinary orders, not for its large one.
AVAILABLE_SIZE = 300
# Log lines of the gateway that mean that it and a client did not understand each other.
COMPLAINTS = ("fields too many", "not served", "dropped", "Traceback", "Error")


class GatewayNotStartedError(Exception):
    """The gateway did not come up; the text is its log."""


class Gateway:
    """A running gateway and what it logs."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.port = port
        self._process = process
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._drain = threading.Thread(target=self._read, daemon=True)
        self._drain.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line.rstrip())
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_until_listening(self) -> None:
        """Wait for its log line.

        Raises:
            GatewayNotStartedError: It ended, or did not come up in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._listens() or self._process.poll() is not None, START_SECS)
        if not self._listens():
            raise GatewayNotStartedError("the gateway did not start:\n" + "\n".join(self._lines))

    def _listens(self) -> bool:
        return any(f"listening on 127.0.0.1:{self.port}" in line for line in self._lines)

    def complaints(self) -> list[str]:
        """Return the log lines that should not be there."""
        return [line for line in self._lines if any(word in line for word in COMPLAINTS)]

    def stop(self) -> None:
        """End it, and read its log to the end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECS)
        self._drain.join(STOP_SECS)
        if self._process.stderr is not None:
            self._process.stderr.close()


@contextmanager
def running_gateway(home: Path, server_max: int) -> Iterator[Gateway]:
    """Run a gateway that fills large orders in pieces, without the pacing rule.

    The script is played faster than a real gateway would take it.

    Args:
        home: Folder for its files.
        server_max: The newest version that it speaks.
    """
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
    environment |= {
        "ORDERFUSE_HOME": str(home),
        "ORDERFUSE_PAPER__PORT": str(port),
        "ORDERFUSE_PAPER__MESSAGES_PER_SECOND": "0",
        "ORDERFUSE_PAPER__AVAILABLE_SIZE": str(AVAILABLE_SIZE),
    }
    command = [sys.executable, "-m", "services.paper"]
    if server_max != SERVER_VERSION_MAX:
        command = [sys.executable, "-m", "tests.clients.older_gateway", str(server_max)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    gateway = Gateway(process, port)
    try:
        gateway.wait_until_listening()
        yield gateway
    finally:
        gateway.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
