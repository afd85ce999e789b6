"""What tests trade."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.orders import Submit
from services.executor.orders.ledger import Ledger
from services.executor.orders.records import OrderRecord
from services.wire.dispatch import Place

STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
MARKET = {"action": "BUY", "totalQuantity": 100, "orderType": "MKT"}
# Far below the market: it is accepted and rests.
RESTING = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 1.0}


def submit(order_id: str, *, order: dict[str, Any] | None = None, **more: Any) -> Submit:
    fields: dict[str, Any] = {"strategy_id": "s1", "sent_ns": 0, "contract": STOCK, **more}
    return Submit(order_id=order_id, order=order or MARKET, **fields)


def place(order_id: str, fence: int, *, order: dict[str, Any] | None = None, **more: Any) -> Place:
    fields: dict[str, Any] = {
        "strategy_id": "s1",
        "account": "",
        "contract": STOCK,
        "protect": False,
        "scope": "strategy:s1",
        "ttl_left_ms": 5000,
        **more,
    }
    return Place(order_id=order_id, order=order or MARKET, fence=fence, **fields)


def record_of(ledger: Ledger, order_id: str) -> OrderRecord:
    """What the executor knows of an order, which it must know."""
    record = ledger.record(order_id)
    assert record is not None, f"the executor does not know {order_id}"
    return record
