"""Kinds of contracts and orders through the real ib_insync."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ib_insync
import pytest

from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import AAPL, connected, limit_order, market_order, paper, until
from tests.processes.paper.test_gateway import reaches, status
from tests.processes.paper.test_order_faults import arm, played

FUTURE = ib_insync.Future("ES", "20301220", "CME", currency="USD")
OPTION = ib_insync.Option("AAPL", "20301220", 180, "C", "SMART", currency="USD")


@pytest.mark.parametrize(
    ("described", "tick", "multiplier", "cost"),
    [
        (FUTURE, 0.25, "50", 5800.25 * 50),
        (OPTION, 0.01, "100", 13.81 * 100),
        (ib_insync.Forex("EURUSD"), 0.00005, "", 1.08005),
    ],
)
def test_each_kind_of_contract_qualifies_trades_and_becomes_a_position(described, tick, multiplier, cost):
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        (details,) = await ib.reqContractDetailsAsync(described)
        assert (details.minTick, details.contract.multiplier) == (tick, multiplier)
        (contract,) = await ib.qualifyContractsAsync(described)
        trade = ib.placeOrder(contract, market_order("BUY", 1))
        await reaches(trade, "Filled")
        (position,) = await ib.reqPositionsAsync()
        assert position.contract.secType == described.secType
        assert position.avgCost == pytest.approx(cost)
        assert trade.fills[0].contract.conId == contract.conId

    played(story)


def test_a_combination_is_accepted_fills_and_keeps_its_legs_over_a_reconnect():
    bag = ib_insync.Bag(symbol="AAPL", exchange="SMART", currency="USD")
    bag.comboLegs = [
        ib_insync.ComboLeg(conId=265598, ratio=1, action="BUY", exchange="SMART"),
        ib_insync.ComboLeg(conId=272093, ratio=1, action="SELL", exchange="SMART"),
    ]

    async def whole() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                await ib.qualifyContractsAsync(AAPL, ib_insync.Stock("MSFT", "SMART", "USD"))
                trade = ib.placeOrder(bag, market_order("BUY", 1))
                await reaches(trade, "Filled")
                assert trade.orderStatus.avgFillPrice == pytest.approx(190 - 410 + 0.01)
                rests = ib.placeOrder(bag, limit_order("BUY", 1, -300.0))
                await reaches(rests, "Submitted")
            async with connected(gateway) as ib:
                (again,) = ib.openTrades()
                assert [leg.conId for leg in again.contract.comboLegs] == [265598, 272093]
                assert again.order.lmtPrice == -300

    asyncio.run(whole())


def test_a_trailing_stop_shows_where_its_stop_is_after_a_reconnect_and_fills():
    async def whole() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                order = ib_insync.Order(action="SELL", totalQuantity=10, orderType="TRAIL", auxPrice=5.0)
                await reaches(ib.placeOrder(AAPL, order), "PreSubmitted")
                gateway.move_price("AAPL", 200.0)
            async with connected(gateway) as ib:
                (trade,) = ib.openTrades()
                assert (trade.order.orderType, trade.order.auxPrice, trade.order.trailStopPrice) == ("TRAIL", 5, 195)
                gateway.move_price("AAPL", 194.0)
                await reaches(trade, "Filled")

    asyncio.run(whole())


def test_a_trailing_stop_limit_takes_its_offset_from_the_client():
    async def story(gateway: PaperGateway, ib: ib_insync.IB) -> None:
        order = ib_insync.Order(
            action="SELL", totalQuantity=10, orderType="TRAIL LIMIT", trailingPercent=10.0, lmtPriceOffset=1.0
        )
        trade = ib.placeOrder(AAPL, order)
        await reaches(trade, "PreSubmitted")
        gateway.move_price("AAPL", 165.0)
        await reaches(trade, "Submitted")
        gateway.move_price("AAPL", 171.0)
        await reaches(trade, "Filled")
        assert trade.orderStatus.avgFillPrice == 170.0

    played(story)


def test_an_order_with_a_duration_ends_by_itself():
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        began = time.monotonic()
        trade = ib.placeOrder(AAPL, limit_order("BUY", 1, 100.0, tif="GTD", duration=1))
        await reaches(trade, "Submitted")
        await reaches(trade, "Cancelled")
        assert 0.9 < time.monotonic() - began < 5

    played(story)


@pytest.mark.parametrize("form", ["%Y%m%d-%H:%M:%S", "%Y%m%d %H:%M:%S UTC"])
def test_an_order_with_a_date_ends_by_itself_whichever_form_it_has(form: str):
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        until = time.strftime(form, time.gmtime(time.time() + 2))
        trade = ib.placeOrder(AAPL, limit_order("BUY", 1, 100.0, tif="GTD", goodTillDate=until))
        await reaches(trade, "Submitted")
        await reaches(trade, "Cancelled")

    played(story)


@pytest.mark.parametrize("order", [{"orderType": "MOC"}, {"orderType": "LOC", "lmtPrice": 190.0}, {"tif": "OPG"}])
def test_what_needs_a_close_or_an_open_is_refused(order):
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        plain = {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}
        trade = ib.placeOrder(AAPL, ib_insync.Order(**{**plain, **order}))
        await reaches(trade, "Cancelled")

    played(story)


def test_size_on_offer_fills_a_market_order_in_parts_as_time_goes_by():
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        trade = ib.placeOrder(AAPL, market_order("BUY", 100))
        await reaches(trade, "Filled")
        assert [fill.execution.shares for fill in trade.fills] == [30, 30, 30, 10]
        assert trade.orderStatus.avgFillPrice == pytest.approx(trade.fills[-1].execution.avgPrice)

    played(story, available_size=30, tick_secs=0.01)


def test_twenty_one_working_orders_are_one_too_many():
    async def story(_gateway: PaperGateway, ib: ib_insync.IB) -> None:
        trades = [ib.placeOrder(AAPL, limit_order("BUY", 1, 100.0)) for _ in range(21)]
        await reaches(trades[-1], "Inactive")
        assert [status(trade) for trade in trades[:20]] == ["Submitted"] * 20
        assert "maximum of 20 orders" in next(entry.message for entry in trades[-1].log if entry.errorCode == 201)

    played(story, max_working_orders=20)


def test_the_same_seed_and_session_give_the_same_fills_with_every_kind_of_order():
    async def session() -> list[tuple[Any, ...]]:
        trailing = ib_insync.Order(action="SELL", totalQuantity=50, orderType="TRAIL", auxPrice=0.05)
        async with paper(seed=3, available_size=25, clock=lambda: 1_700_000_000.0) as gateway:
            async with connected(gateway) as ib:
                trades = [
                    ib.placeOrder(AAPL, market_order("BUY", 100)),
                    ib.placeOrder(AAPL, trailing),
                    ib.placeOrder(FUTURE, limit_order("BUY", 30, 5799.5)),
                ]
                await until(lambda: len(gateway.exchange.book.live) == 3, "all are booked")
                for _ in range(400):
                    gateway.hub.perform(gateway.exchange.step(1_700_000_001.0))
                gateway.hub.flush()
                await until(lambda: all(trade.isDone() for trade in trades), "all are filled")
            return [(e.exec_id, e.shares, e.price, e.order.perm_id) for e in gateway.exchange.executions]

    first = asyncio.run(session())
    assert first == asyncio.run(session())
    assert len(first) >= 8


def test_prices_tick_for_whoever_subscribed_and_stop_for_whoever_cancelled():
    async def story(gateway: PaperGateway, ib: ib_insync.IB) -> None:
        moves: list[float] = []
        ticker = ib.reqMktData(FUTURE)
        ticker.updateEvent += lambda ticker: moves.append(ticker.last)
        await until(lambda: len(set(moves)) > 3, "the price moves")
        assert all(move % 0.25 == 0 for move in moves)
        ib.cancelMktData(FUTURE)
        await ib.reqCurrentTimeAsync()
        before = len(moves)
        arm(gateway, "price", symbol="AAPL", price=10)
        for _ in range(5):
            gateway.hub.tick()
        await ib.reqCurrentTimeAsync()
        assert len(moves) == before

    played(story, tick_secs=0.01)
