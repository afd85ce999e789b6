"""What the tests ask the paper exchange for."""

from __future__ import annotations

from typing import Any

from services.paper.market.orders import CONTRACT_FIELDS, Ticket


def contract(**values: str) -> dict[str, str]:
    """Return the contract fields of a request."""
    plain = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
    return {**dict.fromkeys(CONTRACT_FIELDS, ""), **plain, **values}


def ticket(order_id: int, action: str = "BUY", quantity: float = 100, **values: Any) -> Ticket:
    """Return what a client asks for: a market order for AAPL unless said otherwise."""
    fields: dict[str, Any] = {
        "client_id": 7,
        "order_id": order_id,
        "contract": contract(symbol=values.pop("symbol", "AAPL"), secType=values.pop("sec_type", "STK")),
        "action": action,
        "quantity": quantity,
        "order_type": "LMT" if values.get("limit_price") is not None else "MKT",
        "limit_price": None,
        "aux_price": None,
        "tif": "DAY",
        "oca_group": "",
        "account": "",
        "order_ref": "",
        "transmit": True,
        "parent_id": 0,
        "what_if": False,
        "duration_secs": None,
        "good_till": "",
        "echo": None,
    }
    return Ticket(**{**fields, **values})
