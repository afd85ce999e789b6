"""The paper exchange: a market that is always open, and what it makes of the orders in the book.

Pure: no sockets, no clock (`now` is wall-clock seconds, given), and no randomness but the seed's. Every
method returns what a gateway would tell, in its order; who is connected is somebody else's business, so that
orders and fills go on while nobody is.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.paper import groups
from services.paper.account import Account, Totals, commission_usd
from services.paper.book import Book
from services.paper.effects import (
    CommissionTold,
    Effect,
    ErrorTold,
    ExecutionTold,
    OpenOrderTold,
    PreviewTold,
    StatusTold,
    status_told,
)
from services.paper.instruments import Catalogue, Instrument, UnknownContractError
from services.paper.market import Market, Quote
from services.paper.orders import Execution, Order, Refusal, Status, Ticket
from services.paper.rules import (
    IMMEDIATE,
    ORDER_KINDS,
    expires_at,
    refuse_change,
    refuse_order,
    too_little_margin,
    too_many_working,
)

ACCOUNT_ID = "DU0000000"
TICK_SECS = 0.25
# After a long sleep of the machine the walk does not make up for every step that it missed.
MAX_CATCH_UP_STEPS = 1000
MAX_EXECUTIONS = 100_000
CANCELED = "Order Canceled - reason:"
BY_TRADER = "Cancelled by Trader"
PENDING_CANCEL = "PendingCancel"


@dataclass(frozen=True, slots=True)
class Held:
    """How an order that is held back is told: its status, and IB's list of reasons, such as ``child,locate``."""

    status: Status
    why: str


class Exchange:
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
        self.seed = seed
        self.account_id = account_id
        self.account = Account(lambda instrument: self.quote(instrument).last)
        self.book = Book(now)
        self.catalogue = Catalogue()
        self.executions: deque[Execution] = deque(maxlen=MAX_EXECUTIONS)
        # What AvailableFunds is said to be; None for what it is.
        self.forced_funds: float | None = None
        self._started = now
        self._tick_secs = tick_secs
        self._max_working = max_working_orders
        self._available_size = available_size or math.inf
        self._steps = 0
        self._markets: dict[int, Market] = {}
        self._expiring: list[tuple[float, int, Order]] = []
        self.execution_count = 0

    # ------------------------------------------------------------ questions

    def quote(self, instrument: Instrument) -> Quote:
        """Return the instrument's prices now; asking for the first time starts its walk."""
        return self.market(instrument).walk.quote

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
    ) -> list[Effect]:
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

    def place_by_hand(self, ticket: Ticket, now: float) -> list[Effect]:
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
    ) -> list[Effect]:
        refusal = self._refuse_margin(ticket, instrument) or self._refuse_number(ticket, instrument)
        if refusal is not None:
            return self._book_refused(ticket, instrument, refusal, now)
        return self._book(ticket, instrument, now, slice_size, held)

    def refuse(self, ticket: Ticket, refusal: Refusal, now: float) -> list[Effect]:
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
    ) -> list[Effect]:
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
        effects: list[Effect] = []
        # Transmitting the last leg of a bracket transmits all of it.
        for member in [order] if parent is None else [parent, *(parent.children or ())]:
            if member is order or (member.held and member.live):
                member.held = False
                effects += self._hold(member, held) if held and member is order else self.activate(member, now)
        return effects

    def _book_refused(self, ticket: Ticket, instrument: Instrument, refusal: Refusal, now: float) -> list[Effect]:
        order = self.book.create(ticket, instrument)
        self.book.finish(order, Status.INACTIVE, now, refusal.text)
        return [
            _error(ticket, refusal),
            OpenOrderTold(order, Status.INACTIVE),
            StatusTold(order, Status.INACTIVE, 0.0, ticket.quantity),
        ]

    def _change(self, order: Order, ticket: Ticket, now: float) -> list[Effect]:
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

    # ------------------------------------------------------------ working

    def activate(self, order: Order, now: float) -> list[Effect]:
        """Put a transmitted order to work: fill it, or let it rest."""
        ticket = order.ticket
        order.shown, order.why_held = None, ""
        if order.expires_at is None:
            order.expires_at = expires_at(ticket, now)
        if order.expires_at is not None:
            heapq.heappush(self._expiring, (order.expires_at, order.sequence, order))
        if self._waits_for_parent(order) or (ticket.echo and "conditions" in ticket.echo):
            return self._told(order, Status.PRE_SUBMITTED)
        kind = ORDER_KINDS[ticket.order_type]
        market = self.market(order.instrument)
        if kind.trigger and not order.triggered and not market.triggers(order):
            market.wait_for_trigger(order)
            return self._told(order, Status.PRE_SUBMITTED)
        if kind.limited and not market.marketable(order):
            if ticket.tif in IMMEDIATE:
                return self._told(order, Status.PRE_SUBMITTED) + self.end(order, now)
            market.wait_for_limit(order)
            return self._told(order, Status.SUBMITTED)
        told = [] if order.triggered else self._told(order, Status.PRE_SUBMITTED)
        return told + self._take(market, order, market.far_side(order), now)

    def _waits_for_parent(self, order: Order) -> bool:
        parent = self.book.parent_of(order)
        return parent is not None and parent.live

    def _take(self, market: Market, order: Order, price: float, now: float) -> list[Effect]:
        """Fill as much of a marketable order as there is at this price step; the rest waits for the next."""
        shares = market.shares_for(order)
        tif = order.ticket.tif
        if tif == "FOK" and shares < order.remaining:
            return self.end(order, now)
        effects: list[Effect] = []
        if shares > 0:
            market.available -= shares
            effects += self.fill(order, shares, price, now)
        if order.live and tif in IMMEDIATE:
            effects += self.end(order, now)
        elif order.live:
            market.hungry.append(order)
            if order.status is not Status.SUBMITTED:
                effects += self._told(order, Status.SUBMITTED)
        return effects

    def _told(self, order: Order, status: Status) -> list[Effect]:
        order.status = status
        self.book.touch(order)
        return [OpenOrderTold(order, order.told_status), status_told(order, order.told_status)]

    def _hold(self, order: Order, held: Held) -> list[Effect]:
        order.shown, order.why_held = held.status, held.why
        return self._told(order, Status.PRE_SUBMITTED)

    def fill(self, order: Order, shares: float, price: float, now: float) -> list[Effect]:
        """Fill some or all of a live order.

        Args:
            order: A live order of this book.
            shares: How many; at most what remains.
            price: Per unit.
            now: Wall-clock seconds.
        """
        instrument = order.instrument
        was_held = order.shown is not None
        order.shown, order.why_held = None, ""
        commission = commission_usd(instrument, shares, price)
        realized = self.account.apply(instrument, order.sign * shares, price, commission)
        order.filled += shares
        order.paid += shares * price
        order.last_price = price
        order.commission += commission
        self.execution_count += 1
        execution = Execution(
            exec_id=f"{0xE0D5 + self.execution_count:08x}.{int(self._started) & 0xFFFFFFFF:08x}.01.01",
            order=order,
            at=now,
            shares=shares,
            price=price,
            cumulative=order.filled,
            average_price=order.average_price,
            commission=commission,
            realized_pnl=realized,
        )
        self.executions.append(execution)
        status = Status.SUBMITTED
        if order.remaining <= 0:
            status = Status.FILLED
            self.book.finish(order, status, now, f"Filled Size: {order.filled:g}")
        order.status = status
        self.book.touch(order)
        effects: list[Effect] = [
            ExecutionTold(execution),
            OpenOrderTold(order, status),
            status_told(order, status),
            OpenOrderTold(order, status, with_commission=True),
            CommissionTold(execution),
        ]
        effects += groups.after_fill(self, order, shares, now)
        if status is Status.FILLED:
            effects += self.after_end(order, now)
        elif was_held:
            effects += self.activate(order, now)
        return effects

    def after_end(self, order: Order, now: float) -> list[Effect]:
        """Return what follows from a complete fill: rivals end, children begin to work."""
        effects: list[Effect] = []
        for rival in list(self.book.rivals(order)):
            if rival.live:
                effects += self.end(rival, now)
        for child in order.children or ():
            if child.live and not child.held:
                effects += self.activate(child, now)
        return effects

    def correct(self, execution: Execution, price: float) -> list[Effect]:
        """Correct the price of a fill, as a broker does: one more execution whose id ends in the next number."""
        order = execution.order
        shares = order.sign * execution.shares
        self.account.apply(order.instrument, -shares, execution.price, 0.0)
        self.account.apply(order.instrument, shares, price, 0.0)
        order.paid += execution.shares * (price - execution.price)
        order.last_price = price
        head, _, number = execution.exec_id.rpartition(".")
        corrected = replace(
            execution,
            exec_id=f"{head}.{int(number) + 1:02d}",
            price=price,
            average_price=order.average_price,
        )
        self.executions.append(corrected)
        self.execution_count += 1
        self.book.touch(order)
        return [ExecutionTold(corrected), CommissionTold(corrected)]

    def fill_cancelled(self, order: Order, now: float) -> list[Effect]:
        """Fill an order that was told to be cancelled: it had traded before the cancel came."""
        self.book.revive(order)
        price = order.limit_price or self.market(order.instrument).far_side(order)
        return self.fill(order, order.remaining, price, now)

    # ------------------------------------------------------------ cancelling

    def cancel(self, client_id: int, order_id: int, now: float) -> list[Effect]:
        """Take a cancelOrder."""
        order = self.find(client_id, order_id)
        if order is None or order.unknown:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            return [ErrorTold(client_id, order_id, 10147, text)]
        if not order.live or order.cancelling:
            return [cannot_be_cancelled(order)]
        return self.end(order, now)

    def cancel_all(self, now: float) -> list[Effect]:
        """Take a reqGlobalCancel: the live orders of all clients end."""
        effects: list[Effect] = []
        for order in list(self.book.live.values()):
            if order.live and not order.unknown:
                effects += self.end(order, now)
        return effects

    def end(self, order: Order, now: float, *, reason: str = "", by: str = BY_TRADER) -> list[Effect]:
        """Cancel a live order, and its children with it.

        Args:
            order: A live order of this book.
            now: Wall-clock seconds.
            reason: What 202 gives as the reason.
            by: What completed orders say of it.
        """
        self.market(order.instrument).forget(order)
        self.book.finish(order, Status.CANCELLED, now, by)
        client_id, order_id = order.key
        effects: list[Effect] = [
            status_told(order, Status.CANCELLED),
            ErrorTold(client_id, order_id, 202, CANCELED + reason),
        ]
        for child in order.children or ():
            if child.live:
                effects += self.end(child, now, reason=reason, by=by)
        return effects

    def resize(self, order: Order, quantity: float) -> list[Effect]:
        """Give a live order another quantity, as IB does by itself; it stays where it waits."""
        order.ticket = replace(order.ticket, quantity=quantity)
        return self._told(order, order.status)

    def end_day(self, now: float, *, day_orders: bool) -> list[Effect]:
        """Forget executions and completed orders, as IB does at midnight.

        Args:
            now: Wall-clock seconds.
            day_orders: End the orders that are good for the day only.
        """
        effects = self.end_day_orders(now) if day_orders else []
        self.book.forget_done()
        self.executions.clear()
        return effects

    def end_day_orders(self, now: float, *, reason: str = "", by: str = BY_TRADER) -> list[Effect]:
        """End the orders that are good for the day only; `reason` and `by` as in `end`."""
        effects: list[Effect] = []
        for order in list(self.book.live.values()):
            # One that ended before it may have taken it along.
            if order.live and order.ticket.tif == "DAY":
                effects += self.end(order, now, reason=reason, by=by)
        return effects

    # ------------------------------------------------------------ time

    def advance(self, now: float) -> list[Effect]:
        """Let the market move up to `now`, and fill, trigger and end what that reaches."""
        steps = int((now - self._started) / self._tick_secs) - self._steps if self._tick_secs else 0
        effects: list[Effect] = []
        if steps > 0:
            self._steps += steps
            for _ in range(min(steps, MAX_CATCH_UP_STEPS)):
                effects += self.step(now)
        while self._expiring and self._expiring[0][0] <= now:
            expiry, _, order = heapq.heappop(self._expiring)
            # A changed order has an entry with its new time as well.
            if order.live and order.expires_at == expiry:
                effects += self.end(order, now)
        return effects

    def step(self, now: float) -> list[Effect]:
        """Move every price by one step."""
        effects: list[Effect] = []
        for market in list(self._markets.values()):
            effects += self._refresh(market, now, moved=market.walk.step())
        return effects

    def move_price(self, instrument: Instrument, price: float, now: float) -> list[Effect]:
        """Put an instrument's price somewhere else, and fill and trigger what that reaches."""
        market = self.market(instrument)
        market.walk.move_to(price)
        return self._refresh(market, now, moved=True)

    def set_available_size(self, instrument: Instrument, size: float) -> None:
        """Let so many be bid and offered at each price step from now on; 0 for any number."""
        market = self.market(instrument)
        market.size = market.available = size or math.inf

    def _refresh(self, market: Market, now: float, *, moved: bool) -> list[Effect]:
        """Fill what waited for more to be offered, then what a new price reaches."""
        market.available = market.size
        effects: list[Effect] = []
        hungry, market.hungry = market.hungry, []
        for order in hungry:
            if not order.live:
                continue
            if ORDER_KINDS[order.ticket.order_type].limited and not market.marketable(order):
                market.wait_for_limit(order)
            else:
                effects += self._take(market, order, market.far_side(order), now)
        if moved:
            for order in market.crossed():
                # An earlier fill of this round may have cancelled it as a rival.
                if order.live:
                    effects += self._reached(market, order, now)
        return effects

    def _reached(self, market: Market, order: Order, now: float) -> list[Effect]:
        if ORDER_KINDS[order.ticket.order_type].trigger and not order.triggered:
            order.triggered = True
            return self.activate(order, now)
        return self._take(market, order, order.limit_price, now)

    def market(self, instrument: Instrument) -> Market:
        """Return where an instrument is traded."""
        market = self._markets.get(instrument.con_id)
        if market is None:
            market = self._markets[instrument.con_id] = Market(self.seed, instrument, self._available_size)
        return market

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
