"""The wire of ZeroMQ (ZMTP 3.1, NULL mechanism), written by hand: what a library would refuse to send, this sends."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.campaigns.fuzz.dialer import Dialer

# Whoever takes nothing for so long hangs.
TAKE_SECS = 20.0

GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + b"\0" * 32
_MORE, _LONG, _COMMAND = 1, 2, 4
READY = b"\x05READY"


def ready(socket_type: bytes) -> bytes:
    """The command that ends the handshake."""
    return frame(READY + b"\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type, flags=_COMMAND)


def frame(body: bytes, *, flags: int = 0) -> bytes:
    """One frame."""
    if len(body) > 255:
        return bytes([flags | _LONG]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def stream_of(frames: Sequence[bytes]) -> bytes:
    """Frames as one message."""
    last = len(frames) - 1
    return b"".join(frame(body, flags=_MORE if at < last else 0) for at, body in enumerate(frames))


def connect(path: Path, dialer: Dialer) -> socket.socket:
    """A connection that has said nothing yet.

    Raises:
        TimeoutError: the other end takes none.
    """
    deadline = time.monotonic() + TAKE_SECS
    while True:
        try:
            peer = dialer.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody accepts connections at {path}") from None
            time.sleep(0.01)
        else:
            peer.settimeout(TAKE_SECS)
            return peer


def shake_hands(peer: socket.socket, socket_type: bytes) -> None:
    """Say what has to be said first, and hear it from the other end.

    Raises:
        OSError: the other end has cut the connection, or says nothing.
    """
    peer.sendall(GREETING + ready(socket_type))
    answer = b""
    while READY not in answer:
        received = peer.recv(256)
        if not received:
            raise ConnectionResetError
        answer += received


class Peer:
    """A connection that speaks well, whatever it says; made anew when the other end has cut it."""

    def __init__(self, path: Path, socket_type: bytes, dialer: Dialer) -> None:
        self._path, self._socket_type, self._dialer = path, socket_type, dialer
        self._socket: socket.socket | None = None

    def send(self, frames: Iterable[bytes]) -> None:
        """Send one message.

        Raises:
            TimeoutError: the other end takes nothing.
        """
        data = stream_of(list(frames))
        for _ in range(3):
            if self._socket is None:
                self._socket = self._connected()
            try:
                self._forget_answers(self._socket)
                self._socket.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close()
            else:
                return

    def close(self) -> None:
        """End the connection; the next message makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        """A connection after its handshake: libzmq cuts off who sends a message before, whatever it says.

        While there is no room for it, it is cut off as well, and comes again.
        """
        deadline = time.monotonic() + TAKE_SECS
        while time.monotonic() < deadline:
            peer = connect(self._path, self._dialer)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                shake_hands(peer, self._socket_type)
                return peer
            peer.close()
            time.sleep(0.01)
        raise TimeoutError(f"nobody shakes hands at {self._path}")

    @staticmethod
    def _forget_answers(peer: socket.socket) -> None:
        """Read what has come, so that nobody has to keep it for us."""
        peer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                if not peer.recv(1 << 16):
                    raise ConnectionResetError
        peer.settimeout(TAKE_SECS)
