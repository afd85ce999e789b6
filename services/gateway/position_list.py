"""The list of positions, asked for now and then: put together from IB's messages. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.asking import Asking
from services.gateway.reports import UNNAMED, PositionReport, Traits

# Currencies: IB shows virtual positions there, which conversions, fees and interest in any currency move too.
# Combos are held as their legs, whose fills are reported one by one.
NOT_COUNTED = frozenset({"CASH", "BAG"})


@dataclass(frozen=True, slots=True)
class Held:
    """What IB says of one contract."""

    con_id: int
    symbol: str
    quantity: float
    traits: Traits = UNNAMED


class PositionList:
    """At most one list at a time; what IB says of positions in between is its own news.

    Args:
        every_secs: how long from one question to the next.
    """

    def __init__(self, every_secs: float) -> None:
        self.asking = Asking(every_secs)
        self._held: dict[int, Held] = {}
        self._spoiled = False

    def on_connection(self) -> None:
        """A new connection: what was asked for over the one before never comes."""
        self.asking.on_connection()

    def on_asked(self, now: float) -> None:
        """The question leaves."""
        self.asking.on_asked(now)
        self._held, self._spoiled = {}, False

    def on_report(self, report: PositionReport, account: str) -> Held | None:
        """One position; of a list the last one said of a contract counts. Returns what belongs to no list."""
        if report.account != account or report.sec_type in NOT_COUNTED:
            return None
        held = Held(report.con_id, report.symbol, report.quantity, report.traits)
        if not self.asking.awaited:
            return held
        self._held[report.con_id] = held
        return None

    def spoil(self) -> None:
        """A position could not be read: the list that it belongs to proves nothing."""
        self._spoiled = True

    def on_end(self) -> list[Held] | None:
        """The list is complete; None if nobody asked or it cannot be used."""
        return list(self._held.values()) if self.asking.on_end() and not self._spoiled else None
