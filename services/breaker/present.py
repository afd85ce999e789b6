"""The time of the current input, for everything that handles it. Pure.

So a transition, the event that tells of it and the deadline that follows from it have one time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.runtime.now import Now

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Present:
    """What circuits take for their clock. It stands still until the next input."""

    __slots__ = ("_now",)

    def __init__(self, now: Now) -> None:
        self._now = now

    def advance(self, now: Now) -> None:
        """The next input is taken."""
        assert now.monotonic_ns >= self._now.monotonic_ns, "monotonic time went back"
        self._now = now

    def monotonic_ns(self) -> int:
        """Monotonic nanoseconds."""
        return self._now.monotonic_ns

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 by the wall clock."""
        return self._now.wall_ns

    def utcnow(self) -> datetime:
        """The wall clock, aware and in UTC."""
        return EPOCH + timedelta(microseconds=self._now.wall_ns // 1000)
