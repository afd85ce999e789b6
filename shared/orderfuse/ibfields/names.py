"""A contract or an order on one line, with everything that distinguishes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# In the order in which they are said, behind the symbol.
_WORDS = ("sec_type", "expiry", "strike", "right", "currency")


def contract_name(fields: Mapping[str, Any]) -> str:
    """Symbol, type, expiry, strike, right and currency, as far as they are known, and IB's id of the contract."""
    said = [fields.get(key) for key in _WORDS]
    words = [f"{word:g}" if isinstance(word, float) else str(word) for word in said if word]
    symbol, con_id = fields.get("symbol"), fields.get("con_id")
    return " ".join([*([str(symbol)] if symbol else []), *words, *([f"({con_id})"] if con_id else [])])


def order_name(fields: Mapping[str, Any]) -> str:
    """Somebody else's order: what it is, and whose."""
    quantity, client_id = fields.get("quantity"), fields.get("client_id")
    size = f"{quantity:g}" if isinstance(quantity, int | float) else "?"
    whose = "by hand" if fields.get("by_hand") else f"client {client_id}"
    what = f"{fields.get('action')} {size} {contract_name(fields)} {fields.get('order_type')}"
    return f"{what}, {whose}, permanent id {fields.get('perm_id')}"
