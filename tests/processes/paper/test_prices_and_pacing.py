"""The real ib_insync through a real socket: contracts, prices, the pacing rule, load."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import ib_insync

from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import (
    AAPL,
    connected,
    limit_order,
    log_lines,
    market_order,
    messages,
    paper,
    until,
)
from tests.processes.paper.test_gateway import reaches, status

# ---------------------------------------------------------------- contracts and prices


def told_of_breaches(gateway: Any, count: int) -> bool:
    return len(pacing_errors(gateway)) == count


def test_contracts_qualify_and_unknown_ones_do_not():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            stock, pair = ib_insync.Stock("MSFT", "SMART", "USD"), ib_insync.Forex("EURUSD")
            assert await ib.qualifyContractsAsync(stock, pair) == [stock, pair]
            assert (stock.conId, pair.conId) == (272093, 12087792)
            (details,) = await ib.reqContractDetailsAsync(stock)
            assert details.minTick == 0.01
            assert await ib.reqContractDetailsAsync(ib_insync.Stock("no such thing", "SMART", "USD")) == []

    asyncio.run(story())


def test_market_data_follow_the_price():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            ticker = ib.reqMktData(AAPL)
            await until(lambda: ticker.ask == 190.01, "the first prices")
            assert (ticker.bid, ticker.last, ticker.close) == (189.99, 190.0, 190.0)
            gateway.move_price("AAPL", 200.0)
            await until(lambda: ticker.last == 200.0, "the new price")
            assert (ticker.bid, ticker.ask, ticker.close) == (199.99, 200.01, 190.0)
            ib.cancelMktData(AAPL)
            await ib.reqCurrentTimeAsync()
            gateway.move_price("AAPL", 210.0)
            await ib.reqCurrentTimeAsync()
            assert ticker.last == 200.0

    asyncio.run(story())


def test_a_snapshot_ends_by_itself():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            tickers = await asyncio.wait_for(ib.reqTickersAsync(AAPL), 5)
            assert tickers[0].ask == 190.01

    asyncio.run(story())


def test_prices_move_by_themselves_when_time_does():
    async def story() -> None:
        async with paper(tick_secs=0.01) as gateway, connected(gateway) as ib:
            ticker = ib.reqMktData(AAPL)
            await until(lambda: ticker.last == ticker.last and ticker.last != ticker.close, "a move")

    asyncio.run(story())


def test_the_same_seed_and_session_give_the_same_fills():
    async def session() -> list[tuple[float, float]]:
        async with paper(seed=5) as gateway, connected(gateway) as ib:
            for symbol, quantity in (("ABC", 10), ("DEF", 20), ("ABC", 30)):
                trade = ib.placeOrder(ib_insync.Stock(symbol, "SMART", "USD"), market_order("BUY", quantity))
                await reaches(trade, "Filled")
                for _ in range(20):
                    gateway.hub.perform(gateway.exchange.step(time.time()))
            return [(fill.execution.shares, fill.execution.price) for fill in ib.fills()]

    first, second = asyncio.run(session()), asyncio.run(session())
    assert first == second
    assert first[0][1] != first[2][1], "the market moved in between"


# ---------------------------------------------------------------- pacing


async def burst(ib: ib_insync.IB, count: int) -> None:
    for _ in range(count):
        ib.client.reqCurrentTime()


def pacing_errors(gateway: PaperGateway) -> list[str]:
    return [fields["text"] for name, fields in messages(gateway) if name == "error" and fields["code"] == "100"]


def test_a_client_beyond_fifty_messages_a_second_gets_error_100():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            ib.client.MaxRequests = 0
            # Eight messages were the start-up's.
            await burst(ib, 60)
            await until(lambda: pacing_errors(gateway), "error 100")
            assert pacing_errors(gateway) == ["Max rate of messages per second has been exceeded:max=50 rec=51 (1)"]
            assert ib.isConnected()

    asyncio.run(story())


def test_pacing_can_be_off():
    async def story() -> None:
        async with paper(messages_per_second=0) as gateway, connected(gateway) as ib:
            ib.client.MaxRequests = 0
            await burst(ib, 500)
            await ib.reqCurrentTimeAsync()
            assert pacing_errors(gateway) == []

    asyncio.run(story())


def test_the_third_breach_of_the_pacing_rule_disconnects(monkeypatch):
    monkeypatch.setattr("services.paper.server.pacing.PACING_WINDOW_SECS", 0.05)

    async def story() -> None:
        with log_lines() as lines:
            async with paper() as gateway, connected(gateway) as ib:
                ib.client.MaxRequests = 0
                for breach in (1, 2, 3):
                    await burst(ib, 60)
                    await until(partial(told_of_breaches, gateway, breach), f"breach {breach}")
                    await asyncio.sleep(0.06)
                await until(lambda: not ib.isConnected(), "the drop")
        assert [line for line in lines if line.startswith("dropped client 7: Max rate")]

    asyncio.run(story())


# ---------------------------------------------------------------- load


def test_thousands_of_orders_in_a_burst_are_all_acknowledged_in_order():
    async def story() -> list[Any]:
        async with paper(messages_per_second=0, record_in_memory=False) as gateway, connected(gateway) as ib:
            ib.client.MaxRequests = 0
            trades = [ib.placeOrder(AAPL, limit_order("BUY", 1, 100.0)) for _ in range(1000)]
            await until(lambda: status(trades[-1]) == "Submitted", "the last acknowledgement")
            assert {status(trade) for trade in trades} == {"Submitted"}
            return [trade.order.permId for trade in trades]

    perm_ids = asyncio.run(story())
    assert perm_ids == sorted(set(perm_ids))
