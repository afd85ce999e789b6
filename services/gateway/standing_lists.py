"""The lists that are asked for now and then: positions, and the open orders of everybody. Pure.

Nobody waits for them: nothing depends on them but an alert.
"""

from __future__ import annotations

from services.gateway.asking import OVERDUE_SECS, Asking
from services.gateway.frames import Ask
from services.gateway.news import OrdersAsked, OrdersListed, PositionsAsked, PositionsListed, PositionTold
from services.gateway.outgoing import Outgoing
from services.gateway.position_list import PositionList
from services.gateway.reports import PositionReport
from services.gateway.timing import Timing
from services.runtime.notes import warning


class StandingLists:
    """Asks for both, and puts positions together.

    Args:
        outgoing: takes the questions and the news.
        timing: how often.
        lists_orders: whether open orders are listed by themselves, beside the rounds.
    """

    def __init__(self, outgoing: Outgoing, timing: Timing, *, lists_orders: bool) -> None:
        self._outgoing = outgoing
        self._lists_orders = lists_orders
        self._orders_every = timing.orders_every
        self._orders = Asking(timing.orders_every)
        self._positions = PositionList(timing.positions_every)
        # Whether IB was asked over this connection to tell of each change of a position.
        self._positions_told = False

    def on_connection(self) -> None:
        """A new connection: what was asked for over the one before never comes."""
        self._positions.on_connection()
        self._positions_told = False
        self._orders.on_connection()

    # -- asking -------------------------------------------------------------------------------------------

    def ask_what_is_due(self, now: float, *, usable: bool, round_under_way: bool) -> None:
        """Ask for positions, with the first connection ahead of all else, or for the orders of others."""
        positions = self._positions.asking
        if positions.due(now) and (usable or positions.asked_at is None):
            if self._outgoing.pacer.free(now):
                self._ask_for_positions(now)
        elif usable and not round_under_way and self._lists_orders and self._may_list_orders(now):
            self.ask_for_orders(now)

    def ask_for_orders(self, now: float) -> None:
        """Ask for all open orders; a round of lists begins with them too."""
        self._orders.on_asked(now)
        self._outgoing.tell(OrdersAsked())
        self._outgoing.send(Ask("open_orders"), now)

    @property
    def orders_awaited(self) -> bool:
        """Whether the end of a list of open orders is owed."""
        return self._orders.awaited

    def list_orders_soon(self) -> None:
        """Something has happened that the next list of open orders tells of."""
        self._orders.hurry()

    def _ask_for_positions(self, now: float) -> None:
        """IB goes on telling changes behind the list."""
        if self._positions_told:
            self._positions_told = False
            self._outgoing.send(Ask("end_positions"), now)
            if not self._outgoing.pacer.free(now):
                # The question is the next message that may leave.
                return
        self._positions.on_asked(now)
        self._positions_told = True
        self._outgoing.tell(PositionsAsked())
        self._outgoing.send(Ask("positions"), now)

    def _may_list_orders(self, now: float) -> bool:
        """Whether the list is due and leaves the messages to orders, while they need them; but not for ever."""
        pacer = self._outgoing.pacer
        if not self._orders.due(now) or not pacer.free(now):
            return False
        return pacer.quiet(now) or self._orders.late(now) >= self._orders_every

    # -- hearing ------------------------------------------------------------------------------------------

    def on_position(self, report: PositionReport, account: str) -> None:
        """IB tells of a position: as part of a list, or as news of its own."""
        told = self._positions.on_report(report, account)
        if told is not None:
            self._outgoing.tell(PositionTold(told))

    def on_unreadable_position(self) -> None:
        """A position could not be read: the list that it belongs to proves nothing."""
        self._positions.spoil()

    def on_end(self, what: str) -> None:
        """A list has come to its end."""
        if what == "positions":
            held = self._positions.on_end()
            if held is not None:
                self._outgoing.tell(PositionsListed(held))
        elif what == "open_orders" and self._orders.on_end():
            self._outgoing.tell(OrdersListed())

    def complain_of_missing(self, now: float) -> None:
        """Tell once of a list that has no end."""
        if self._positions.asking.overdue(now):
            text = f"no list of positions for {OVERDUE_SECS:g} s: position breaks are not looked for"
            self._outgoing.note(warning(text))
        if self._orders.overdue(now):
            text = f"no list of open orders for {OVERDUE_SECS:g} s: orders of others are not seen"
            self._outgoing.note(warning(text))
