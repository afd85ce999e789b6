"""Which process holds which connections of a link, and which it may not have. Only counts. Pure.

A connection is known by its descriptor, a process by its pid. Where the system does not tell the pid (None), each
connection stands for itself, and only the link's own room bounds how many there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

# A program may come and go, but not without end: a client that begins anew comes once.
# After so long the count begins anew.
COUNT_SECS = 1.0
TIMES_AS_MANY = 2


class Holders:
    """The connections of one link by the process that has them: at most `most` for each, and none while it is barred.

    Args:
        most: connections that one process may hold. Those that it has keep their place, its newest are too many. Twice
            as many may come in a second.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._pids: dict[int, int | None] = {}
        self._held: Counter[int] = Counter()
        self._came: Counter[int] = Counter()
        self._count_ends = 0.0
        # Connections that are to end, or have been ended and are still on their way out: they take no place.
        self._over: set[int] = set()
        self._barred_until: dict[int, float] = {}

    def came(self, descriptor: int, pid: int | None, now: float) -> str:
        """A connection is there. Why it must end again; empty: it may stay."""
        # One that left without a word had the same number.
        self.left(descriptor)
        self._pids[descriptor] = pid
        no = self.objection(pid, now)
        if no:
            self._over.add(descriptor)
        elif pid is not None:
            self._held[pid] += 1
            self._came[pid] += 1
        return no

    def objection(self, pid: int | None, now: float) -> str:
        """Why no connection of this process may come now: `barred`, `too_many`; empty: it may."""
        if pid is None:
            return ""
        if pid in self.barred(now):
            return "barred"
        if now >= self._count_ends:
            self._count_ends = now + COUNT_SECS
            self._came.clear()
        many = self._held[pid] >= self.most or self._came[pid] >= TIMES_AS_MANY * self.most
        return "too_many" if many else ""

    def left(self, descriptor: int) -> None:
        """A connection has ended, if it was there."""
        self._give_back(descriptor)
        self._pids.pop(descriptor, None)
        self._over.discard(descriptor)

    def forget(self, is_open: Callable[[int], bool]) -> None:
        """Count again: what is not open any more has left without a word."""
        for descriptor in [each for each in self._pids if not is_open(each)]:
            self.left(descriptor)

    def bar(self, descriptor: int, until: float) -> list[int]:
        """The process of this connection loses all it has here, and gets no other until then; returns what to end."""
        pid = self._pids[descriptor]
        its = [descriptor]
        if pid is not None:
            self._barred_until[pid] = until
            its = [each for each, whose in self._pids.items() if whose == pid and each not in self._over]
        for each in its:
            self._give_back(each)
            self._over.add(each)
        return its

    def barred(self, now: float) -> frozenset[int]:
        """The processes that get no connection now."""
        # As short as the list of those who were cut off within some seconds.
        self._barred_until = {pid: until for pid, until in self._barred_until.items() if until > now}
        return frozenset(self._barred_until)

    def stays(self, descriptor: int) -> bool:
        """Whether it is the descriptor of a connection that may be here."""
        return descriptor in self._pids and descriptor not in self._over

    def all(self) -> list[int]:
        """The descriptors of all connections that may be here."""
        return [each for each in self._pids if each not in self._over]

    def pid(self, descriptor: int) -> int | None:
        """The process at the other end, as far as it is known."""
        return self._pids.get(descriptor)

    def _give_back(self, descriptor: int) -> None:
        pid = self._pids.get(descriptor)
        if pid is None or descriptor in self._over:
            return
        self._held[pid] -= 1
        if not self._held[pid]:
            del self._held[pid]
