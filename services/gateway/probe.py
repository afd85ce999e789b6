"""A harmless question, asked again and again: its answer proves that somebody is there. Pure."""

from __future__ import annotations

from services.gateway.frames import Ask
from services.gateway.outgoing import Outgoing


class Probe:
    """Asks for the time, also while a long list is awaited; one question at a time.

    Args:
        outgoing: takes the question.
        every_secs: between two questions.
    """

    def __init__(self, outgoing: Outgoing, every_secs: float) -> None:
        self._outgoing = outgoing
        self._every_secs = every_secs
        self._asked_at = float("-inf")
        self._owed = False

    def on_connection(self) -> None:
        """A new connection: what was asked over the one before is never answered."""
        self._asked_at, self._owed = float("-inf"), False

    def look(self, now: float) -> float:
        """Ask if it is time. Returns how long an answer has been owed, in seconds."""
        if self._owed:
            return now - self._asked_at
        if now - self._asked_at >= self._every_secs and self._outgoing.pacer.free(now):
            self._asked_at, self._owed = now, True
            self._outgoing.send(Ask("current_time"), now)
        return 0.0

    def on_answer(self) -> None:
        """The time has come."""
        self._owed = False
