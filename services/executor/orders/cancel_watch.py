"""What IB makes of our cancels of one order: refused, not understood yet, or not answered. Pure.

A cancel that comes before IB knows the order is refused with the same words as one of an order that never was
(ib_insync issues 656 and 690). So a refusal of a cancel of an order that IB has not shown yet is kept: once the order
shows as alive, its cancel goes again, and only when that does not help either is it told as failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.gateway.reports import ErrorReport

# A cancel is answered within a second; after this IB's lists are asked, and then at twice the time each time, for out
# of hours the answer may take until the market opens.
ANSWER_SECS = 5.0
LONGEST_SECS = 300.0


@dataclass(slots=True)
class CancelWatch:
    """The cancels of one order, as far as they have no answer. What a restart needs is in the record.

    Attributes:
        refusal: IB's no to the last one, while nobody knows whether it has the order at all; `resends` if the cancel
            goes again once it has.
        tries: how many have left since somebody asked.
        out: how many have left over this connection and have got no word of IB's.
    """

    refusal: ErrorReport | None = None
    resends: bool = False
    tries: int = 0
    out: int = 0
    _look_at: float = field(default=float("inf"))
    _pause: float = ANSWER_SECS

    def on_asked(self) -> None:
        """Somebody asks: what was said of the cancel before is over."""
        self.refusal = None
        self.tries = 0

    def on_sent(self, now: float) -> None:
        """A cancel has left for IB."""
        self.tries += 1
        self.out += 1
        self._pause = ANSWER_SECS
        self._look_at = now + self._pause

    def on_word(self) -> None:
        """IB has said something to one of them, whichever."""
        self.out = max(0, self.out - 1)

    def on_new_connection(self) -> None:
        """What was sent over the one before gets no word any more."""
        self.on_asked()
        self.out = 0

    def on_answered(self) -> None:
        """Nothing more is to be heard of it."""
        self.refusal = None
        self._look_at = float("inf")

    def on_too_late(self) -> None:
        """The order has ended before its cancel could leave: no answer of IB's will come."""
        self._look_at = float("-inf")

    def hold(self, report: ErrorReport, *, resends: bool) -> None:
        """IB has said no, and it is not known yet of what."""
        self.refusal, self.resends = report, resends

    @property
    def waits(self) -> bool:
        """Whether an answer is owed."""
        return self._look_at != float("inf")

    def overdue(self, now: float) -> bool:
        """Whether IB's own word to it will not come any more: the order has ended otherwise."""
        return self._look_at <= now

    def look_up_due(self, now: float) -> bool:
        """Whether IB's lists must be asked what became of it."""
        if now < self._look_at:
            return False
        self._pause = min(2 * self._pause, LONGEST_SECS)
        self._look_at = now + self._pause
        return True
