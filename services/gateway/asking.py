"""When to ask IB for a list, again and again: never while an answer is owed. Pure."""

from __future__ import annotations

# A list takes milliseconds; one that takes so long is told of once. It is not asked for again on this
# connection: its late end would be taken for the end of the next one.
OVERDUE_SECS = 30.0


class Asking:
    """The times of one kind of list, at most one at a time.

    Args:
        every_secs: how long from one question to the next.
    """

    def __init__(self, every_secs: float) -> None:
        self._every_secs = every_secs
        self._told = self._hurried = False
        # Whether an end is owed, and when the last question left (monotonic seconds).
        self.awaited = False
        self.asked_at: float | None = None

    def on_connection(self) -> None:
        """A new connection: what was asked for over the one before never comes."""
        self.asked_at = None
        self.awaited = self._told = self._hurried = False

    def hurry(self) -> None:
        """Something has happened that the next list tells of."""
        self._hurried = True

    def due(self, now: float) -> bool:
        """Whether to ask."""
        return not self.awaited and (self._hurried or self.late(now) >= 0)

    def late(self, now: float) -> float:
        """How long ago the next question was due; below 0 if it is not."""
        return 0.0 if self.asked_at is None else now - self.asked_at - self._every_secs

    def overdue(self, now: float) -> bool:
        """Whether an answer has been missing for too long; True once."""
        if self._told or not self.awaited or self.asked_at is None or now - self.asked_at < OVERDUE_SECS:
            return False
        self._told = True
        return True

    def on_asked(self, now: float) -> None:
        """The question leaves."""
        self.asked_at, self.awaited, self._hurried = now, True, False

    def on_end(self) -> bool:
        """An end came; whether it was owed."""
        owed, self.awaited = self.awaited, False
        return owed
