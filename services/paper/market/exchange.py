"""The paper exchange: a market that is always open, and what it makes of the orders in the book.

Pure: no sockets, no clock (`now` is wall-clock seconds, given), and no randomness but the seed's. Every
method returns what a gateway would tell, in its order; who is connected is somebody else's business, so that
orders and fills go on while nobody is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.paper.market.account import Totals, commission_usd
from services.paper.market.instruments import Catalogue, Instrument, UnknownContractError
from services.paper.market.matching import BY_TRADER, Held, MatchingEngine
from services.paper.market.orders import Order, Refusal, Status, Ticket
from services.paper.market.rules import refuse_change, refuse_order, too_little_margin, too_many_working
from services.paper.market.updates import (
    ErrorTold,
    OpenOrderTold,
    PreviewTold,
    StatusTold,
    Update,
)

ACCOUNT_ID = "DU0000000"
TICK_SECS = 0.25
PENDING_CANCEL = "PendingCancel"


class Exchange(MatchingEngine):
    """Orders, fills, positions and prices.

    Args:
        seed: The same seed and the same calls give the same prices and fills.
        now: Wall-clock seconds at the start; part of execution ids and permanent ids, so that they do not
            come again after a restart.
        tick_secs: Time between two price steps.
        max_working_orders: IB's limit for one contract and side, 20; 0 for none.
        available_size: How many are bid and offered at each price step; 0 for any number.
        account_id: The account whose orders these are.
    """

    def __init__(
        self,
        seed: int,
        now: float,
        *,
        tick_secs: float = TICK_SECS,
        max_working_orders: int = 0,
        available_size: float = 0,
        account_id: str = ACCOUNT_ID,
    ) -> None:
        super().__init__(seed, now, tick_secs=tick_secs, available_size=available_size)
        self.account_id = account_id
        self.catalogue = Catalogue()
        # What AvailableFunds is said to be; None for what it is.
        self.forced_funds: float | None = None
        self._max_working = max_working_orders

    # ------------------------------------------------------------ questions

    def totals(self) -> Totals:
        """Return the account's values now."""
        return self.account.totals()

    def next_order_id(self, client_id: int) -> int:
        """Return one above the highest order id that the client has used."""
        return self.book.next_order_id(client_id)

    def open_orders(self, client_id: int | None = None) -> list[Order]:
        """Return the transmitted live orders of one client, or of all, oldest first."""
        return self.book.open_orders(client_id)

    def completed_orders(self, since: float) -> list[Order]:
        """Return the orders that ended at or after a moment, oldest first."""
        return self.book.completed_orders(since)

    def find(self, client_id: int, order_id: int) -> Order | None:
        """Return an order by the ids that the client knows."""
        return self.book.find(client_id, order_id)

    @property
    def order_count(self) -> int:
        """Return how many orders were booked."""
        return self.book.order_count

    @property
    def live_count(self) -> int:
        """Return how many orders can still be filled."""
        return len(self.book.live)

    # ------------------------------------------------------------ placing

    def place(
        self,
        ticket: Ticket,
        now: float,
        *,
        slice_size: float | None = None,
        twin: bool = False,
        held: Held | None = None,
    ) -> list[Update]:
        """Take a placeOrder: a new order, a change of a live one, or a preview.

        Args:
            ticket: What the client asks for.
            now: Wall-clock seconds.
            slice_size: Fill a new order in pieces of at most this size, one at each price step.
            twin: Book a change as a second order, and leave the first as it is.
            held: Hold a new order back.
        """
        old = self.find(ticket.client_id, ticket.order_id)
        refusal = self.book.refuse_id(ticket, old)
        if refusal is not None:
            return [_error(ticket, refusal)]
        self.book.use_id(ticket)
        try:
            instrument = self.catalogue.resolve(ticket.contract)
        except UnknownContractError as error:
            return [_error(ticket, Refusal(200, str(error)))]
        refusal = refuse_order(ticket, instrument, self.account_id, now)
        if refusal is None and old is not None:
            refusal = refuse_change(old, ticket, instrument)
        if refusal is not None:
            return [_error(ticket, refusal)]
        if ticket.what_if:
            return [self._preview(ticket, instrument)]
        if old is not None and twin and not old.held:
            order = self.book.create(ticket, instrument, twin=True)
            self.book.add_live(order)
            return self.activate(order, now)
        if old is not None:
            return self._change(old, ticket, now)
        return self._book_if_it_may(ticket, instrument, now, slice_size, held)

    def place_by_hand(self, ticket: Ticket, now: float) -> list[Update]:
        """Take an order that a person enters in TWS; no client counts its number.

        Raises:
            UnknownContractError: There is no such contract.
        """
        instrument = self.catalogue.resolve(ticket.contract)
        refusal = refuse_order(ticket, instrument, self.account_id, now)
        if refusal is not None:
            return self._book_refused(ticket, instrument, refusal, now)
        return self._book_if_it_may(ticket, instrument, now)

    def _book_if_it_may(
        self,
        ticket: Ticket,
        instrument: Instrument,
        now: float,
        slice_size: float | None = None,
        held: Held | None = None,
    ) -> list[Update]:
        refusal = self._refuse_margin(ticket, instrument) or self._refuse_number(ticket, instrument)
        if refusal is not None:
            return self._book_refused(ticket, instrument, refusal, now)
        return self._book(ticket, instrument, now, slice_size, held)

    def refuse(self, ticket: Ticket, refusal: Refusal, now: float) -> list[Update]:
        """Refuse an order whatever it says, as a broker does; its id counts as used."""
        old = self.find(ticket.client_id, ticket.order_id)
        self.book.use_id(ticket)
        if old is not None or ticket.what_if or not refusal.booked:
            return [_error(ticket, refusal)]
        try:
            instrument = self.catalogue.resolve(ticket.contract)
        except UnknownContractError as error:
            return [_error(ticket, Refusal(200, str(error)))]
        return self._book_refused(ticket, instrument, refusal, now)

    def _refuse_margin(self, ticket: Ticket, instrument: Instrument) -> Refusal | None:
        before = self.account.totals()
        after = self.account.totals([(instrument, _signed(ticket))])
        funds = after.available_funds if self.forced_funds is None else self.forced_funds
        if after.init_margin <= before.init_margin or funds >= 0:
            return None
        return too_little_margin(before.net_liquidation, after.init_margin)

    def _refuse_number(self, ticket: Ticket, instrument: Instrument) -> Refusal | None:
        if not self._max_working:
            return None
        side = 1 if ticket.action == "BUY" else -1
        working = self.book.working(instrument, side)
        return too_many_working(self._max_working) if working >= self._max_working else None

    def _book(
        self, ticket: Ticket, instrument: Instrument, now: float, slice_size: float | None, held: Held | None
    ) -> list[Update]:
        parent: Order | None = None
        if ticket.parent_id:
            parent = self.find(ticket.client_id, ticket.parent_id)
            if parent is None or parent.status in (Status.CANCELLED, Status.INACTIVE):
                return [_error(ticket, Refusal(10006, "Missing parent order."))]
        order = self.book.create(ticket, instrument)
        order.slice_size = slice_size
        self.book.add_live(order)
        if not ticket.transmit:
            order.held = True
            return []
        updates: list[Update] = []
        # Transmitting the last leg of a bracket transmits all of it.
        for member in [order] if parent is None else [parent, *(parent.children or ())]:
            if member is order or (member.held and member.live):
                member.held = False
                updates += self.hold(member, held) if held and member is order else self.activate(member, now)
        return updates

    def _book_refused(self, ticket: Ticket, instrument: Instrument, refusal: Refusal, now: float) -> list[Update]:
        order = self.book.create(ticket, instrument)
        self.book.finish(order, Status.INACTIVE, now, refusal.text)
        return [
            _error(ticket, refusal),
            OpenOrderTold(order, Status.INACTIVE),
            StatusTold(order, Status.INACTIVE, 0.0, ticket.quantity),
        ]

    def _change(self, order: Order, ticket: Ticket, now: float) -> list[Update]:
        self.market(order.instrument).forget(order)
        order.trail_stop = order.expires_at = None
        self.book.replace_ticket(order, ticket)
        if not ticket.transmit and order.held:
            return []
        order.held = False
        return self.activate(order, now)

    def _preview(self, ticket: Ticket, instrument: Instrument) -> PreviewTold:
        before = self.account.totals()
        after = self.account.totals([(instrument, _signed(ticket))])
        commission = commission_usd(instrument, ticket.quantity, self.quote(instrument).last)
        equity = before.net_liquidation
        order = Order(ticket=ticket, instrument=instrument, perm_id=0, sequence=0)
        return PreviewTold(
            order,
            (before.init_margin, after.init_margin),
            (before.maint_margin, after.maint_margin),
            (equity, equity - commission),
            commission,
        )

    # ------------------------------------------------------------ cancelling

    def cancel(self, client_id: int, order_id: int, now: float) -> list[Update]:
        """Take a cancelOrder."""
        order = self.find(client_id, order_id)
        if order is None or order.unknown:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            return [ErrorTold(client_id, order_id, 10147, text)]
        if not order.live or order.cancelling:
            return [cannot_be_cancelled(order)]
        return self.end(order, now)

    def cancel_all(self, now: float) -> list[Update]:
        """Take a reqGlobalCancel: the live orders of all clients end."""
        updates: list[Update] = []
        for order in list(self.book.live.values()):
            if order.live and not order.unknown:
                updates += self.end(order, now)
        return updates

    def end_day(self, now: float, *, day_orders: bool) -> list[Update]:
        """Forget executions and completed orders, as IB does at midnight.

        Args:
            now: Wall-clock seconds.
            day_orders: End the orders that are good for the day only.
        """
        updates = self.end_day_orders(now) if day_orders else []
        self.book.forget_done()
        self.executions.clear()
        return updates

    def end_day_orders(self, now: float, *, reason: str = "", by: str = BY_TRADER) -> list[Update]:
        """End the orders that are good for the day only; `reason` and `by` as in `end`."""
        updates: list[Update] = []
        for order in list(self.book.live.values()):
            # One that ended before it may have taken it along.
            if order.live and order.ticket.tif == "DAY":
                updates += self.end(order, now, reason=reason, by=by)
        return updates

    def instrument(self, contract: Mapping[str, Any]) -> Instrument:
        """Return the instrument that a request describes.

        Raises:
            UnknownContractError: There is none.
        """
        return self.catalogue.resolve(contract)


def cannot_be_cancelled(order: Order) -> ErrorTold:
    """Return the answer to a cancel of an order that has ended, or whose cancel is under way."""
    client_id, order_id = order.key
    state = PENDING_CANCEL if order.live else order.status
    text = f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {state}."
    return ErrorTold(client_id, order_id, 10148, text)


def _error(ticket: Ticket, refusal: Refusal) -> ErrorTold:
    return ErrorTold(ticket.client_id, ticket.order_id, refusal.code, refusal.text)


def _signed(ticket: Ticket) -> float:
    return ticket.quantity if ticket.action == "BUY" else -ticket.quantity
