"""What has become of an order, told once more: for a breaker that has forgotten it. Pure."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.events import Accepted, Cancelled, Filled, NotPlaced, Rejected, Unknown
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.records import DECIMALS
from services.wire.feedback import Fact


def retold(order: OrderAtIb) -> list[Fact]:
    """The facts in order; the breaker has forgotten the order, so they are news to it."""
    record = order.record
    again: dict[str, Any] = {**order.ids, "again": True}
    facts: list[Fact] = []
    if record.accepted:
        numbers: dict[str, Any] = {"ib_order_id": record.ib_order_id, "perm_id": record.perm_id}
        before = record.filled_before or None
        facts.append(Accepted(**again, **numbers, status=record.status or "Submitted", filled_before=before))
    filled = record.filled_before
    for execution in (each for each in order.executions.values() if each.counts):
        filled = round(filled + execution.shares, DECIMALS)
        left = max(0.0, round(record.quantity - filled, DECIMALS))
        done = record.ended == "filled" and filled >= order.filled
        prices: dict[str, Any] = {"shares": execution.shares, "price": execution.price, "avg_price": order.avg_price}
        facts.append(Filled(**again, **prices, exec_id=execution.exec_id, cum_qty=filled, remaining=left, done=done))
    why = f"the order was {record.ended} when this breaker's journal was lost"
    match record.ended:
        case "cancelled":
            facts.append(Cancelled(**again, filled=order.filled, remaining=order.remaining, reason=why))
        case "rejected":
            facts.append(Rejected(**again, ib_code=0, reason=why))
        case "not_placed":
            facts.append(NotPlaced(**again, code="undelivered", reason=why))
        case "settled":
            facts.append(Unknown(**again, reason="a person had settled it before this breaker's journal was lost"))
        case "filled":
            pass  # The last of its executions has said so.
        case "":
            facts += [Unknown(**again, reason=why)] if order.doubtful else []
    return facts
