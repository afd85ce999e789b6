"""What holds for every session of orders, changes, cancels and price moves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.paper.faults import unsolicited
from services.paper.market.exchange import Exchange
from services.paper.market.matching import Held
from services.paper.market.orders import Order, Status
from services.paper.market.updates import CommissionTold, ExecutionTold, StatusTold, Update
from tests.unit.paper.tickets import contract, ticket

pytestmark = pytest.mark.long

NOW = 1_700_000_000.0
SYMBOLS = ("AAPL", "MSFT")
KINDS = st.one_of(
    st.just({}),
    st.integers(150, 450).map(lambda price: {"limit_price": float(price)}),
    st.integers(150, 450).map(lambda price: {"order_type": "STP", "aux_price": float(price)}),
    st.integers(150, 450).map(lambda price: {"limit_price": float(price), "tif": "IOC"}),
    st.integers(150, 450).map(lambda price: {"limit_price": float(price), "tif": "FOK"}),
    st.tuples(st.integers(150, 450), st.integers(0, 3)).map(
        lambda drawn: {"limit_price": float(drawn[0]), "oca_group": "g", "oca_type": drawn[1]}
    ),
    st.integers(1, 50).map(lambda amount: {"order_type": "TRAIL", "aux_price": float(amount)}),
    st.integers(1, 50).map(lambda amount: {"order_type": "TRAIL LIMIT", "aux_price": 5.0, "limit_offset": amount / 10}),
)
STEPS = st.one_of(
    st.tuples(
        st.just("place"),
        # Mostly a new order; sometimes a change of an old one, or an id that is used up.
        st.one_of(st.none(), st.none(), st.integers(1, 10)),
        st.sampled_from(("BUY", "SELL")),
        st.integers(0, 5000),
        st.sampled_from(SYMBOLS),
        KINDS,
    ),
    st.tuples(st.just("cancel"), st.integers(1, 10)),
    st.tuples(st.just("cancel all")),
    st.tuples(st.just("twin"), st.integers(1, 10), st.integers(150, 450)),
    st.tuples(st.just("reduce"), st.integers(1, 10), st.integers(0, 2000), st.sampled_from(("Filled", "Cancelled"))),
    st.tuples(st.just("hold"), st.integers(150, 450)),
    st.tuples(st.just("release"), st.integers(1, 10)),
    st.tuples(st.just("close")),
    st.tuples(st.just("move"), st.sampled_from(SYMBOLS), st.integers(100, 500)),
    st.tuples(st.just("advance"), st.integers(1, 20)),
)


def play(steps: list[tuple], seed: int = 1) -> tuple[Exchange, list[Update]]:
    # Every second market has less on offer than most orders want.
    exchange = Exchange(seed, NOW)
    exchange.set_available_size(exchange.instrument(contract(symbol="MSFT")), 700)
    told: list[Update] = []
    now = NOW
    for step in steps:
        match step:
            case ("place", order_id, action, quantity, symbol, kind):
                order_id = order_id or exchange.next_order_id(7)
                told += exchange.place(ticket(order_id, action, quantity, symbol=symbol, **kind), now)
            case ("cancel", order_id):
                told += exchange.cancel(7, order_id, now)
            case ("cancel all",):
                told += exchange.cancel_all(now)
            case ("move", symbol, price):
                told += exchange.move_price(exchange.instrument(contract(symbol=symbol)), float(price), now)
            case ("advance", secs):
                now += secs
                told += exchange.advance(now)
            case (what, *numbers):
                told += happens(exchange, what, numbers, now)
            case _:
                raise AssertionError(step)
    return exchange, told


def happens(exchange: Exchange, what: str, numbers: list[Any], now: float) -> list[Update]:
    """Let IB do what faults have it do."""
    order = exchange.find(7, numbers[0]) if numbers else None
    match what, numbers:
        case "twin", (_, price) if order is not None:
            return exchange.place(replace(order.ticket, limit_price=float(price)), now, twin=True)
        case "reduce", (_, quantity, ends) if order is not None and order.live:
            size = max(quantity, order.filled)
            return unsolicited.reduce(exchange, order, size, Status(ends), now) if size < order.ticket.quantity else []
        case "release", (_,) if order is not None:
            return unsolicited.release(exchange, order, now)
        case "hold", (price,):
            new = ticket(exchange.next_order_id(7), limit_price=float(price))
            return exchange.place(new, now, held=Held(Status.PRE_SUBMITTED, "child,locate"))
        case "close", ():
            return unsolicited.close_day(exchange, now)
        case _:
            return []


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_cash_and_positions_are_the_sum_of_the_fills(steps):
    exchange, _ = play(steps)
    cash = 1_000_000.0
    held: dict[str, float] = defaultdict(float)
    for execution in exchange.executions:
        order = execution.order
        cash -= order.sign * execution.shares * execution.price + execution.commission
        held[order.instrument.symbol] += order.sign * execution.shares
    assert abs(exchange.account.cash - cash) < 0.01
    positions = {p.instrument.symbol: p.quantity for p in exchange.account.positions.values()}
    assert positions == dict(held)
    totals = exchange.totals()
    worth = sum(p.quantity * exchange.quote(p.instrument).last for p in exchange.account.positions.values())
    assert abs(totals.net_liquidation - (cash + worth)) < 0.01
    # Profit is either realized or not, and nothing else happens to money but commissions at the opening.
    opening = exchange.account.commissions - sum(
        e.commission for e in exchange.executions if e.realized_pnl is not None
    )
    assert abs(totals.net_liquidation - (1_000_000 + totals.realized + totals.unrealized - opening)) < 0.01


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_no_order_fills_beyond_its_size_and_none_comes_back_from_the_dead(steps):
    _, told = play(steps)
    final: dict[Order, Status] = {}
    for update in told:
        match update:
            case StatusTold():
                assert update.order not in final, "a status after the end"
                assert 0 <= update.filled <= update.order.ticket.quantity
                if update.status not in (Status.PRE_SUBMITTED, Status.SUBMITTED):
                    final[update.order] = update.status
            case ExecutionTold():
                assert update.execution.order not in final, "a fill after the end"
            case _:
                pass


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_fill_has_one_commission_and_an_id_of_its_own(steps):
    exchange, told = play(steps)
    fills = [e.execution.exec_id for e in told if isinstance(e, ExecutionTold)]
    commissions = [e.execution.exec_id for e in told if isinstance(e, CommissionTold)]
    assert fills == commissions == [e.exec_id for e in exchange.executions]
    assert len(set(fills)) == len(fills)


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_order_is_either_open_or_completed(steps):
    exchange, _ = play(steps)
    open_ids = {order.perm_id for order in exchange.open_orders()}
    done_ids = {order.perm_id for order in exchange.completed_orders(NOW)}
    assert not open_ids & done_ids
    assert len(open_ids | done_ids) == exchange.order_count


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_cancel_reaches_a_live_order_of_its_id_as_long_as_there_is_one(steps):
    exchange, _ = play(steps)
    live: dict[int, int] = defaultdict(int)
    for order in exchange.open_orders():
        live[order.ticket.order_id] += 1
    for order_id, count in live.items():
        for left in range(count, 0, -1):
            found = exchange.find(7, order_id)
            assert found is not None and found.live, f"{left} of them are left"  # noqa: PT018 - one fact
            told = exchange.cancel(7, order_id, NOW)
            assert isinstance(told[0], StatusTold)
    assert exchange.open_orders() == []


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(0, 2**63 - 1))
def test_the_same_session_with_the_same_seed_tells_the_same(steps, seed):
    def told_by(seed: int) -> list[tuple]:
        exchange, _ = play(steps, seed)
        return [(e.exec_id, e.shares, e.price, e.commission, e.realized_pnl) for e in exchange.executions]

    assert told_by(seed) == told_by(seed)
