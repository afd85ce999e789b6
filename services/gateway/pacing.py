"""At most so many messages to IB in any second: IB answers more with error 100, and drops the connection.

A log of the times of sending, not a token bucket: a full bucket and its refill together would let nearly
twice the limit through in one second. Pure: the time is an argument.
"""

from __future__ import annotations

from orderfuse.window import SlidingWindow

# IB counts when messages arrive, we when they leave: one that took 20 ms longer than the next must not make
# a second too full.
SPAN_SECS = 1.02
# The last messages of each second belong to cancels: a stop must not wait behind new orders.
CANCEL_RESERVE = 5


class Pacer:
    """Counts every message of every kind that leaves for IB.

    Args:
        per_second: the most messages in any second; 0: no limit.
    """

    def __init__(self, per_second: int) -> None:
        self._limit = per_second
        # A very small limit keeps most of it for orders, or none could ever be placed.
        self._reserve = min(CANCEL_RESERVE, per_second // 5)
        self._sent: SlidingWindow[float, None] = SlidingWindow(SPAN_SECS)

    def free(self, now: float, *, cancel: bool = False, count: int = 1) -> bool:
        """Whether so many messages may leave now."""
        if not self._limit:
            return True
        return self._sent.count(now) + count <= self._limit - (0 if cancel else self._reserve)

    def quiet(self, now: float) -> bool:
        """Whether no more than half of the messages of a second were used in the last one."""
        return self._sent.count(now) * 2 <= self._limit

    def note(self, now: float) -> None:
        """A message has left."""
        if self._limit:
            self._sent.forget_old(now)
            self._sent.add(now, None)

    def restamp(self, count: int, now: float) -> None:
        """The last so many messages have left only now: the disk stood between them and their time."""
        if self._limit:
            self._sent.restamp_last(count, now)
