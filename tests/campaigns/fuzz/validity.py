"""Whether an order may be at IB, judged from docs/PROTOCOL.md and ib_insync alone; shares no line with the project."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from typing import Any

import ib_insync
import msgpack

FRAME_BYTES, DEPTH = 16 * 1024, 8
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REFUSED = set(
    "orderId permId clientId orderRef parentId parentPermId transmit whatIf account faGroup faProfile faMethod"
    " faPercentage modelCode clearingAccount clearingIntent hedgeType hedgeParam advancedErrorOverride"
    " overridePercentageConstraints basisPoints basisPointsType autoCancelDate filledQuantity refFuturesConId"
    " shareholder imbalanceOnly routeMarketableToBbo".split()
)
# What ib_insync takes for "not set".
UNSET = (None, 2**31 - 1, 1.7976931348623157e308)
# How the wire writes these, apart from lists and maps, whose parts are checked for control characters only.
ON_THE_WIRE = ("action", "totalQuantity", "orderType", "lmtPrice", "auxPrice", "tif", "algoStrategy", "goodTillDate")


class Orders:
    """Every order that the fuzzer has sent and that is valid: its terms by id, with those of valid replaces.

    Of several submits with one id any may be the first that arrives, so a replace may change each of them.
    """

    def __init__(self) -> None:
        self._terms: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        self._changed: dict[str, list[dict[str, Any]]] = {}

    def sent(self, frames: tuple[bytes, ...]) -> None:
        """Remember a message of the link orders if it is a valid submit or replace."""
        fields = self._read(frames)
        if fields is None or not _is_valid(fields):
            return
        # The same message comes in thousands; what it says is needed once.
        if fields["kind"] == "replace":
            _add(self._changed.setdefault(fields["order_id"], []), fields["order"])
            return
        for leg in [fields, *fields.get("attached", ())]:
            _add(self._terms.setdefault(leg["order_id"], []), (fields["contract"], leg["order"]))

    def complaint(self, placed: dict[str, str]) -> str:
        """Why this `placeOrder` of the gateway's wire record should never have been; empty: it is right."""
        order_id = placed.get("orderRef", "")
        if any(ord(character) < 32 for value in placed.values() if isinstance(value, str) for character in value):
            return f"the order {order_id!r} reached the gateway with a control character in a field"
        terms = self._terms.get(order_id)
        if terms is None:
            return f"the order {order_id!r} reached the gateway, and no valid message asked for it"
        changed = [(contract, order) for contract, _ in terms for order in self._changed.get(order_id, ())]
        if not any(_says(placed, contract, order) for contract, order in [*terms, *changed]):
            return f"the order {order_id!r} reached the gateway with terms that no valid message has: {placed}"
        return ""

    @staticmethod
    def _read(frames: tuple[bytes, ...]) -> dict[str, Any] | None:
        if len(frames) != 2 or frames[0] != b"order" or len(frames[1]) > FRAME_BYTES:
            return None
        try:
            fields = msgpack.unpackb(frames[1], strict_map_key=False)
        except Exception:  # noqa: BLE001 - whatever it is, the bytes are no message
            return None
        return fields if isinstance(fields, dict) and _is_flat(fields, DEPTH) else None


def _add(known: list[Any], item: Any) -> None:
    if item not in known:
        known.append(item)


def _is_valid(fields: dict[str, Any]) -> bool:
    whose = _is_id(fields.get("order_id"), 40) and _is_id(fields.get("strategy_id"), 32)
    sent_ns, ttl_ms = fields.get("sent_ns"), fields.get("ttl_ms", 5000)
    # A second is allowed; another for the time between our clock's reading and now.
    when = type(sent_ns) is int and 0 <= sent_ns <= time.time_ns() + 2_000_000_000
    when = when and type(ttl_ms) is int and 1 <= ttl_ms <= 3_600_000
    if not (fields.get("v") == 1 and type(fields["v"]) is int and whose and when):
        return False
    if fields.get("kind") == "replace":
        return _is_id(fields.get("request_id"), 40) and _is_order(fields.get("order"))
    legs = fields.get("attached", [])
    return (
        fields.get("kind") == "submit"
        and _fits(fields.get("contract"), ib_insync.Contract, set())
        and _is_order(fields.get("order"))
        and isinstance(legs, list)
        and len(legs) <= 5
        and all(
            isinstance(leg, dict) and _is_id(leg.get("order_id"), 40) and _is_order(leg.get("order")) for leg in legs
        )
    )


def _is_id(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and ID.fullmatch(value) is not None


def _is_order(order: Any) -> bool:
    if not _fits(order, ib_insync.Order, REFUSED) or any(name.startswith("deltaNeutral") for name in _given(order)):
        return False
    quantity, given = order.get("totalQuantity"), _given(order)
    positive = type(quantity) in (int, float) and quantity > 0
    return positive and given.get("action") in ("BUY", "SELL", "SSHORT", "SLONG") and bool(given.get("orderType"))


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is None or value not in UNSET}


def _fits(fields: Any, kind: Any, refused: set[str]) -> bool:
    """Whether a map has only fields of ib_insync's class, none refused, each of the type of its default."""
    if not isinstance(fields, dict):
        return False
    defaults = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in fields.items():
        if value is None or (type(value) in (int, float) and value in UNSET):
            continue
        if name not in defaults or name in refused or not _is_of_type(value, defaults[name]):
            return False
    return True


def _is_of_type(value: Any, field: dataclasses.Field[Any]) -> bool:
    wanted = getattr(field.type, "__name__", "")
    if wanted == "str":
        return isinstance(value, str)
    if wanted == "bool":
        return isinstance(value, bool)
    if wanted == "int":
        return type(value) is int
    if wanted == "float":
        return type(value) in (int, float) and math.isfinite(value)
    return isinstance(value, list | dict)


def _is_flat(value: Any, levels: int) -> bool:
    """Whether maps and lists are nested no deeper than this."""
    if not isinstance(value, dict | list):
        return True
    children = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_flat(child, levels - 1) for child in children)


def _says(placed: dict[str, str], contract: dict[str, Any], order: dict[str, Any]) -> bool:
    """Whether the wire says what the message said, field by field as far as both have it."""
    asked = {name: order.get(name) for name in ON_THE_WIRE} | {
        name: contract.get(name) for name in ("symbol", "secType", "currency", "conId")
    }
    return all(_same(placed.get(name, ""), value) for name, value in asked.items())


def _same(text: str, value: Any) -> bool:
    if value is None or (type(value) in (int, float) and value in UNSET):
        return text in ("", "0", "0.0")
    if isinstance(value, str):
        # ib_insync writes the currency of a contract found by its id in the contract's own words.
        return text == value
    try:
        return float(text or 0) == float(value)
    except ValueError:
        return False
