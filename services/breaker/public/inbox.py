"""What comes by a link, message by message, as long as messages are of a few frames.

ZeroMQ bounds how large a frame is and how many messages wait, and not how many frames a message has. One of a million
empty frames has two megabytes, and to take it as one message held up everything for seconds. So messages are read frame
by frame; whoever sends more than any message of ours has is named, and the rest of his is thrown away in pieces.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import zmq

# The longest is a request that came over several hops, with an envelope of 8; see `loop.MAX_ENVELOPE_FRAMES`.
MOST_FRAMES = 16
# What the rest of such a message may take of each turn; others cannot be read before its end.
SKIP_SECS = 0.005


@dataclass(frozen=True, slots=True)
class Origin:
    """Who has sent a frame, as far as libzmq tells: the connection's descriptor, and the process (Linux; else None)."""

    descriptor: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Received:
    """A message. `sender`: the program that has sent it; empty where the system does not tell."""

    frames: list[bytes]
    sender: str


class Inbox:
    """The reading end of a link.

    Args:
        socket: it.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._skips = False
        self._endless: list[Origin] = []
        self._spoke: set[int] = set()

    def take(self, most: int, secs: float = math.inf) -> Iterator[Received]:
        """What has come, at most so many, for so long at most."""
        deadline = time.monotonic() + secs
        try:
            for _ in range(most):
                if self._skips and not self._skip():
                    return
                received = self._receive()
                if received is not None:
                    yield received
                if time.monotonic() >= deadline:
                    return
        except zmq.Again:
            return

    def take_endless(self) -> list[Origin]:
        """Who has sent a message of too many frames since the last call."""
        endless, self._endless = self._endless, []
        return endless

    def take_speakers(self) -> set[int]:
        """The descriptors of the connections by which whole messages have come since the last call."""
        spoke, self._spoke = self._spoke, set()
        return spoke

    def _receive(self) -> Received | None:
        frames = [self._socket.recv(zmq.NOBLOCK, copy=False)]
        while frames[-1].more:
            if len(frames) == MOST_FRAMES:
                self._skips = True
                origin = origin_of(frames[-1])
                if origin is not None:
                    self._endless.append(origin)
                return None
            frames.append(self._socket.recv(zmq.NOBLOCK, copy=False))
        origin = origin_of(frames[-1])
        if origin is None:
            return Received([frame.bytes for frame in frames], "")
        self._spoke.add(origin.descriptor)
        return Received([frame.bytes for frame in frames], f"pid {origin.pid}" if origin.pid else "")

    def _skip(self) -> bool:
        """Throw away the rest of a message; whether it is over."""
        deadline = time.monotonic() + SKIP_SECS
        while time.monotonic() < deadline:
            # Its end is here already: libzmq hands out nothing of a message before.
            for _ in range(64):
                self._socket.recv(zmq.NOBLOCK)
                if not self._socket.getsockopt(zmq.RCVMORE):
                    self._skips = False
                    return True
        return False


def origin_of(frame: zmq.Frame) -> Origin | None:
    """Who has sent this, see zmq_msg_get(3); None: libzmq has made it itself."""
    try:
        return Origin(int(frame.get(zmq.SRCFD)), _pid_of(frame))
    except zmq.ZMQError:
        return None


def _pid_of(frame: zmq.Frame) -> int | None:
    """The process that has sent this, see zmq_msg_gets(3): on ipc `localhost:`, user, group, and on Linux the pid."""
    try:
        address = str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return None
    pid = address.rpartition(":")[2]
    return int(pid) or None if pid.isdigit() else None
