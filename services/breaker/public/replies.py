"""Replies on `control`, each to who asked, as fast as he reads them.

ZeroMQ holds few for each connection, since each may have 256 KiB; and it learns of what was read only about once
a millisecond, so that of several replies sent at once to somebody who reads them all the most would be lost. So those
that do not fit wait here, bounded in bytes for each connection, and go again a moment later.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import zmq

# One of the largest, or a thousand of the usual ones.
MOST_BYTES = 256 * 1024
# As long as somebody reads, what waits goes again so soon.
AGAIN_MS = 1
# Who has read nothing for so long does not read: every client of ours has given up its question by then.
STUCK_SECS = 10.0


@dataclass(slots=True)
class _Waiting:
    """What one connection has still to take. `since`: when it took something last."""

    since: float
    frames: deque[list[bytes]] = field(default_factory=deque)
    size: int = 0


class Replies:
    """What is sent on `control`, and what waits for it.

    Args:
        control: the breaker's end, which says who is not there and who takes no more.
    """

    def __init__(self, control: zmq.Socket[bytes]) -> None:
        self._control = control
        self._waiting: dict[bytes, _Waiting] = {}
        self._moves = False

    def send(self, envelope: list[bytes], payload: bytes) -> int:
        """Send a reply, or have it wait; returns 1 if it was dropped: nobody is there, or too much waits already."""
        peer = envelope[0]
        frames = [*envelope, payload]
        if peer not in self._waiting:
            try:
                self._control.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                self._waiting[peer] = _Waiting(time.monotonic())
            except zmq.ZMQError:
                return 1
            else:
                return 0
        waiting = self._waiting[peer]
        size = _size(frames)
        if waiting.size and waiting.size + size > MOST_BYTES:
            return 1
        waiting.frames.append(frames)
        waiting.size += size
        self._moves = True
        return 0

    def has_read(self, envelope: list[bytes]) -> bool:
        """Whether nothing waits for who has sent this; until then nothing long is to be put together for him."""
        return envelope[0] not in self._waiting

    def retry(self) -> int:
        """Send what waits, as far as it is taken; returns how many were dropped because nobody is there, or reads."""
        self._moves = False
        now = time.monotonic()
        return sum(self._retry(peer, now) for peer in list(self._waiting))

    def wait_ms(self, otherwise: int) -> int:
        """How long until it may be worth to try again."""
        return AGAIN_MS if self._moves else otherwise

    def _retry(self, peer: bytes, now: float) -> int:
        waiting = self._waiting[peer]
        while waiting.frames:
            try:
                self._control.send_multipart(waiting.frames[0], zmq.NOBLOCK)
            except zmq.Again:
                if now - waiting.since < STUCK_SECS:
                    return 0
                break
            except zmq.ZMQError:
                break
            waiting.since = now
            waiting.size -= _size(waiting.frames.popleft())
            self._moves = True
        del self._waiting[peer]
        return len(waiting.frames)


def _size(frames: list[bytes]) -> int:
    return sum(map(len, frames))
