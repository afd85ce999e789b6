"""What libzmq tells of the connections of a socket: who came, who left."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import zmq

from services.breaker.public import peers


@dataclass(frozen=True, slots=True)
class Happening:
    """A connection has come, or has ended.

    Attributes:
        came: it has come.
        descriptor: which one.
        endpoint: that of its listener.
        pid: the process at the other end of one that has come; None: it is not known.
    """

    came: bool
    descriptor: int
    endpoint: str
    pid: int | None


class Monitor:
    """The comings and goings at one socket, in order. For one thread at a time.

    Args:
        socket: whose.
        name: of no other monitor.
    """

    def __init__(self, context: zmq.Context[Any], socket: zmq.Socket[bytes], name: str) -> None:
        self._watched = socket
        self._own_pid = os.getpid()
        self.end = context.socket(zmq.PAIR)
        # Without a bound: ZeroMQ's thread would wait for us while it is full.
        self.end.setsockopt(zmq.RCVHWM, 0)
        socket.monitor(f"inproc://{name}.monitor", zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self.end.connect(f"inproc://{name}.monitor")

    def read(self) -> Iterator[Happening]:
        """What has happened since."""
        while True:
            try:
                event, endpoint = self.end.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            kind, descriptor = struct.unpack("=HI", event)
            came = kind == zmq.EVENT_ACCEPTED
            yield Happening(came, descriptor, endpoint.decode(), self._pid_of(descriptor) if came else None)

    def _pid_of(self, descriptor: int) -> int | None:
        # One that has left at once may have given its number to a listener of ours.
        pid = peers.pid_of(descriptor)
        return None if pid == self._own_pid else pid

    def close(self) -> None:
        """Hear no more."""
        self._watched.disable_monitor()
        self.end.close()
