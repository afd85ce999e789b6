"""What happened in the last so many seconds or nanoseconds, counted exactly. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Moment = TypeVar("Moment", int, float)
Item = TypeVar("Item")


class SlidingWindow(Generic[Moment, Item]):
    """Items with their moments, oldest first, until they are older than `span`.

    Who only counts adds None as the item. Moments are of one monotonic clock, in whatever unit `span` has; with whole
    nanoseconds nothing is rounded. What is exactly as old as `span` is still in: for "in any second, the end excluded"
    give a nanosecond less.

    Args:
        span: how long an item stays.
        most: no more are kept than this, the latest; None: as many as come.
    """

    __slots__ = ("_entries", "_span")

    def __init__(self, span: Moment, most: int | None = None) -> None:
        self._span: Moment = span
        self._entries: deque[tuple[Moment, Item]] = deque(maxlen=most)

    def __len__(self) -> int:
        """How many are kept; what is too old goes only by `forget_old` or `count`."""
        return len(self._entries)

    def __iter__(self) -> Iterator[tuple[Moment, Item]]:
        return iter(self._entries)

    def add(self, at: Moment, item: Item) -> None:
        """Something happened at `at`, which is not before what was added last."""
        self._entries.append((at, item))

    def restamp_last(self, count: int, at: Moment) -> None:
        """The last so many happened only at `at`."""
        items = [self._entries.pop()[1] for _ in range(min(count, len(self._entries)))]
        self._entries.extend((at, item) for item in reversed(items))

    def forget_old(self, now: Moment) -> None:
        """Drop what is older than the span."""
        while self._entries and now - self._entries[0][0] > self._span:
            self._entries.popleft()

    def count(self, now: Moment) -> int:
        """How many happened within the span before `now`; what is older is dropped."""
        self.forget_old(now)
        return len(self._entries)

    def within(self, now: Moment) -> list[Item]:
        """What happened within the span before `now`, oldest first; nothing is dropped."""
        return [item for at, item in self._entries if now - at <= self._span]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
