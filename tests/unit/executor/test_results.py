"""What a script hears of an order that it has placed."""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse.bus.events import Accepted, Cancelled, Expired, Filled, Invalid, NotPlaced, Rejected, Unknown
from services.executor.results import status_of
from services.wire.feedback import Fact, Working

IDS: dict[str, Any] = {"order_id": "o-1", "strategy_id": "s1"}


def filled(*, done: bool) -> Filled:
    numbers: dict[str, Any] = {"shares": 1.0, "price": 1.0, "cum_qty": 1.0, "avg_price": 1.0, "remaining": 0.0}
    return Filled(**IDS, exec_id="e.01", done=done, **numbers)


@pytest.mark.parametrize(
    ("fact", "status"),
    [
        (Accepted(**IDS, ib_order_id=1, perm_id=9, status="Submitted"), "accepted"),
        (Working(**IDS, status="PreSubmitted"), "accepted"),
        (filled(done=False), "accepted"),
        (filled(done=True), "filled"),
        (Cancelled(**IDS, filled=0.0, remaining=1.0, reason="202"), "cancelled"),
        (Rejected(**IDS, ib_code=201, reason="no"), "rejected"),
        (Unknown(**IDS), "unknown"),
        (NotPlaced(**IDS, code="undelivered"), "not_placed"),
        (Invalid(**IDS, reason="no"), "invalid"),
        (Expired(**IDS, age_ms=6000), "expired"),
    ],
)
def test_a_fact_that_decides_is_a_status_and_whatever_else_is_told_of_an_order_says_that_ib_works_it(
    fact: Fact, status: str
) -> None:
    assert status_of(fact) == status
