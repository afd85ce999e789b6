"""The events that `OrderClient.reports` has yet to tell: in order, each once, and only as many as fit. Pure."""

from __future__ import annotations

from collections import deque

from orderfuse.bus.events import AnyOrderEvent, OrderEvent
from orderfuse.bus.notices import Gap, Message, Notice, Unreadable

# What does not fit is read from the breaker's journal when its turn comes.
MAX_REPORTS = 10_000


class Reports:
    """A queue of events of one strategy.

    Attributes:
        overflowed: whether events after `kept_seq` did not fit: they are to be read from the journal.
        kept_seq: the number of the last event that was put in.
    """

    def __init__(self) -> None:
        self._waiting: deque[AnyOrderEvent | Gap | Unreadable] = deque()
        self.overflowed = False
        self.kept_seq = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def pop(self) -> AnyOrderEvent | Gap | Unreadable | None:
        """The oldest that waits; None if none does."""
        return self._waiting.popleft() if self._waiting else None

    def keep(self, item: Message | Notice) -> None:
        """Put in what has to be told of `item`, unless it was put in before."""
        if isinstance(item, Gap) and item.after_seq == 0:
            # The breaker has a new journal and counts anew.
            self.kept_seq = 0
        if isinstance(item, OrderEvent):
            self._keep_event(item)
        elif isinstance(item, Gap | Unreadable) and _must_be_told(item) and len(self) < MAX_REPORTS:
            self._waiting.append(item)

    def refill(self, items: list[Message | Notice], *, complete: bool) -> None:
        """Put in what the journal had of what did not fit; not `complete`: there is more."""
        self.overflowed = False
        for item in items:
            self.keep(item)
        self.overflowed = self.overflowed or not complete

    def _keep_event(self, event: AnyOrderEvent) -> None:
        if event.seq <= self.kept_seq or self.overflowed:
            return
        if len(self) >= MAX_REPORTS:
            self.overflowed = True
            return
        self.kept_seq = event.seq
        if not event.again:
            self._waiting.append(event)


def _must_be_told(item: Gap | Unreadable) -> bool:
    """Whether a strategy that is not told would believe that it has heard everything."""
    return item.missing if isinstance(item, Gap) else item.cause != "unknown_kind"
