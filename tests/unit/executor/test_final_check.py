from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orderfuse.bus.events import Expired, NotPlaced
from services.executor.final_check import AlreadyPlaced, Refuse, Surroundings, Wait, WriteNow, final_check
from tests.orders import place

GOOD = Surroundings(
    now=100.0,
    stopped=False,
    fence=3,
    lease_until=100.2,
    known=False,
    usable=True,
    detail="",
    window_free=True,
    buffer_empty=True,
    token_free=True,
)


def look(received_at: float = 99.9, fence: int = 3, ttl_left_ms: int = 1000, **around: Any) -> Any:
    return final_check(place("o-1", fence, ttl_left_ms=ttl_left_ms), received_at, dataclasses.replace(GOOD, **around))


def test_an_order_for_which_everything_holds_is_written() -> None:
    assert look() == WriteNow()


@pytest.mark.parametrize("fence", [2, 4])
def test_another_fence_is_refused_whichever_way_it_differs(fence: int) -> None:
    refused = look(fence=fence)
    assert isinstance(refused, Refuse)
    assert isinstance(refused.fact, NotPlaced)
    assert refused.fact.code == "fenced"


@pytest.mark.parametrize(("lease_until", "written"), [(100.001, True), (100.0, False), (99.0, False)])
def test_the_lease_must_still_run(lease_until: float, written: bool) -> None:
    looked = look(lease_until=lease_until)
    assert isinstance(looked, WriteNow if written else Refuse)
    if isinstance(looked, Refuse):
        assert isinstance(looked.fact, NotPlaced)
        assert looked.fact.code == "lease"


def test_a_lease_that_has_run_out_refuses_even_what_would_have_to_wait() -> None:
    assert isinstance(look(lease_until=99.0, window_free=False), Refuse)


@pytest.mark.parametrize(("ttl_left_ms", "written"), [(501, True), (500, False), (1, False)])
def test_the_time_to_live_counts_from_the_receipt(ttl_left_ms: int, written: bool) -> None:
    looked = look(received_at=99.5, ttl_left_ms=ttl_left_ms)
    assert isinstance(looked, WriteNow if written else Refuse)
    if isinstance(looked, Refuse):
        assert looked.fact == Expired(order_id="o-1", strategy_id="s1", age_ms=500)


def test_a_known_order_is_neither_written_nor_called_not_placed() -> None:
    for around in ({}, {"lease_until": 0.0}, {"fence": 9}, {"usable": False}):
        assert look(known=True, **around) == AlreadyPlaced()


def test_a_gateway_that_is_not_usable_refuses_with_its_cause() -> None:
    looked = look(usable=False, detail="IB is not behind the gateway: 1100")
    assert isinstance(looked, Refuse)
    assert isinstance(looked.fact, NotPlaced)
    assert looked.fact.code == "undelivered"
    assert "1100" in looked.fact.reason


@pytest.mark.parametrize("missing", ["window_free", "buffer_empty", "token_free"])
def test_what_gets_better_by_itself_is_waited_for(missing: str) -> None:
    assert isinstance(look(**{missing: False}), Wait)


def test_while_the_file_stop_is_there_nothing_is_written() -> None:
    looked = look(stopped=True)
    assert isinstance(looked, Refuse)
    assert looked.fact == NotPlaced(order_id="o-1", strategy_id="s1", code="fenced", reason="STOP")
    assert isinstance(look(stopped=True, window_free=False), Refuse), "nor does it wait for a place"
