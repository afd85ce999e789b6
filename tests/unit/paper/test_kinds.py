"""What can be traded and how: kinds of contracts and orders, sizes, limits. The book without sockets."""

from __future__ import annotations

from typing import Any

import pytest

from services.paper.market.exchange import Exchange
from services.paper.market.orders import Status
from tests.unit.paper.test_exchange import CANCELLED, FILL_BUY, PENDING, WORKING, aapl, order_of, story
from tests.unit.paper.tickets import contract, ticket

NOW = 1_700_000_000.0


def an_exchange(**options: Any) -> Exchange:
    return Exchange(1, NOW, tick_secs=0, **options)


def future(symbol: str, expiry: str = "203012", **more: str) -> dict[str, str]:
    return contract(symbol=symbol, secType="FUT", exchange="CME", lastTradeDateOrContractMonth=expiry, **more)


def option(strike: str, right: str, expiry: str = "20301220") -> dict[str, str]:
    return contract(secType="OPT", lastTradeDateOrContractMonth=expiry, strike=strike, right=right)


def combo(*legs: tuple[int, int, str], symbol: str = "AAPL") -> dict[str, Any]:
    rows = [{"conId": str(con_id), "ratio": str(ratio), "action": action} for con_id, ratio, action in legs]
    return {**contract(symbol=symbol, secType="BAG"), "comboLegs": rows}


# ---------------------------------------------------------------- contracts


@pytest.mark.parametrize(
    ("described", "tick", "multiplier", "price"),
    [
        (contract(), 0.01, 1, 190.0),
        (contract(symbol="EUR", secType="CASH"), 0.00005, 1, 1.08),
        (contract(symbol="USD", secType="CASH", currency="JPY"), 0.005, 1, 150.0),
        (future("ES"), 0.25, 50, 5800.0),
        (future("ES", multiplier="5"), 0.25, 5, 5800.0),
        (future("CL"), 0.01, 1000, 70.0),
        (future("ZB"), 0.03125, 1000, 118.0),
        (option("180", "C"), 0.01, 100, 13.8),
        (option("180", "P"), 0.01, 100, 3.8),
    ],
)
def test_each_kind_of_contract_has_its_tick_its_multiplier_and_a_price_of_the_right_size(
    described, tick, multiplier, price
):
    exchange = an_exchange()
    instrument = exchange.instrument(described)
    assert (instrument.min_tick, instrument.multiplier) == (tick, multiplier)
    assert exchange.quote(instrument).last == pytest.approx(price)
    words = story(exchange.place(ticket(1, quantity=1, contract=described), NOW))
    assert words[-1] == "commission"


def test_an_option_costs_its_multiplier_and_an_off_tick_price_of_a_future_is_110():
    exchange = an_exchange()
    exchange.place(ticket(1, quantity=2, contract=option("180", "C")), NOW)
    assert exchange.account.cash == pytest.approx(1_000_000 - 2 * 13.81 * 100 - 1.3)
    assert story(exchange.place(ticket(2, contract=future("ES"), limit_price=5000.1), NOW)) == ["error 110"]


@pytest.mark.parametrize(("expiry", "code"), [("202210", 392), ("20231110", 392), ("202311", None), ("20231231", None)])
def test_an_expired_contract_is_refused(expiry, code):
    # The time of these tests is 14 November 2023.
    words = story(an_exchange().place(ticket(1, quantity=1, contract=future("ES", expiry)), NOW))
    assert words[0] == ("openOrder PreSubmitted" if code is None else f"error {code}")


def test_a_combination_costs_what_its_legs_cost_and_may_cost_less_than_nothing():
    exchange = an_exchange()
    low, high = exchange.instrument(option("180", "C")), exchange.instrument(option("200", "C"))
    debit = combo((low.con_id, 1, "BUY"), (high.con_id, 1, "SELL"))
    credit = combo((low.con_id, 1, "SELL"), (high.con_id, 1, "BUY"))
    assert exchange.quote(exchange.instrument(debit)).last == pytest.approx(10.0)
    assert exchange.quote(exchange.instrument(credit)).last == pytest.approx(-10.0)
    assert story(exchange.place(ticket(1, contract=credit, quantity=1, limit_price=-9.0), NOW))[2] == "exec 1@-9.99"
    assert story(exchange.place(ticket(2, contract=debit, quantity=1, limit_price=9.0), NOW))[0] == WORKING[0]


def test_a_combination_counts_like_its_largest_leg_and_needs_margin_also_when_it_pays():
    exchange = an_exchange()
    call = exchange.instrument(option("180", "C"))
    covered = exchange.instrument(combo((aapl(exchange).con_id, 100, "BUY"), (call.con_id, 1, "SELL")))
    assert exchange.quote(covered).last == pytest.approx(190 - 13.8)
    assert covered.multiplier == 100
    high = exchange.instrument(option("200", "C"))
    credit = combo((call.con_id, 1, "SELL"), (high.con_id, 1, "BUY"))
    assert story(exchange.place(ticket(1, contract=credit, quantity=1001), NOW))[0] == "error 201"
    assert story(exchange.place(ticket(2, contract=credit, quantity=900), NOW))[-1] == "commission"


def test_a_combination_with_nonsense_for_a_leg_has_no_definition():
    assert story(an_exchange().place(ticket(1, contract=combo((1, 1, "HOLD"))), NOW)) == ["error 200"]


# ---------------------------------------------------------------- trailing orders


@pytest.mark.parametrize("terms", [{"aux_price": 5.0}, {"trail_percent": 2.5}])
def test_a_trailing_stop_follows_the_price_up_and_fills_when_it_turns(terms):
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, "SELL", order_type="TRAIL", **terms), NOW)) == PENDING
    assert order_of(exchange, 1).trail_stop == pytest.approx(190 - (terms.get("aux_price") or 4.75))
    assert exchange.move_price(aapl(exchange), 200.0, NOW) == []
    assert order_of(exchange, 1).trail_stop == pytest.approx(195.0)
    assert exchange.move_price(aapl(exchange), 196.0, NOW) == []
    assert order_of(exchange, 1).trail_stop == pytest.approx(195.0), "a stop to sell never falls"
    assert story(exchange.move_price(aapl(exchange), 194.0, NOW))[0] == "exec 100@193.99"


def test_a_trailing_stop_to_buy_follows_the_price_down():
    exchange = an_exchange()
    exchange.place(ticket(1, order_type="TRAIL", aux_price=5.0, trail_stop=197.0), NOW)
    assert order_of(exchange, 1).trail_stop == 195.0
    exchange.move_price(aapl(exchange), 180.0, NOW)
    assert story(exchange.move_price(aapl(exchange), 186.0, NOW))[0] == "exec 100@186.01"


@pytest.mark.parametrize(
    "terms", [{"limit_offset": 1.0}, {"trail_stop": 185.0, "limit_price": 184.0, "order_type": "TRAIL LIMIT"}]
)
def test_a_trailing_stop_limit_keeps_its_limit_at_a_distance_from_its_stop(terms):
    exchange = an_exchange()
    exchange.place(ticket(1, "SELL", **{"order_type": "TRAIL LIMIT", "aux_price": 5.0, **terms}), NOW)
    exchange.move_price(aapl(exchange), 200.0, NOW)
    assert story(exchange.move_price(aapl(exchange), 190.0, NOW)) == WORKING, "the limit is 194"
    assert story(exchange.move_price(aapl(exchange), 195.0, NOW))[0] == "exec 100@194"


def test_a_trailing_order_can_be_changed_and_cancelled():
    exchange = an_exchange()
    exchange.place(ticket(1, "SELL", order_type="TRAIL", aux_price=5.0), NOW)
    exchange.place(ticket(1, "SELL", order_type="TRAIL", aux_price=50.0), NOW)
    assert exchange.move_price(aapl(exchange), 180.0, NOW) == []
    exchange.cancel(7, 1, NOW)
    assert exchange.move_price(aapl(exchange), 10.0, NOW) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"order_type": "TRAIL"}, 321),
        ({"order_type": "TRAIL", "aux_price": -1.0}, 321),
        ({"order_type": "TRAIL", "aux_price": 1.0, "trail_percent": 1.0}, 321),
        ({"order_type": "TRAIL", "trail_percent": 100.0}, 321),
        ({"order_type": "TRAIL LIMIT", "aux_price": 1.0}, 321),
        ({"order_type": "TRAIL LIMIT", "aux_price": 1.0, "limit_offset": 1e300}, 321),
        ({"order_type": "MOC"}, 387),
        ({"order_type": "LOC", "limit_price": 190.0}, 387),
    ],
)
def test_terms_that_make_no_sense_and_orders_for_a_close_that_never_comes_are_refused(wrong, code):
    assert story(an_exchange().place(ticket(1, **wrong), NOW)) == [f"error {code}"]


# ---------------------------------------------------------------- sizes


def test_an_order_larger_than_what_is_offered_fills_in_parts_one_at_each_step():
    exchange = an_exchange(available_size=40)
    first = story(exchange.place(ticket(1), NOW))
    assert first[:3] == [*PENDING, "exec 40@190.01"]
    assert "status Submitted 40/60" in first
    assert story(exchange.step(NOW))[0].startswith("exec 40@")
    assert story(exchange.step(NOW))[0].startswith("exec 20@")
    assert order_of(exchange, 1).status is Status.FILLED
    assert [execution.cumulative for execution in exchange.executions] == [40, 80, 100]


def test_those_who_came_first_are_served_first():
    exchange = an_exchange(available_size=60)
    exchange.place(ticket(1, limit_price=195.0), NOW)
    assert story(exchange.place(ticket(2), NOW)) == PENDING + WORKING, "nothing is left of this step"
    exchange.step(NOW)
    assert [execution.order.ticket.order_id for execution in exchange.executions] == [1, 1, 2]
    assert [execution.shares for execution in exchange.executions] == [60, 40, 20]


def test_a_limit_order_that_was_filled_in_part_rests_when_the_price_leaves_it():
    exchange = an_exchange(available_size=40)
    exchange.place(ticket(1, limit_price=190.5), NOW)
    assert exchange.move_price(aapl(exchange), 195.0, NOW) == []
    assert story(exchange.move_price(aapl(exchange), 190.0, NOW))[0] == "exec 40@190.5"


def test_a_partly_filled_order_can_be_cancelled_and_changed():
    exchange = an_exchange(available_size=40)
    exchange.place(ticket(1), NOW)
    exchange.place(ticket(1, quantity=60), NOW)
    assert story(exchange.cancel(7, 1, NOW)) == ["status Cancelled 40/20", "error 202"]
    assert exchange.step(NOW) == []


def test_a_changed_order_waits_once():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=195.0), NOW, slice_size=10)
    exchange.place(ticket(1, limit_price=196.0), NOW)
    before = order_of(exchange, 1).filled
    exchange.step(NOW)
    assert order_of(exchange, 1).filled == before + 10
    exchange.place(ticket(2, "SELL", order_type="TRAIL LIMIT", aux_price=5.0, limit_offset=1.0), NOW)
    exchange.place(ticket(2, "SELL", order_type="TRAIL LIMIT", aux_price=4.0, limit_offset=0.0), NOW)
    assert story(exchange.move_price(aapl(exchange), 180.0, NOW))[-2:] == WORKING


@pytest.mark.parametrize(
    ("tif", "told"),
    [("IOC", ["exec 40@190.01", "status Cancelled 40/60"]), ("FOK", ["status Cancelled 0/100"])],
)
def test_what_is_immediate_takes_what_there_is_or_nothing(tif, told):
    exchange = an_exchange(available_size=40)
    words = story(exchange.place(ticket(1, tif=tif), NOW))
    assert [word for word in words if word in told] == told
    assert order_of(exchange, 1).status is Status.CANCELLED


def test_the_size_can_be_set_for_one_instrument_and_for_one_order():
    exchange = an_exchange()
    exchange.set_available_size(aapl(exchange), 30)
    exchange.place(ticket(1), NOW)
    exchange.place(ticket(2, symbol="MSFT"), NOW)
    exchange.place(ticket(3, symbol="MSFT"), NOW, slice_size=25)
    assert [execution.shares for execution in exchange.executions] == [30, 100, 25]
    exchange.set_available_size(aapl(exchange), 0)
    exchange.step(NOW)
    assert [execution.shares for execution in exchange.executions][3:] == [70, 25]


# ---------------------------------------------------------------- limits, corrections, the end of a day


def test_twenty_working_orders_for_a_contract_and_side_are_the_limit():
    exchange = an_exchange(max_working_orders=20)
    for order_id in range(1, 21):
        assert story(exchange.place(ticket(order_id, limit_price=100.0), NOW)) == WORKING
    assert story(exchange.place(ticket(21, limit_price=100.0), NOW)) == [
        "error 201",
        "openOrder Inactive",
        "status Inactive 0/100",
    ]
    assert story(exchange.place(ticket(22, "SELL", limit_price=300.0), NOW)) == WORKING
    assert story(exchange.place(ticket(23, symbol="MSFT", limit_price=100.0), NOW)) == WORKING
    assert story(exchange.place(ticket(20, limit_price=101.0), NOW)) == WORKING, "a change is no new order"
    exchange.cancel(7, 1, NOW)
    assert story(exchange.place(ticket(24, limit_price=100.0), NOW)) == WORKING


def test_a_corrected_fill_is_one_more_execution_with_the_next_number_and_moves_cash():
    exchange = an_exchange()
    exchange.place(ticket(1), NOW)
    (original,) = exchange.executions
    assert story(exchange.correct(original, 189.0)) == ["exec 100@189", "commission"]
    assert exchange.executions[-1].exec_id == original.exec_id[:-2] + "02"
    assert exchange.account.cash == pytest.approx(1_000_000 - 18_900 - 1)
    assert exchange.account.positions[265598].quantity == 100
    assert order_of(exchange, 1).average_price == pytest.approx(189.0)


def test_an_order_can_be_filled_after_it_was_cancelled():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    exchange.cancel(7, 1, NOW)
    assert story(exchange.fill_cancelled(order_of(exchange, 1), NOW)) == ["exec 100@188", *FILL_BUY[1:]]
    assert [order.status for order in exchange.completed_orders(NOW)] == [Status.FILLED]
    assert exchange.live_count == 0


def test_a_new_day_forgets_executions_and_completed_orders_but_not_ids_nor_positions():
    exchange = an_exchange()
    exchange.place(ticket(1), NOW)
    exchange.place(ticket(2, limit_price=100.0), NOW)
    exchange.place(ticket(3, limit_price=100.0, tif="GTC"), NOW)
    assert exchange.end_day(NOW, day_orders=False) == []
    assert (list(exchange.executions), exchange.completed_orders(0)) == ([], [])
    assert len(exchange.open_orders()) == 2
    assert exchange.account.positions[265598].quantity == 100
    assert story(exchange.place(ticket(1), NOW)) == ["error 103"]
    assert story(exchange.end_day(NOW, day_orders=True)) == CANCELLED
    assert [order.ticket.order_id for order in exchange.open_orders()] == [3]


def test_ids_that_were_rolled_back_come_again():
    exchange = an_exchange()
    exchange.place(ticket(1), NOW)
    exchange.place(ticket(2, limit_price=100.0), NOW)
    exchange.book.roll_back_ids(2)
    assert exchange.next_order_id(7) == 1
    assert story(exchange.place(ticket(1), NOW))[-1] == "commission", "a new order with an old id"
    changed = story(exchange.place(ticket(2, limit_price=101.0), NOW))
    assert changed == WORKING, "a live order is changed instead"
    assert exchange.order_count == 3
