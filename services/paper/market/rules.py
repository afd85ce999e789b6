"""Which orders the paper gateway refuses, with IB's codes and the sense of IB's texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from services.paper.market.instruments import Instrument
from services.paper.market.orders import Order, Refusal, Ticket
from services.paper.wire.moments import parse_time

MAX_QUANTITY = 1e9
MAX_PRICE = 1e9
_PRICE_DUST = 1e-6


@dataclass(frozen=True, slots=True)
class OrderKind:
    """How an order type behaves."""

    limited: bool = False  # has a limit price
    trigger: str = ""  # "stop" or "touch": waits for its auxPrice first; "trail": for a stop that follows


ORDER_KINDS = {
    "MKT": OrderKind(),
    "MTL": OrderKind(),
    "LMT": OrderKind(limited=True),
    "STP": OrderKind(trigger="stop"),
    "STP LMT": OrderKind(limited=True, trigger="stop"),
    "MIT": OrderKind(trigger="touch"),
    "LIT": OrderKind(limited=True, trigger="touch"),
    "TRAIL": OrderKind(trigger="trail"),
    "TRAIL LIMIT": OrderKind(limited=True, trigger="trail"),
}
TIMES_IN_FORCE = frozenset({"DAY", "GTC", "IOC", "FOK", "GTD"})
IMMEDIATE = frozenset({"IOC", "FOK"})


def refuse_order(ticket: Ticket, instrument: Instrument, account: str, now: float) -> Refusal | None:
    """Return why a new order or a change is refused as it stands, None if it is not."""
    return (
        _refuse_size(ticket, instrument)
        or _refuse_terms(ticket, account, now)
        or _refuse_prices(ticket, instrument)
        or _refuse_expired(instrument, now)
    )


def refuse_change(old: Order, ticket: Ticket, instrument: Instrument) -> Refusal | None:
    """Return why a ticket cannot replace a live order's, None if it can."""
    if instrument is not old.instrument or ticket.action != old.ticket.action:
        return Refusal(105, "Order being modified does not match original order.")
    if ticket.order_type != old.ticket.order_type:
        return Refusal(329, "Order modify failed. Cannot change to the new order type.")
    if ticket.quantity <= old.filled:
        return Refusal(105, "Order being modified does not match original order: it has filled beyond that size.")
    return None


def too_little_margin(equity: float, needed: float) -> Refusal:
    """Return the refusal of an order that the account's value does not carry."""
    return Refusal(
        201,
        "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR"
        f" EQUITY WITH LOAN VALUE [{equity:.2f} USD] MUST EXCEED THE INITIAL MARGIN [{needed:.2f} USD]",
        booked=True,
    )


def too_many_working(limit: int) -> Refusal:
    """Return the refusal of one more working order than a contract and side may have."""
    return Refusal(
        201,
        f"Order rejected - reason:The maximum of {limit} orders working on either the buy or sell side for this"
        " particular contract has been reached.",
        booked=True,
    )


def _refuse_size(ticket: Ticket, instrument: Instrument) -> Refusal | None:
    if ticket.quantity == 0:
        return Refusal(434, "The order size cannot be zero.")
    if not 0 < ticket.quantity <= MAX_QUANTITY:
        return _invalid(f"Order size {ticket.quantity:g} is out of range.")
    if instrument.sec_type != "CASH" and not float(ticket.quantity).is_integer():
        return Refusal(
            10243,
            "Fractional-sized order cannot be placed via API. Please use desktop version to place this order.",
        )
    return None


def _refuse_terms(ticket: Ticket, account: str, now: float) -> Refusal | None:
    if ticket.action not in ("BUY", "SELL", "SSHORT"):
        return _invalid(f"Invalid action '{ticket.action[:20]}'.")
    if ticket.order_type not in ORDER_KINDS:
        return Refusal(387, "Unsupported order type for this exchange and security type.")
    if ticket.tif not in TIMES_IN_FORCE:
        return _invalid(f"The time in force '{ticket.tif[:20]}' is invalid.")
    if ticket.tif == "GTD" and expires_at(ticket, now) is None:
        return _invalid("A GTD order needs a goodTillDate or a duration.")
    if ticket.account not in ("", account):
        return _invalid(f"Invalid account code '{ticket.account[:20]}'.")
    if ticket.what_if and not ticket.transmit:
        return Refusal(413, "The 'What-if' order should have the 'transmit' flag set to true.")
    return None


def _refuse_prices(ticket: Ticket, instrument: Instrument) -> Refusal | None:
    kind = ORDER_KINDS[ticket.order_type]
    if kind.trigger == "trail":
        return _refuse_trail(ticket)
    prices = []
    if kind.limited:
        prices.append(("limit", ticket.limit_price))
    if kind.trigger:
        prices.append(("stop", ticket.aux_price))
    for name, price in prices:
        # A combination may cost less than nothing.
        if price is None or (price <= 0 and instrument.sec_type != "BAG") or abs(price) > MAX_PRICE:
            return _invalid(f"A {ticket.order_type} order needs a {name} price.")
        ticks = price / instrument.min_tick
        if abs(ticks - round(ticks)) > _PRICE_DUST * max(1.0, abs(ticks)):
            return Refusal(110, "The price does not conform to the minimum price variation for this contract.")
    return None


def _refuse_trail(ticket: Ticket) -> Refusal | None:
    """Check what a trailing order trails by; like its limit's distance it need not be a whole tick."""
    amount, percent = ticket.aux_price, ticket.trail_percent
    by_amount = amount is not None and 0 < amount <= MAX_PRICE
    by_percent = percent is not None and 0 < percent < 100
    if by_amount == by_percent:
        return _invalid(f"A {ticket.order_type} order needs a trailing amount or a trailing percentage, not both.")
    offset, limit = ticket.limit_offset, ticket.limit_price
    if ORDER_KINDS[ticket.order_type].limited and offset is None and (limit is None or ticket.trail_stop is None):
        return _invalid("A TRAIL LIMIT order needs a limit offset, or a limit price and a stop price.")
    given = [price for price in (offset, limit, ticket.trail_stop) if price is not None]
    if any(abs(price) > MAX_PRICE for price in given):
        return _invalid("A price is out of range.")
    return None


def _refuse_expired(instrument: Instrument, now: float) -> Refusal | None:
    # A month's end is long past any expiry in it, which only ever errs on the side of the client.
    last_day = (instrument.expiry + "31")[:8] if instrument.expiry else ""
    if last_day and last_day < f"{datetime.fromtimestamp(now, UTC).astimezone():%Y%m%d}":
        return Refusal(392, "Invalid order: contract expired.")
    return None


def expires_at(ticket: Ticket, now: float) -> float | None:
    """Return when an order ends by itself, None for never (a paper day has no end)."""
    if ticket.tif != "GTD":
        return None
    if ticket.duration_secs:
        return now + ticket.duration_secs
    return parse_time(ticket.good_till)


def _invalid(cause: str) -> Refusal:
    return Refusal(321, f"Error validating request.-'bW' : cause - {cause}")
