"""What a person says became of an order of which nobody knows whether IB has it. Pure."""

from __future__ import annotations

from typing import Any, assert_never

from orderfuse.bus.control import ResolveRequest
from orderfuse.bus.events import Cancelled, Filled, NotPlaced, OrderEvent
from orderfuse.text import cut
from services.breaker.core import Core
from services.breaker.orders import OrderRecord

# Quantities are sums of decimal numbers: beyond this many places there is only binary dust.
DECIMALS = 8


def complaint(request: ResolveRequest, record: OrderRecord | None) -> str:
    """Why this request cannot be carried out; empty if it can."""
    if record is None:
        return f"there is no order {request.order_id}"
    if record.state != "unknown":
        return f"{request.order_id} is {record.state}: only an unknown order is settled by hand"
    executed = (request.shares, request.price)
    if request.as_ != "filled":
        if executed != (None, None):
            return f"shares and price belong to as = 'filled', not to {request.as_!r}"
        if request.as_ == "not_placed" and (record.filled or record.accepted):
            return f"IB has had {request.order_id}: it was placed; settle it as cancelled or filled"
        return ""
    if None in executed:
        return "as = 'filled' needs shares and price: how many were executed, and at which average"
    left = _left(record)
    if request.shares is not None and request.shares > left:
        return f"shares is {request.shares:g}, of {request.order_id} only {left:g} are left to fill"
    return ""


def resolve(core: Core, request: ResolveRequest, record: OrderRecord) -> None:
    """Publish what the person says as the order's end. A later fact of IB still wins over it."""
    ids: dict[str, Any] = {"order_id": record.order_id, "strategy_id": record.strategy_id}
    reason = cut(f"settled by {request.who or 'a person'}: {request.reason}")
    match request.as_:
        case "not_placed":
            end: OrderEvent = NotPlaced(**ids, code="reconciled", reason=reason)
        case "cancelled":
            end = Cancelled(**ids, filled=record.filled, remaining=_left(record), reason=reason)
        case "filled":
            fill = _fill(record, request.shares or 0.0, request.price or 0.0, ids)
            record.filled, record.avg_price = fill.cum_qty, fill.avg_price
            end = fill
            if not fill.done:
                # An order has one end: what the person did not see filled is over too.
                core.tell(record, fill)
                end = Cancelled(**ids, filled=fill.cum_qty, remaining=fill.remaining, reason=reason)
        case _:
            assert_never(request.as_)
    core.end(record, end)
    core.count(record, "neutral")


def _left(record: OrderRecord) -> float:
    return max(0.0, round(record.quantity - record.filled, DECIMALS))


def _fill(record: OrderRecord, shares: float, price: float, ids: dict[str, Any]) -> Filled:
    total = round(record.filled + shares, DECIMALS)
    remaining = round(_left(record) - shares, DECIMALS)
    return Filled(
        **ids,
        # IB's own execution ids have no such beginning.
        exec_id=f"resolved.{record.order_id}",
        shares=shares,
        price=price,
        cum_qty=total,
        avg_price=round((record.filled * record.avg_price + shares * price) / total, DECIMALS),
        remaining=remaining,
        done=remaining == 0,
    )
