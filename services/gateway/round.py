"""One round of questions: open orders, executions, completed orders, one after the other, each to its end. Pure.

Only a complete round proves anything. A list that does not end in time ends the connection: its late end would be
taken for the end of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.frames import Question

LISTS: tuple[Question, ...] = ("open_orders", "executions", "completed_orders")


@dataclass(slots=True)
class Round:
    """A round under way.

    Attributes:
        undisturbed_since: of the connection when the round began; it proves nothing of what was disturbed meanwhile.
        waits_since: since when it waits for what must come first, or for the end of the present list.
        asked: the present list has been asked for.
        begun: the first list has been asked for.
    """

    undisturbed_since: float
    waits_since: float
    asked: bool = False
    begun: bool = False
    _at: int = 0

    @property
    def list(self) -> Question:
        """The list that is asked for, or asked for next."""
        return LISTS[self._at]

    def on_asked(self, now: float) -> None:
        """The question has left."""
        self.asked, self.begun, self.waits_since = True, True, now

    def on_end(self, now: float) -> bool:
        """The list that was asked for has come to its end; whether that was the last one of the round."""
        assert self.asked, "a list that nobody asked for has ended a question"
        self.asked, self.waits_since = False, now
        if self._at == len(LISTS) - 1:
            return True
        self._at += 1
        return False
