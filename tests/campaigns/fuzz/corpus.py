"""Valid messages of every kind, as a program that has read docs/PROTOCOL.md would write them."""

from __future__ import annotations

import random
from typing import Any

# The only strategy under whose name the fuzzer's orders may pass; its circuit is allowed to move.
STRATEGY = "fuzz"

STOCK = {"secType": "STK", "symbol": "MSFT", "exchange": "SMART", "currency": "USD"}
COMBO = {
    "secType": "BAG",
    "symbol": "IBKR",
    "exchange": "SMART",
    "currency": "USD",
    "comboLegs": [
        {"conId": 43645865, "ratio": 1, "action": "BUY", "exchange": "SMART"},
        {"conId": 9408, "ratio": 1, "action": "SELL", "exchange": "SMART"},
    ],
}
MARKET = {"action": "BUY", "orderType": "MKT", "totalQuantity": 1}
LIMIT = {"action": "SELL", "orderType": "LMT", "totalQuantity": 2, "lmtPrice": 900.5, "tif": "GTC"}
ALGO = {
    **LIMIT,
    "algoStrategy": "Adaptive",
    "algoParams": [{"tag": "adaptivePriority", "value": "Normal"}],
    "conditions": [
        {"condType": 1, "conjunction": "a", "isMore": True, "price": 5.0, "conId": 265598, "exch": "SMART"},
        {"condType": 3, "conjunction": "o", "time": "20991231 10:00:00"},
    ],
    "conditionsIgnoreRth": True,
}

ORDER_KINDS = ("market", "limit", "algo", "combo", "bracket", "cancel", "replace", "heartbeat")
CONTROL_OPS = ("status", "trip", "reset", "orders", "events", "report", "resolve")


def order_message(draw: random.Random, kind: str, number: int, now_ns: int) -> dict[str, Any]:
    """A valid message of the link orders. Ids come again now and then, so that what follows from that does too."""
    message = {"v": 1, "strategy_id": STRATEGY, "sent_ns": now_ns}
    order_id = f"z-{number if draw.random() < 0.7 else draw.randint(0, max(0, number - 1)) // 50}"
    request_id = f"r-{number if draw.random() < 0.8 else number // 50}"
    submit = {**message, "kind": "submit", "order_id": order_id, "contract": STOCK, "order": MARKET}
    match kind:
        case "market":
            return submit
        case "limit":
            return {**submit, "order": LIMIT, "ttl_ms": 3000, "account": "", "protect": draw.random() < 0.3}
        case "algo":
            return {**submit, "order": ALGO}
        case "combo":
            return {**submit, "contract": COMBO}
        case "bracket":
            legs = [{"order_id": f"{order_id}-{leg}", "order": LIMIT} for leg in range(draw.randint(1, 5))]
            return {**submit, "order": {**LIMIT, "action": "BUY", "lmtPrice": 1.0}, "attached": legs}
        case "cancel":
            return {**message, "kind": "cancel", "request_id": request_id, "order_id": order_id}
        case "replace":
            changed = {**LIMIT, "lmtPrice": 900.5 + draw.randint(1, 50)}
            asked = {"kind": "replace", "request_id": request_id, "order_id": order_id}
            return {**message, **asked, "revision": draw.randint(1, 5), "order": changed}
        case _:
            return {**message, "kind": "heartbeat", "cancel_after_ms": draw.choice((0, 60_000))}


def control_message(draw: random.Random, op: str, number: int) -> dict[str, Any]:
    """A valid request of the link control."""
    request = {"v": 1, "kind": "request", "op": op, "id": draw.choice((number, f"id-{number}"))}
    by_hand = {**request, "reason": "fuzz", "scope": f"strategy:{STRATEGY}", "who": "fuzz@here pid 1"}
    match op:
        case "trip":
            return {**by_hand, "cancel": draw.choice(("none", "ours", "ours_with_protective"))}
        case "reset":
            return {**by_hand, "generation": number}
        case "orders":
            return {**request, "strategy_id": STRATEGY, "state": "working", "after": 0, "limit": 20}
        case "events":
            return {**request, "topic": f"order/{STRATEGY}/", "after_seq": number, "limit": 20}
        case "report":
            return {**by_hand, "what": "condition", "name": "feed_stale:ES", "holds": True, "reporter": "fuzz"}
        case "resolve":
            settled = {"order_id": f"z-{number}", "as": "filled", "shares": 1.0, "price": 2.0}
            return {**request, **settled, "reason": "seen in TWS"}
        case _:
            return request
