"""What a strategy sends, made and checked before it leaves. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from orderfuse.bus import codec
from orderfuse.bus.codec import DecodeError
from orderfuse.bus.orders import FromStrategy
from orderfuse.errors import OrderInvalid

# Longer than IB keeps an order that rests; a typing error is more likely.
MAX_GOOD_FOR_SECS = 90 * 86_400


def checked(message: FromStrategy) -> bytes:
    """The bytes, if the breaker's own door would let them in: a frame too large would cost the connection.

    Raises:
        OrderInvalid: it would not.
    """
    frame = codec.encode(message)
    try:
        codec.decode(frame, FromStrategy)
    except DecodeError as error:
        raise OrderInvalid(error.reason, order_id=str(getattr(message, "order_id", ""))) from None
    return frame


def good_for(order: dict[str, Any], secs: float, order_id: str, now_ns: int) -> dict[str, Any]:
    """The order with an end that IB keeps by itself, `secs` seconds from `now_ns` (wall clock).

    IB reads `yyyyMMdd-HH:mm:ss` as UTC (TWS API, "Time in force"), so that no zone of a machine matters.

    Raises:
        OrderInvalid: so long is not allowed, or the order has an end of its own.
    """
    if not 0 < secs <= MAX_GOOD_FOR_SECS:
        raise OrderInvalid(
            f"good_for_secs is {secs!r}, allowed is above 0 and at most {MAX_GOOD_FOR_SECS}", order_id=order_id
        )
    if order.get("tif", "") not in ("", "GTD") or order.get("goodTillDate"):
        has = f"tif {order.get('tif', '')!r} and goodTillDate {order.get('goodTillDate', '')!r}"
        raise OrderInvalid(
            f"good_for_secs makes an order GTD, and this one has {has}: leave one out", order_id=order_id
        )
    until = datetime.fromtimestamp(math.ceil(now_ns / 1e9 + secs), UTC)
    return {**order, "tif": "GTD", "goodTillDate": f"{until:%Y%m%d-%H:%M:%S}"}
