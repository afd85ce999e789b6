"""Connections that are each of another process: what one does too much of is refused to it alone.

`python -m tests.campaigns.fuzz.dialer DESCRIPTOR` connects where it is told, each time in a child of its own, and hands
over the connection. The system tells the other end who has connected, not who has it now.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.processes.pipeline.pipeline import ROOT


class Dialer:
    """Connects for somebody else."""

    def __init__(self) -> None:
        self._line, other = socket.socketpair(socket.AF_UNIX)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaigns.fuzz.dialer", str(other.fileno())],
                cwd=ROOT,
                pass_fds=[other.fileno()],
            )

    def connect(self, path: Path) -> socket.socket:
        """A new connection.

        Raises:
            BlockingIOError: more wait to be accepted than the system lets wait.
            OSError: nobody is there.
        """
        self._line.send(str(path).encode())
        said, descriptors, _, _ = socket.recv_fds(self._line, 64, 1)
        if not descriptors:
            raise OSError(int(said), os.strerror(int(said)))
        return socket.socket(fileno=descriptors[0])

    def close(self) -> None:
        """End it; what it has connected stays."""
        self._line.close()
        self._process.wait()


def _answer(line: socket.socket, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setblocking(False)
        try:
            peer.connect(path)
        except OSError as error:
            line.send(str(error.errno).encode())
        else:
            socket.send_fds(line, [b"0"], [peer.fileno()])


def _serve(line: socket.socket) -> None:
    while path := line.recv(4096):
        child = os.fork()
        if child == 0:
            _answer(line, path.decode())
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
