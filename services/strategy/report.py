"""One line for how an order ended."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.events import Cancelled, Expired, Filled, Invalid, NotPlaced, Rejected
from orderfuse.client.handle import End


def tell_end(log: Any, what: str, end: End) -> None:
    """Log the end of the order `what`."""
    match end:
        case Filled():
            log.info("{} filled at {:g} ({})", what, end.avg_price, end.order_id)
        case Cancelled():
            log.warning("{} cancelled after {:g}: {} ({})", what, end.filled, end.reason, end.order_id)
        case Rejected():
            log.warning("{} rejected by IB: {} {} ({})", what, end.ib_code, end.reason, end.order_id)
        case NotPlaced():
            log.warning("{} not placed: {} ({})", what, end.code, end.order_id)
        case Expired():
            log.warning("{} expired at {} ms ({})", what, end.age_ms, end.order_id)
        case Invalid():
            log.warning("{} invalid: {} ({})", what, end.reason, end.order_id)
