"""The lists of positions and of all open orders, asked for now and then over a life in virtual time."""

from __future__ import annotations

import pytest

from orderfuse.settings import IbSettings
from services.gateway.asking import OVERDUE_SECS
from services.gateway.news import OrdersListed, PositionsListed, PositionTold
from services.gateway.position_list import Held
from services.gateway.reports import POSITION_MESSAGE, Closed, PositionReport, RequestEnd, Unreadable
from tests.unit.gateway.test_life import STEP, TIMING, Bench, listing, serving


def position(quantity: float, *, account: str = "DU1", sec_type: str = "STK") -> PositionReport:
    return PositionReport(account, 1, "SPY", sec_type, quantity)


def test_positions_are_asked_for_ahead_of_every_order_of_a_connection() -> None:
    bench = listing()
    assert (bench.asked("positions"), bench.life.usable) == (1, False)


def test_positions_are_asked_for_again_every_thirty_seconds() -> None:
    bench = Bench().tick().tick()
    bench.wait(TIMING.positions_every - 2 * STEP)
    assert (bench.asked("positions"), bench.asked("end_positions")) == (1, 0)
    bench.wait(4 * STEP)
    assert (bench.asked("positions"), bench.asked("end_positions")) == (2, 1)


@pytest.mark.parametrize("per_second", [0, 1, 2, 3, 45])
def test_however_few_messages_may_leave_lists_are_asked_for_and_cancels_find_room(per_second: int) -> None:
    bench = Bench(ib=IbSettings(messages_per_second=per_second), lists_orders=True).tick().wait(10.0)
    assert bench.life.usable
    listed, free = len(bench.told(OrdersListed)), 0.0
    for _ in range(round(100 / STEP)):
        bench.tick(STEP)
        free += STEP * bench.life.pacer.free(bench.now, cancel=True)
    assert (bench.asked("positions"), bench.asked("end_positions")) == (4, 3)
    assert len(bench.told(PositionsListed)) == 4
    assert len(bench.told(OrdersListed)) >= listed + 3
    assert free > 50.0


def test_a_list_of_positions_is_told_whole_and_what_comes_between_lists_by_itself() -> None:
    bench = Bench(mute=("positions",)).tick().wait(1.0)
    bench.hear(position(5.0), position(7.0), position(9.0, account="DU2"), position(1.0, sec_type="CASH"))
    assert bench.told(PositionTold) == []
    bench.hear(RequestEnd("positions"), position(8.0))
    assert [each.held for each in bench.told(PositionsListed)] == [[Held(1, "SPY", 7.0)]]
    assert [each.held for each in bench.told(PositionTold)] == [Held(1, "SPY", 8.0)]


def test_a_list_with_a_position_that_cannot_be_read_proves_nothing() -> None:
    bench = Bench(mute=("positions",)).tick().wait(1.0)
    bench.hear(position(5.0), Unreadable(POSITION_MESSAGE, "no number"), RequestEnd("positions"))
    assert bench.told(PositionsListed) == []


def test_a_list_of_positions_that_has_no_end_is_told_of_once_and_not_asked_for_again_over_this_connection() -> None:
    bench = Bench(mute=("positions",)).tick().wait(2 * OVERDUE_SECS)
    assert [text for text in bench.warnings() if "no list of positions for 30 s" in text] == bench.warnings()
    assert (len(bench.warnings()), bench.asked("positions"), bench.life.usable) == (1, 1, True)


def test_open_orders_of_everybody_are_listed_every_thirty_seconds_where_that_is_wished() -> None:
    for wished in (True, False):
        bench = serving(lists_orders=wished)
        listed = len(bench.told(OrdersListed))
        bench.wait(TIMING.orders_every + 1.0)
        assert len(bench.told(OrdersListed)) - listed == (1 if wished else 0)


def test_open_orders_are_listed_soon_if_somebody_may_have_more_out() -> None:
    bench = serving(lists_orders=True)
    listed = len(bench.told(OrdersListed))
    bench.life.list_orders_soon()
    bench.tick(STEP)
    assert len(bench.told(OrdersListed)) == listed + 1


def test_a_list_of_open_orders_that_has_no_end_is_told_of_once() -> None:
    bench = serving(lists_orders=True)
    bench.mute.add("open_orders")
    bench.life.list_orders_soon()
    bench.wait(2 * OVERDUE_SECS)
    assert bench.warnings() == ["no list of open orders for 30 s: orders of others are not seen"]
    assert bench.life.usable


def test_a_list_of_open_orders_in_passing_is_not_taken_for_that_of_a_round() -> None:
    bench = serving(lists_orders=True)
    bench.mute.add("open_orders")
    bench.life.list_orders_soon()
    bench.tick(STEP)
    asked = bench.asked("open_orders")
    bench.life.look_up()
    bench.wait(TIMING.look_up_pause + 1.0)
    assert bench.asked("open_orders") == asked, "the end of the one before is owed"
    bench.mute.clear()
    bench.hear(RequestEnd("open_orders")).wait(1.0)
    assert bench.asked("open_orders") == asked + 1


def test_orders_of_others_are_not_listed_while_a_round_is_under_way() -> None:
    bench = serving(lists_orders=True)
    bench.mute.add("executions")
    bench.life.look_up()
    bench.wait(TIMING.look_up_pause + 1.0)
    asked = bench.asked("open_orders")
    bench.life.list_orders_soon()
    bench.wait(1.0)
    assert (bench.life.usable, bench.asked("open_orders")) == (True, asked)


def test_a_list_that_was_awaited_over_the_connection_before_is_asked_for_anew() -> None:
    bench = Bench(mute=("positions",)).tick().wait(1.0)
    bench.hear(Closed()).wait(TIMING.first_pause + 1.0)
    assert bench.asked("positions") == 2
