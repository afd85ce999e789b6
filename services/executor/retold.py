"""What has become of an order, told once more from its story: for a breaker that has forgotten it. Pure."""

from __future__ import annotations

from typing import Any

from orderfuse.messages import Accepted, Cancelled, Fact, Filled, NotPlaced, Rejected, Unknown
from services.executor.story import DECIMALS, Story


def retold(story: Story) -> list[Fact]:
    """The facts, in their order; that it was sent its id once more makes them news to it."""
    record = story.record
    again: dict[str, Any] = {**story.ids, "again": True}
    facts: list[Fact] = []
    if record.accepted:
        numbers: dict[str, Any] = {"ib_order_id": record.ib_order_id, "perm_id": record.perm_id}
        before = record.filled_before or None
        facts.append(Accepted(**again, **numbers, status=record.status or "Submitted", filled_before=before))
    filled = record.filled_before
    for execution in (each for each in story.executions.values() if each.counts):
        filled = round(filled + execution.shares, DECIMALS)
        left = max(0.0, round(record.quantity - filled, DECIMALS))
        done = record.ended == "filled" and filled >= story.filled
        prices: dict[str, Any] = {"shares": execution.shares, "price": execution.price, "avg_price": story.avg_price}
        facts.append(Filled(**again, **prices, exec_id=execution.exec_id, cum_qty=filled, remaining=left, done=done))
    why = f"the order was {record.ended} when this breaker's journal was lost"
    match record.ended:
        case "cancelled":
            facts.append(Cancelled(**again, filled=story.filled, remaining=story.remaining, reason=why))
        case "rejected":
            facts.append(Rejected(**again, ib_code=0, reason=why))
        case "not_placed":
            facts.append(NotPlaced(**again, code="undelivered", reason=why))
        case "settled":
            facts.append(Unknown(**again, reason="a person had settled it before this breaker's journal was lost"))
        case "":
            facts += [Unknown(**again, reason=why)] if story.doubtful else []
    return facts
