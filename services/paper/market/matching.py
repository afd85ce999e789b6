"""How orders are matched: where they wait, what fills, triggers and ends them, and what follows from a fill.

Pure: no sockets, no clock (`now` is wall-clock seconds, given), and no randomness but the seed's. Every method
returns what a gateway would tell, in its order.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, replace

from services.paper.market import oca
from services.paper.market.account import Account, commission_usd
from services.paper.market.book import Book
from services.paper.market.instruments import Instrument
from services.paper.market.orders import Execution, Order, Status
from services.paper.market.rules import IMMEDIATE, ORDER_KINDS, expires_at
from services.paper.market.updates import (
    CommissionTold,
    ErrorTold,
    ExecutionTold,
    OpenOrderTold,
    Update,
    status_told,
)
from services.paper.market.walk import Market, Quote

# After a long sleep of the machine the walk does not make up for every step that it missed.
MAX_CATCH_UP_STEPS = 1000
MAX_EXECUTIONS = 100_000
CANCELED = "Order Canceled - reason:"
BY_TRADER = "Cancelled by Trader"


@dataclass(frozen=True, slots=True)
class Held:
    """How an order that is held back is told: its status, and IB's list of reasons, such as ``child,locate``."""

    status: Status
    why: str


class MatchingEngine:
    """The orders of one book, the markets they wait in, and the account that their fills change.

    Args:
        seed: The same seed and the same calls give the same prices and fills.
        now: Wall-clock seconds at the start; part of execution ids and permanent ids, so that they do not
            come again after a restart.
        tick_secs: Time between two price steps; 0 stops the market.
        available_size: How many are bid and offered at each price step; 0 for any number.
    """

    def __init__(self, seed: int, now: float, *, tick_secs: float, available_size: float) -> None:
        self.seed = seed
        self.account = Account(lambda instrument: self.quote(instrument).last)
        self.book = Book(now)
        self.executions: deque[Execution] = deque(maxlen=MAX_EXECUTIONS)
        self.execution_count = 0
        self._started = now
        self._tick_secs = tick_secs
        self._available_size = available_size or math.inf
        self._steps = 0
        self._markets: dict[int, Market] = {}
        self._expiring: list[tuple[float, int, Order]] = []

    def quote(self, instrument: Instrument) -> Quote:
        """Return the instrument's prices now; asking for the first time starts its walk."""
        return self.market(instrument).walk.quote

    def market(self, instrument: Instrument) -> Market:
        """Return where an instrument is traded."""
        market = self._markets.get(instrument.con_id)
        if market is None:
            market = self._markets[instrument.con_id] = Market(self.seed, instrument, self._available_size)
        return market

    # ------------------------------------------------------------ one order

    def activate(self, order: Order, now: float) -> list[Update]:
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

    def _take(self, market: Market, order: Order, price: float, now: float) -> list[Update]:
        """Fill as much of a marketable order as there is at this price step; the rest waits for the next."""
        shares = market.shares_for(order)
        tif = order.ticket.tif
        if tif == "FOK" and shares < order.remaining:
            return self.end(order, now)
        updates: list[Update] = []
        if shares > 0:
            market.available -= shares
            updates += self.fill(order, shares, price, now)
        if order.live and tif in IMMEDIATE:
            updates += self.end(order, now)
        elif order.live:
            market.hungry.append(order)
            if order.status is not Status.SUBMITTED:
                updates += self._told(order, Status.SUBMITTED)
        return updates

    def _told(self, order: Order, status: Status) -> list[Update]:
        order.status = status
        self.book.touch(order)
        return [OpenOrderTold(order, order.told_status), status_told(order, order.told_status)]

    def hold(self, order: Order, held: Held) -> list[Update]:
        """Put a transmitted order aside, as IB holds one back."""
        order.shown, order.why_held = held.status, held.why
        return self._told(order, Status.PRE_SUBMITTED)

    def fill(self, order: Order, shares: float, price: float, now: float) -> list[Update]:
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
        updates: list[Update] = [
            ExecutionTold(execution),
            OpenOrderTold(order, status),
            status_told(order, status),
            OpenOrderTold(order, status, with_commission=True),
            CommissionTold(execution),
        ]
        updates += oca.after_fill(self, order, shares, now)
        if status is Status.FILLED:
            updates += self.after_end(order, now)
        elif was_held:
            updates += self.activate(order, now)
        return updates

    def after_end(self, order: Order, now: float) -> list[Update]:
        """Return what follows from a complete fill: rivals end, children begin to work."""
        updates: list[Update] = []
        for rival in list(self.book.rivals(order)):
            if rival.live:
                updates += self.end(rival, now)
        for child in order.children or ():
            if child.live and not child.held:
                updates += self.activate(child, now)
        return updates

    def correct(self, execution: Execution, price: float) -> list[Update]:
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

    def fill_cancelled(self, order: Order, now: float) -> list[Update]:
        """Fill an order that was told to be cancelled: it had traded before the cancel came."""
        self.book.revive(order)
        price = order.limit_price or self.market(order.instrument).far_side(order)
        return self.fill(order, order.remaining, price, now)

    def end(self, order: Order, now: float, *, reason: str = "", by: str = BY_TRADER) -> list[Update]:
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
        updates: list[Update] = [
            status_told(order, Status.CANCELLED),
            ErrorTold(client_id, order_id, 202, CANCELED + reason),
        ]
        for child in order.children or ():
            if child.live:
                updates += self.end(child, now, reason=reason, by=by)
        return updates

    def resize(self, order: Order, quantity: float) -> list[Update]:
        """Give a live order another quantity, as IB does by itself; it stays where it waits."""
        order.ticket = replace(order.ticket, quantity=quantity)
        return self._told(order, order.status)

    # ------------------------------------------------------------ time

    def advance(self, now: float) -> list[Update]:
        """Let the market move up to `now`, and fill, trigger and end what that reaches."""
        steps = int((now - self._started) / self._tick_secs) - self._steps if self._tick_secs else 0
        updates: list[Update] = []
        if steps > 0:
            self._steps += steps
            for _ in range(min(steps, MAX_CATCH_UP_STEPS)):
                updates += self.step(now)
        while self._expiring and self._expiring[0][0] <= now:
            expiry, _, order = heapq.heappop(self._expiring)
            # A changed order has an entry with its new time as well.
            if order.live and order.expires_at == expiry:
                updates += self.end(order, now)
        return updates

    def step(self, now: float) -> list[Update]:
        """Move every price by one step."""
        updates: list[Update] = []
        for market in list(self._markets.values()):
            updates += self._refresh(market, now, moved=market.walk.step())
        return updates

    def move_price(self, instrument: Instrument, price: float, now: float) -> list[Update]:
        """Put an instrument's price somewhere else, and fill and trigger what that reaches."""
        market = self.market(instrument)
        market.walk.move_to(price)
        return self._refresh(market, now, moved=True)

    def set_available_size(self, instrument: Instrument, size: float) -> None:
        """Let so many be bid and offered at each price step from now on; 0 for any number."""
        market = self.market(instrument)
        market.size = market.available = size or math.inf

    def _refresh(self, market: Market, now: float, *, moved: bool) -> list[Update]:
        """Fill what waited for more to be offered, then what a new price reaches."""
        market.available = market.size
        updates: list[Update] = []
        hungry, market.hungry = market.hungry, []
        for order in hungry:
            if not order.live:
                continue
            if ORDER_KINDS[order.ticket.order_type].limited and not market.marketable(order):
                market.wait_for_limit(order)
            else:
                updates += self._take(market, order, market.far_side(order), now)
        if moved:
            for order in market.crossed():
                # An earlier fill of this round may have cancelled it as a rival.
                if order.live:
                    updates += self._reached(market, order, now)
        return updates

    def _reached(self, market: Market, order: Order, now: float) -> list[Update]:
        if ORDER_KINDS[order.ticket.order_type].trigger and not order.triggered:
            order.triggered = True
            return self.activate(order, now)
        return self._take(market, order, order.limit_price, now)
