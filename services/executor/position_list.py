"""The list of positions, asked for now and then: put together from IB's messages. Pure."""

from __future__ import annotations

from services.executor.drift import NOT_COUNTED, Held
from services.gateway.reports import PositionReport

# A list takes milliseconds; one that takes so long is told of once. It is not asked for again on this
# connection: its late end would be taken for the end of the next one.
OVERDUE_SECS = 30.0


class PositionList:
    """At most one list at a time.

    Args:
        every_secs: how long from one question to the next.
    """

    def __init__(self, every_secs: float) -> None:
        self._every_secs = every_secs
        self._asked_at: float | None = None
        self._held: dict[int, Held] | None = None
        self._spoiled = self._told = False

    def on_connection(self) -> None:
        """A new connection: what was asked for over the one before never comes."""
        self._asked_at = self._held = None
        self._spoiled = self._told = False

    def due(self, now: float) -> bool:
        """Whether to ask."""
        return self._held is None and (self._asked_at is None or now - self._asked_at >= self._every_secs)

    def overdue(self, now: float) -> bool:
        """Whether an answer has been missing for too long; True once."""
        waits = self._held is not None and self._asked_at is not None
        if self._told or not waits or now - (self._asked_at or 0.0) < OVERDUE_SECS:
            return False
        self._told = True
        return True

    def on_asked(self, now: float) -> None:
        """The question leaves."""
        self._asked_at, self._held, self._spoiled = now, {}, False

    def on_report(self, report: PositionReport, account: str) -> None:
        """One position; the last one said of a contract counts."""
        if self._held is not None and report.account == account and report.sec_type not in NOT_COUNTED:
            self._held[report.con_id] = Held(report.con_id, report.symbol, report.quantity)

    def spoil(self) -> None:
        """A position could not be read: the list that it belongs to proves nothing."""
        self._spoiled = True

    def on_end(self) -> list[Held] | None:
        """The list is complete; None if nobody asked or it cannot be used."""
        held, self._held = self._held, None
        return None if held is None or self._spoiled else list(held.values())
