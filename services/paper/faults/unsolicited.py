"""What IB does to an order by itself, or later than it was asked to. Pure like the book."""

from __future__ import annotations

from dataclasses import replace

from services.paper.faults.texts import TEXTS
from services.paper.market.exchange import Exchange, cannot_be_cancelled
from services.paper.market.orders import Order, Status
from services.paper.market.updates import ErrorTold, OpenOrderTold, Update, status_told

REDUCED = 481
# What completed orders say of an end that nobody asked for.
BY_IB = "Cancelled"


def cancel(exchange: Exchange, order: Order, now: float, reason: str = "") -> list[Update]:
    """Cancel an order that nobody wanted to end, if it is live; 202 gives the reason."""
    return exchange.end(order, now, reason=reason, by=BY_IB) if order.live else []


def acknowledge(order: Order) -> list[Update]:
    """From now on the gateway knows the order; what it tells of it comes right behind."""
    order.unknown = False
    return []


def confirm_cancel(exchange: Exchange, order: Order, now: float) -> list[Update]:
    """Do a cancel that was under way; one that came too late for a fill is refused."""
    order.cancelling = False
    if order.live:
        return exchange.end(order, now)
    return [] if order.status is Status.CANCELLED else [cannot_be_cancelled(order)]


def close_day(exchange: Exchange, now: float, reason: str = "") -> list[Update]:
    """End the orders that are good for the day only; nothing is forgotten."""
    return exchange.end_day_orders(now, reason=reason, by=BY_IB)


def release(exchange: Exchange, order: Order, now: float) -> list[Update]:
    """Let an order that was held back work like any other, if it still is."""
    return exchange.activate(order, now) if order.live and order.shown is not None else []


def reduce(exchange: Exchange, order: Order, quantity: float, ends: Status, now: float) -> list[Update]:
    """Lower a live order's quantity; filled up to it, it ends.

    Args:
        exchange: Whose book it is.
        order: A live order of it.
        quantity: At least what is filled.
        ends: Filled, or Cancelled; one without a fill is always cancelled.
        now: Wall-clock seconds.
    """
    error = ErrorTold(*order.key, REDUCED, TEXTS[REDUCED])
    if quantity > order.filled:
        return [error, *exchange.resize(order, quantity)]
    if ends is Status.CANCELLED or not order.filled:
        return [error, *exchange.resize(order, order.filled), *cancel(exchange, order, now)]
    order.ticket = replace(order.ticket, quantity=order.filled)
    exchange.market(order.instrument).forget(order)
    exchange.book.finish(order, Status.FILLED, now, f"Filled Size: {order.filled:g}")
    told = OpenOrderTold(order, Status.FILLED), status_told(order, Status.FILLED)
    return [error, *told, *exchange.after_end(order, now)]


def vanish(exchange: Exchange, order: Order) -> None:
    """Let a live order be gone without a word."""
    exchange.market(order.instrument).forget(order)
    exchange.book.vanish(order)
