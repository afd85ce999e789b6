"""The book without sockets: every story has its time written in it."""

from __future__ import annotations

from typing import Any

import pytest

from services.paper.market.book import MAX_DONE_ORDERS
from services.paper.market.exchange import ACCOUNT_ID, Exchange
from services.paper.market.instruments import Instrument
from services.paper.market.orders import Order, Refusal, Status
from services.paper.market.updates import (
    CommissionTold,
    ErrorTold,
    ExecutionTold,
    OpenOrderTold,
    PreviewTold,
    StatusTold,
    Update,
)
from services.paper.server.render import account_values
from tests.unit.paper.tickets import contract, ticket

NOW = 1_700_000_000.0
# The first price of AAPL is 190; the market of these tests moves only when told.
BID, ASK = 189.99, 190.01


def an_exchange(seed: int = 1) -> Exchange:
    return Exchange(seed, NOW, tick_secs=0)


def aapl(exchange: Exchange) -> Instrument:
    return exchange.instrument(contract())


def story(updates: list[Update]) -> list[str]:
    """Write updates as short words."""
    words = []
    for update in updates:
        match update:
            case OpenOrderTold():
                words.append(f"openOrder {update.status}" + (" +commission" if update.with_commission else ""))
            case StatusTold():
                words.append(f"status {update.status} {update.filled:g}/{update.remaining:g}")
            case ExecutionTold():
                words.append(f"exec {update.execution.shares:g}@{update.execution.price:g}")
            case CommissionTold():
                words.append("commission")
            case ErrorTold():
                words.append(f"error {update.code}")
            case PreviewTold():
                words.append("preview")
    return words


def order_of(exchange: Exchange, order_id: int) -> Order:
    order = exchange.find(7, order_id)
    assert order is not None
    return order


FILL_BUY = [
    f"exec 100@{ASK}",
    "openOrder Filled",
    "status Filled 100/0",
    "openOrder Filled +commission",
    "commission",
]
PENDING = ["openOrder PreSubmitted", "status PreSubmitted 0/100"]
WORKING = ["openOrder Submitted", "status Submitted 0/100"]
CANCELLED = ["status Cancelled 0/100", "error 202"]
CANCELLED_ONE = ["status Cancelled 0/1", "error 202"]


# ---------------------------------------------------------------- fills


def test_a_market_order_fills_whole_at_the_far_side():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1), NOW)) == PENDING + FILL_BUY
    sold = story(exchange.place(ticket(2, "SELL"), NOW))
    assert f"exec 100@{BID}" in sold


def test_a_limit_order_rests_until_the_price_comes_and_fills_at_its_limit():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, limit_price=188.0), NOW)) == WORKING
    assert exchange.move_price(aapl(exchange), 189.0, NOW + 1) == []
    filled = story(exchange.move_price(aapl(exchange), 187.0, NOW + 2))
    assert filled[0] == "exec 100@188"
    assert filled[1:] == FILL_BUY[1:]


def test_a_limit_order_that_crosses_fills_at_once_at_the_market():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, limit_price=195.0), NOW)) == PENDING + FILL_BUY


def test_a_limit_order_at_the_far_side_fills_and_one_tick_less_rests():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, limit_price=ASK - 0.01), NOW)) == WORKING
    assert story(exchange.place(ticket(2, limit_price=ASK), NOW)) == PENDING + FILL_BUY


def test_orders_at_one_price_fill_oldest_first_and_better_prices_before():
    exchange = an_exchange()
    for order_id, price in ((1, 187.0), (2, 188.0), (3, 187.0)):
        exchange.place(ticket(order_id, limit_price=price), NOW)
    updates = exchange.move_price(aapl(exchange), 180.0, NOW)
    filled = [update.execution.order.ticket.order_id for update in updates if isinstance(update, ExecutionTold)]
    assert filled == [2, 1, 3]


@pytest.mark.parametrize(("action", "stop", "price"), [("BUY", 195.0, 196.0), ("SELL", 185.0, 184.0)])
def test_a_stop_order_rests_presubmitted_and_fills_when_triggered(action, stop, price):
    exchange = an_exchange()
    placed = exchange.place(ticket(1, action, order_type="STP", aux_price=stop), NOW)
    assert story(placed) == PENDING
    filled = story(exchange.move_price(aapl(exchange), price, NOW))
    assert filled[0].startswith("exec 100@")
    assert filled[-1] == "commission"


def test_a_triggered_stop_limit_order_works_as_a_limit_order():
    exchange = an_exchange()
    stop_limit = ticket(1, order_type="STP LMT", aux_price=195.0, limit_price=195.0)
    assert story(exchange.place(stop_limit, NOW)) == PENDING
    assert story(exchange.move_price(aapl(exchange), 198.0, NOW)) == WORKING
    assert story(exchange.move_price(aapl(exchange), 194.0, NOW))[0] == "exec 100@195"


def test_a_touch_order_runs_against_the_price():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, order_type="MIT", aux_price=185.0), NOW)) == PENDING
    assert story(exchange.move_price(aapl(exchange), 184.0, NOW))[0].startswith("exec 100@")


def test_an_immediate_order_that_cannot_fill_is_cancelled():
    exchange = an_exchange()
    assert story(exchange.place(ticket(1, limit_price=100.0, tif="IOC"), NOW)) == PENDING + CANCELLED


def test_partial_fills_keep_the_order_submitted_with_running_numbers():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    order = order_of(exchange, 1)
    first = story(exchange.fill(order, 40, 188.0, NOW))
    assert first[1:3] == ["openOrder Submitted", "status Submitted 40/60"]
    last = story(exchange.fill(order, 60, 187.0, NOW))
    assert last[1:3] == ["openOrder Filled", "status Filled 100/0"]
    assert order.average_price == pytest.approx((40 * 188 + 60 * 187) / 100)
    assert [execution.cumulative for execution in exchange.executions] == [40, 100]


def test_execution_ids_are_unique_and_look_like_the_real_ones():
    exchange = an_exchange()
    for order_id in range(1, 51):
        exchange.place(ticket(order_id, quantity=1), NOW)
    ids = [execution.exec_id for execution in exchange.executions]
    assert len(set(ids)) == 50
    assert ids[0] == "0000e0d6.6553f100.01.01"
    restarted = Exchange(1, NOW + 1, tick_secs=0)
    restarted.place(ticket(1), NOW + 1)
    assert restarted.executions[0].exec_id not in ids
    assert order_of(restarted, 1).perm_id != order_of(exchange, 1).perm_id


# ---------------------------------------------------------------- changes and cancels


def test_a_change_keeps_the_permanent_id_and_tells_the_pair_again():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    perm_id = order_of(exchange, 1).perm_id
    assert story(exchange.place(ticket(1, limit_price=187.0, quantity=50), NOW)) == [
        "openOrder Submitted",
        "status Submitted 0/50",
    ]
    assert order_of(exchange, 1).perm_id == perm_id
    assert exchange.move_price(aapl(exchange), 187.5, NOW) == [], "the old price no longer counts"
    assert story(exchange.move_price(aapl(exchange), 186.0, NOW))[0] == "exec 50@187"


def test_a_change_to_a_marketable_price_fills():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    assert story(exchange.place(ticket(1, limit_price=191.0), NOW)) == PENDING + FILL_BUY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"action": "SELL", "limit_price": 188.0}, 105),
        ({"symbol": "MSFT", "limit_price": 188.0}, 105),
        ({"order_type": "STP", "aux_price": 195.0}, 329),
        ({"limit_price": 188.001}, 110),
        ({"limit_price": 188.0, "quantity": 0}, 434),
    ],
)
def test_a_refused_change_leaves_the_order_as_it_was(change, code):
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    assert story(exchange.place(ticket(1, **change), NOW)) == [f"error {code}"]
    assert order_of(exchange, 1).live
    assert story(exchange.move_price(aapl(exchange), 187.0, NOW))[0] == "exec 100@188"


def test_a_cancelled_order_tells_its_status_first_and_then_202():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    assert story(exchange.cancel(7, 1, NOW)) == CANCELLED
    assert exchange.move_price(aapl(exchange), 100.0, NOW) == []


def test_cancelling_what_is_unknown_or_done_is_an_error():
    exchange = an_exchange()
    exchange.place(ticket(1), NOW)
    (unknown,) = exchange.cancel(7, 9, NOW)
    (done,) = exchange.cancel(7, 1, NOW)
    assert unknown == ErrorTold(7, 9, 10147, "OrderId 9 that needs to be cancelled is not found.")
    assert done == ErrorTold(7, 1, 10148, "OrderId 1 that needs to be cancelled can not be cancelled, state: Filled.")
    assert story(exchange.cancel(8, 1, NOW)) == ["error 10147"], "another client's id is another order"


def test_two_twins_are_two_orders_for_everything_but_their_id():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    assert story(exchange.place(ticket(1, limit_price=187.0), NOW, twin=True)) == WORKING
    older, newer = exchange.open_orders()
    assert (older.ticket.limit_price, newer.ticket.limit_price) == (188.0, 187.0)
    assert older.perm_id != newer.perm_id
    assert exchange.find(7, 1) is older
    exchange.move_price(aapl(exchange), 187.5, NOW)
    assert (str(older.status), str(newer.status)) == ("Filled", "Submitted")
    assert exchange.find(7, 1) is newer, "what is live is reached first"
    exchange.end_day(NOW, day_orders=False)
    assert exchange.find(7, 1) is newer
    assert story(exchange.cancel(7, 1, NOW)) == CANCELLED
    assert story(exchange.cancel(7, 1, NOW)) == ["error 10148"]
    exchange.end_day(NOW, day_orders=False)
    assert exchange.find(7, 1) is None


def test_a_global_cancel_ends_the_orders_of_all_clients_and_tells_each_owner():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0), NOW)
    exchange.place(ticket(1, limit_price=187.0, client_id=8), NOW)
    updates = exchange.cancel_all(NOW)
    assert story(updates) == CANCELLED + CANCELLED
    assert [update.client_id for update in updates if isinstance(update, ErrorTold)] == [7, 8]
    assert exchange.live_count == 0


def test_a_good_till_order_ends_by_itself_and_a_change_moves_its_end():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0, tif="GTD", duration_secs=10), NOW)
    exchange.place(ticket(1, limit_price=188.0, tif="GTD", duration_secs=20), NOW)
    assert exchange.advance(NOW + 19) == []
    assert story(exchange.advance(NOW + 20)) == CANCELLED


# ---------------------------------------------------------------- ids and refusals


def test_ids_count_for_each_client_by_itself():
    exchange = an_exchange()
    assert exchange.next_order_id(7) == 1
    exchange.place(ticket(41), NOW)
    exchange.place(ticket(5, client_id=8), NOW)
    assert exchange.next_order_id(7) == 42
    assert exchange.next_order_id(8) == 6


def test_the_next_id_can_be_any_up_to_31_bits_for_one_client_or_for_all():
    exchange = an_exchange()
    exchange.place(ticket(5, limit_price=150.0), NOW)
    exchange.book.set_next_id(1_767_693_324)
    assert [exchange.next_order_id(client_id) for client_id in (7, 8)] == [1_767_693_324] * 2
    assert story(exchange.place(ticket(1_767_693_323), NOW)) == ["error 103"]
    assert story(exchange.place(ticket(2_147_483_647), NOW)) == PENDING + FILL_BUY
    exchange.book.set_next_id(100, 8)
    assert exchange.next_order_id(8) == 100
    assert exchange.next_order_id(9) == 1_767_693_324


def test_a_next_id_that_is_lower_frees_the_ids_of_what_is_done():
    exchange = an_exchange()
    exchange.place(ticket(1_000_000_000), NOW)
    exchange.place(ticket(1_000_000_001, limit_price=150.0), NOW)
    exchange.book.set_next_id(1)
    assert story(exchange.place(ticket(1_000_000_000), NOW)) == PENDING + FILL_BUY
    assert exchange.find(7, 1_000_000_001) is not None


@pytest.mark.parametrize("order_id", [5, 4, 0, -1])
def test_an_id_that_is_used_up_or_too_low_is_a_duplicate(order_id):
    exchange = an_exchange()
    exchange.place(ticket(5, limit_price=188.0), NOW)
    exchange.cancel(7, 5, NOW)
    assert story(exchange.place(ticket(order_id), NOW)) == ["error 103"]


def test_a_filled_order_cannot_be_changed():
    exchange = an_exchange()
    exchange.place(ticket(5), NOW)
    assert story(exchange.place(ticket(5, quantity=200), NOW)) == ["error 104"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"quantity": 0}, 434),
        ({"quantity": -5}, 321),
        ({"quantity": 1e12}, 321),
        ({"quantity": 1.5}, 10243),
        ({"action": "HOLD"}, 321),
        ({"order_type": "PEG BENCH"}, 387),
        ({"order_type": ""}, 387),
        ({"order_type": "LMT"}, 321),
        ({"order_type": "STP"}, 321),
        ({"limit_price": -1.0}, 321),
        ({"limit_price": 188.001}, 110),
        ({"tif": "SOON"}, 321),
        ({"tif": "GTD"}, 321),
        ({"account": "DU9"}, 321),
        ({"symbol": "no such thing"}, 200),
        ({"sec_type": "MAGIC"}, 200),
        ({"parent_id": 99}, 10006),
        ({"what_if": True, "transmit": False}, 413),
        ({"quantity": 1_000_000}, 201),
    ],
)
def test_what_a_gateway_refuses_is_refused_with_its_code_and_uses_up_the_id(wrong, code):
    exchange = an_exchange()
    words = story(exchange.place(ticket(1, **wrong), NOW))
    assert words[0] == f"error {code}"
    assert exchange.next_order_id(7) == 2
    assert exchange.live_count == 0
    # Only what was booked before it was rejected has a status.
    assert len(words) == (3 if code == 201 else 1)


def test_an_order_beyond_the_margin_is_rejected_after_it_was_booked():
    exchange = an_exchange()
    updates = exchange.place(ticket(1, quantity=50_000), NOW)
    assert story(updates) == ["error 201", "openOrder Inactive", "status Inactive 0/50000"]
    assert isinstance(updates[0], ErrorTold)
    assert "EQUITY WITH LOAN VALUE [1000000.00 USD]" in updates[0].text
    assert [order.status for order in exchange.completed_orders(NOW)] == [Status.INACTIVE]
    assert exchange.account.cash == 1_000_000


def test_closing_a_position_needs_no_margin():
    exchange = an_exchange()
    exchange.place(ticket(1, quantity=20_000), NOW)
    exchange.move_price(aapl(exchange), 130.0, NOW)
    assert exchange.totals().available_funds < 0
    assert "error 201" in story(exchange.place(ticket(2, quantity=1), NOW))
    assert story(exchange.place(ticket(3, "SELL", quantity=20_000), NOW))[-1] == "commission"


def test_a_refusal_on_command_uses_up_the_id():
    exchange = an_exchange()
    booked = exchange.refuse(ticket(1), Refusal(201, "no", booked=True), NOW)
    assert story(booked) == ["error 201", "openOrder Inactive", "status Inactive 0/100"]
    assert story(exchange.refuse(ticket(2), Refusal(110, "no"), NOW)) == ["error 110"]
    assert exchange.next_order_id(7) == 3


def test_a_preview_tells_the_margin_and_books_nothing():
    exchange = an_exchange()
    (preview,) = exchange.place(ticket(1, what_if=True), NOW)
    assert isinstance(preview, PreviewTold)
    before, after = preview.init_margin
    assert before == 0.0
    assert after == pytest.approx(100 * 190 * 0.25)
    assert preview.commission == 1.0
    assert exchange.order_count == 0
    assert exchange.next_order_id(7) == 2


# ---------------------------------------------------------------- brackets and groups


def a_bracket(exchange: Exchange) -> list[Update]:
    parent = ticket(1, limit_price=188.0, transmit=False)
    profit = ticket(2, "SELL", limit_price=195.0, transmit=False, parent_id=1)
    loss = ticket(3, "SELL", order_type="STP", aux_price=180.0, parent_id=1)
    assert exchange.place(parent, NOW) == []
    assert exchange.place(profit, NOW) == []
    assert exchange.open_orders() == [], "what is not transmitted is nobody's business"
    return exchange.place(loss, NOW)


def test_the_last_leg_of_a_bracket_transmits_all_of_it():
    exchange = an_exchange()
    assert story(a_bracket(exchange)) == WORKING + PENDING + PENDING
    assert len(exchange.open_orders()) == 3


def test_children_work_once_their_parent_is_filled_and_one_ends_the_other():
    exchange = an_exchange()
    a_bracket(exchange)
    filled = story(exchange.move_price(aapl(exchange), 187.0, NOW))
    assert filled[5:] == WORKING + PENDING
    closed = story(exchange.move_price(aapl(exchange), 196.0, NOW))
    assert closed[0] == "exec 100@195"
    assert closed[-2:] == CANCELLED
    assert exchange.live_count == 0


def test_children_end_with_their_parent():
    exchange = an_exchange()
    a_bracket(exchange)
    assert story(exchange.cancel(7, 1, NOW)) == CANCELLED * 3
    assert story(exchange.place(ticket(4, "SELL", parent_id=1), NOW)) == ["error 10006"]


def test_one_fill_ends_the_rest_of_its_group():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0, oca_group="g"), NOW)
    exchange.place(ticket(2, limit_price=150.0, oca_group="g"), NOW)
    exchange.place(ticket(3, limit_price=150.0), NOW)
    words = story(exchange.move_price(aapl(exchange), 187.0, NOW))
    assert words[-2:] == CANCELLED
    assert [order.ticket.order_id for order in exchange.open_orders()] == [3]


def a_group(oca_type: int, quantities: tuple[int, ...] = (100, 100)) -> Exchange:
    exchange = an_exchange()
    for order_id, quantity in enumerate(quantities, start=1):
        terms: dict[str, Any] = {"limit_price": 150.0, "oca_group": "g", "oca_type": oca_type}
        exchange.place(ticket(order_id, quantity=quantity, **terms), NOW)
    return exchange


@pytest.mark.parametrize("oca_type", [0, 1])
def test_in_a_group_that_is_not_reduced_a_partial_fill_ends_the_rest(oca_type):
    exchange = a_group(oca_type)
    assert story(exchange.fill(order_of(exchange, 1), 40, 150.0, NOW))[-2:] == CANCELLED
    assert [order.ticket.order_id for order in exchange.open_orders()] == [1]


@pytest.mark.parametrize("oca_type", [2, 3])
def test_in_a_group_that_is_reduced_each_fill_takes_its_share_of_what_is_left(oca_type):
    exchange = a_group(oca_type, (100, 50, 3))
    first = order_of(exchange, 1)
    shrunk = story(exchange.fill(first, 40, 150.0, NOW))[5:]
    assert shrunk == ["openOrder Submitted", "status Submitted 0/30", "openOrder Submitted", "status Submitted 0/1"]
    second = story(exchange.fill(order_of(exchange, 2), 15, 150.0, NOW))[5:]
    assert second == ["openOrder Submitted", "status Submitted 40/30"], "the last unit of an order is never taken"
    assert story(exchange.fill(first, 30, 150.0, NOW))[5:] == ["status Cancelled 15/15", "error 202", *CANCELLED_ONE]
    assert exchange.live_count == 0


def test_a_group_of_type_2_may_have_an_order_that_is_not_transmitted_yet():
    exchange = a_group(2)
    exchange.place(ticket(3, limit_price=150.0, oca_group="g", oca_type=2, transmit=False), NOW)
    assert len(story(exchange.fill(order_of(exchange, 1), 40, 150.0, NOW))[5:]) == 2
    assert order_of(exchange, 3).ticket.quantity == 100


# ---------------------------------------------------------------- account


def values_of(exchange: Exchange) -> dict[str, str]:
    return {key: value for key, value, _ in account_values(exchange.totals(), ACCOUNT_ID)}


def test_the_account_follows_fills():
    exchange = an_exchange()
    fresh = values_of(exchange)
    assert fresh["NetLiquidation"] == fresh["AvailableFunds"] == "1000000.00"
    assert (fresh["Cushion"], fresh["BuyingPower"]) == ("1.000000", "4000000.00")
    exchange.place(ticket(1), NOW)
    exchange.move_price(aapl(exchange), 200.0, NOW)
    held = values_of(exchange)
    assert held["TotalCashValue"] == "980998.00"  # 1,000,000 - 100 * 190.01 - 1
    assert held["NetLiquidation"] == "1000998.00"
    assert held["GrossPositionValue"] == "20000.00"
    assert held["InitMarginReq"] == "5000.00"
    assert held["ExcessLiquidity"] == "995998.00"
    assert held["UnrealizedPnL"] == "999.00"
    exchange.place(ticket(2, "SELL"), NOW)
    assert exchange.executions[-1].realized_pnl == pytest.approx(100 * (199.99 - 190.01) - 1)
    assert values_of(exchange)["GrossPositionValue"] == "0.00"


def test_a_future_moves_cash_only_when_it_is_closed():
    exchange = an_exchange()
    future = contract(symbol="ES", secType="FUT", exchange="CME", lastTradeDateOrContractMonth="202612")
    es = exchange.instrument(future)
    first = exchange.quote(es)
    exchange.place(ticket(1, quantity=1, contract=future), NOW)
    assert exchange.account.cash == 1_000_000 - 2.25
    exchange.move_price(es, first.last + 100, NOW)
    exchange.place(ticket(2, "SELL", quantity=1, contract=future), NOW)
    gain = (exchange.quote(es).bid - first.ask) * 50
    assert exchange.account.cash == pytest.approx(1_000_000 + gain - 2 * 2.25)


def test_a_position_can_turn_around_in_one_fill():
    exchange = an_exchange()
    exchange.place(ticket(1), NOW)
    exchange.place(ticket(2, "SELL", quantity=250), NOW)
    (position,) = exchange.account.positions.values()
    assert (position.quantity, position.average_price) == (-150, BID)


# ---------------------------------------------------------------- prices and memory


def test_the_same_seed_gives_the_same_prices_and_fills():
    def run(seed: int) -> list[tuple[str, float, float]]:
        exchange = Exchange(seed, NOW, tick_secs=0.25)
        for order_id in range(1, 40):
            now = NOW + order_id
            exchange.advance(now)
            exchange.place(ticket(order_id, symbol=f"SYM{order_id % 3}", quantity=order_id), now)
        return [(execution.exec_id, execution.shares, execution.price) for execution in exchange.executions]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_price_at_a_step_does_not_depend_on_how_time_was_cut():
    fine, coarse = Exchange(1, NOW), Exchange(1, NOW)
    for exchange in (fine, coarse):
        exchange.quote(aapl(exchange))
    for tenth in range(1, 101):
        fine.advance(NOW + tenth / 10)
    coarse.advance(NOW + 10)
    assert fine.quote(aapl(fine)) == coarse.quote(aapl(coarse))
    assert fine.quote(aapl(fine)).last != fine.quote(aapl(fine)).close


def test_any_stock_has_a_plausible_price_of_its_own():
    exchange = an_exchange()
    prices = {
        symbol: exchange.quote(exchange.instrument(contract(symbol=symbol))).last
        for symbol in ("ABC", "XYZ", "BRK B", "0700", "Z" * 12)
    }
    assert len(set(prices.values())) == len(prices)
    assert all(20 <= price <= 400 for price in prices.values())


def test_one_contract_is_one_instrument_however_it_is_named():
    exchange = an_exchange()
    by_symbol = exchange.instrument(contract())
    assert exchange.instrument(contract(conId="265598")) is by_symbol
    assert exchange.instrument(contract(conId="265598", symbol="", secType="", currency="")) is by_symbol
    assert exchange.instrument(contract(localSymbol="AAPL")) is by_symbol
    assert exchange.instrument(contract(symbol="ABC", conId="4711")).symbol == "ABC"
    assert exchange.instrument(contract(symbol="", secType="", conId="4711")).symbol == "ABC"


def test_done_orders_are_kept_up_to_the_limit_and_their_ids_stay_used(monkeypatch):
    monkeypatch.setattr("services.paper.market.book.MAX_DONE_ORDERS", 10)
    exchange = an_exchange()
    for order_id in range(1, 21):
        exchange.place(ticket(order_id, quantity=1), NOW)
    assert len(exchange.completed_orders(NOW)) == 10
    assert story(exchange.place(ticket(1, quantity=1), NOW)) == ["error 103"]
    assert MAX_DONE_ORDERS == 100_000


def test_of_two_rivals_that_one_move_reaches_only_the_first_fills():
    exchange = an_exchange()
    exchange.place(ticket(1, limit_price=188.0, oca_group="g"), NOW)
    exchange.place(ticket(2, limit_price=187.0, oca_group="g"), NOW)
    words = story(exchange.move_price(aapl(exchange), 150.0, NOW))
    assert words == ["exec 100@188", *FILL_BUY[1:], *CANCELLED]
    assert len(exchange.executions) == 1
