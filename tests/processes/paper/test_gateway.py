"""The real ib_insync through a real socket: the sequences of a TWS, one story each."""

from __future__ import annotations

import asyncio
import time

import ib_insync
import pytest
from ib_insync.client import Client
from ib_insync.wrapper import Wrapper

from services.paper.faults.around_orders import RejectOrders
from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import (
    AAPL,
    connected,
    drop_client,
    limit_order,
    market_order,
    messages,
    paper,
    raw_client,
    until,
)


def status(trade: ib_insync.Trade) -> str:
    return str(trade.orderStatus.status)


async def reaches(trade: ib_insync.Trade, wanted: str) -> None:
    await until(lambda: status(trade) == wanted, f"order {trade.order.orderId} becomes {wanted}")


async def placed(ib: ib_insync.IB, order: ib_insync.Order, wanted: str) -> ib_insync.Trade:
    trade = ib.placeOrder(AAPL, order)
    await reaches(trade, wanted)
    return trade


def about_orders(gateway: PaperGateway, client_id: int = 7) -> list[str]:
    """Return the messages about orders that a client was sent, as short words."""
    words = []
    for name, fields in messages(gateway, client_id):
        match name:
            case "openOrder":
                words.append(
                    f"openOrder {fields['status']}" + (f" {fields['commission']}" if fields["commission"] else "")
                )
            case "orderStatus":
                words.append(f"orderStatus {fields['status']} {fields['filled']}/{fields['remaining']}")
            case "error" if fields["id"] != "-1":
                words.append(f"error {fields['code']}")
            case "execDetails" | "commissionReport":
                words.append(name)
            case _:
                pass
    return words


# ---------------------------------------------------------------- connecting


def test_ib_insync_connects_and_syncs_without_a_complaint(caplog):
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            assert ib.managedAccounts() == ["DU0000000"]
            assert ib.client.serverVersion() == 176
            assert ib.client.getReqId() >= 1
            values = {value.tag: value.value for value in ib.accountValues()}
            assert values["NetLiquidation"] == "1000000.00"
            assert {"AvailableFunds", "ExcessLiquidity", "Cushion", "InitMarginReq", "MaintMarginReq"} <= set(values)
            assert {"BuyingPower", "TotalCashValue", "GrossPositionValue"} <= set(values)
            assert (ib.positions(), ib.openTrades(), ib.trades(), ib.fills()) == ([], [], [], [])

    asyncio.run(story())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_the_gateway_says_what_a_real_one_says_at_the_start_in_that_order():
    async def story() -> None:
        async with paper() as gateway, connected(gateway):
            sent = messages(gateway)
        assert [name for name, _ in sent[:5]] == ["managedAccounts", "nextValidId", "error", "error", "error"]
        assert [fields["code"] for name, fields in sent[2:5]] == ["2104", "2106", "2158"]

    asyncio.run(story())


def test_the_bare_client_becomes_ready():
    async def story() -> None:
        async with paper() as gateway:
            client = Client(Wrapper(ib_insync.IB()))
            await client.connectAsync("127.0.0.1", gateway.port, 3)
            assert client.isReady()
            assert client.getAccounts() == ["DU0000000"]
            client.disconnect()

    asyncio.run(story())


def test_a_gateway_of_another_account_names_it_in_all_that_it_says():
    async def story() -> None:
        async with paper(account_id="U7654321") as gateway, connected(gateway) as ib:
            assert ib.managedAccounts() == ["U7654321"]
            filled = await placed(ib, market_order(), "Filled")
            assert filled.fills[0].execution.acctNumber == "U7654321"
            assert (await placed(ib, market_order(account="DU0000000"), "Cancelled")).log[-1].errorCode
            await ib.reqAccountUpdatesAsync("U7654321")
            await ib.reqAllOpenOrdersAsync()
            assert gateway.status()["account"] == "U7654321"
            assert all(fields["account"] == "U7654321" for _, fields in messages(gateway) if "account" in fields)

    asyncio.run(story())


@pytest.mark.parametrize("version", [157, 163, 164, 169, 176])
def test_orders_work_at_the_older_versions_of_the_protocol_too(version, monkeypatch):
    monkeypatch.setattr(Client, "MaxClientVersion", version)

    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            assert ib.client.serverVersion() == version
            assert await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
            trade = await placed(ib, market_order(orderRef="r"), "Filled")
            await until(lambda: trade.fills[0].commissionReport.commission, "the commission")
            bad = ib.placeOrder(AAPL, market_order(account="DU9"))
            await reaches(bad, "Cancelled")
        async with paper() as gateway, connected(gateway) as ib:
            assert ib.isConnected()

    asyncio.run(story())


@pytest.mark.parametrize("client_id", [0, 7])
def test_any_client_id_may_connect_and_come_back(client_id):
    async def story() -> None:
        async with paper() as gateway:
            for _ in range(2):
                async with connected(gateway, client_id) as ib:
                    assert ib.isConnected()

    asyncio.run(story())


def test_a_client_id_in_use_is_refused_with_326_and_the_first_client_stays():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib, raw_client(gateway) as second:
            second.writer.write(b"API\0")
            second.write(b"v157..176")
            await second.read()
            second.send(71, 2, 7, "")
            (error,) = await second.read_all()
            assert error[:4] == ["4", "2", "-1", "326"]
            assert await ib.reqCurrentTimeAsync()

    asyncio.run(story())


def test_start_up_is_quick():
    async def story() -> None:
        began = time.monotonic()
        async with paper() as gateway, connected(gateway):
            assert time.monotonic() - began < 1

    asyncio.run(story())


# ---------------------------------------------------------------- orders


def test_a_market_order_is_told_as_a_real_gateway_tells_it():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            reports = []
            ib.commissionReportEvent += lambda *args: reports.append(args)
            trade = await placed(ib, market_order(orderRef="r1"), "Filled")
            await until(lambda: reports, "the commission report")
            assert about_orders(gateway) == [
                "openOrder PreSubmitted",
                "orderStatus PreSubmitted 0/100",
                "execDetails",
                "openOrder Filled",
                "orderStatus Filled 100/0",
                "openOrder Filled 1.00",
                "commissionReport",
            ]
            (fill,) = trade.fills
            assert fill.execution.price == trade.orderStatus.avgFillPrice == 190.01
            assert fill.execution.orderRef == "r1"
            assert fill.execution.side == "BOT"
            assert fill.execution.permId == trade.order.permId > 0
            assert fill.commissionReport.commission == 1.0
            assert abs(fill.execution.time.timestamp() - time.time()) < 60

    asyncio.run(story())


def test_a_limit_order_rests_changes_and_is_cancelled():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
            perm_id = trade.order.permId
            trade.order.lmtPrice = 151.0
            ib.placeOrder(AAPL, trade.order)
            await until(lambda: trade.log[-1].message == "Modified", "the change is acknowledged")
            assert trade.order.permId == perm_id
            assert ib.openTrades() == [trade]
            ib.cancelOrder(trade.order)
            await reaches(trade, "Cancelled")
            await until(lambda: "error 202" in about_orders(gateway), "202")
            assert about_orders(gateway) == [
                "openOrder Submitted",
                "orderStatus Submitted 0/100",
                "openOrder Submitted",
                "orderStatus Submitted 0/100",
                "orderStatus Cancelled 0/100",
                "error 202",
            ]

    asyncio.run(story())


def test_a_resting_order_fills_when_the_price_comes_to_it():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = await placed(ib, limit_order("BUY", 10, 150.0), "Submitted")
            gateway.move_price("AAPL", 149.0)
            await reaches(trade, "Filled")
            assert trade.orderStatus.avgFillPrice == 150.0

    asyncio.run(story())


def test_a_stop_order_waits_presubmitted():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = await placed(ib, ib_insync.StopOrder("BUY", 10, 195.0), "PreSubmitted")
            gateway.move_price("AAPL", 196.0)
            await reaches(trade, "Filled")

    asyncio.run(story())


def test_a_bracket_of_ib_insync_works():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            bracket = ib.bracketOrder("BUY", 10, 188.0, 195.0, 180.0)
            trades = [ib.placeOrder(AAPL, order) for order in bracket]
            await until(lambda: status(trades[0]) == "Submitted", "the parent works")
            assert [status(trade) for trade in trades[1:]] == ["PreSubmitted", "PreSubmitted"]
            gateway.move_price("AAPL", 187.0)
            await reaches(trades[1], "Submitted")
            gateway.move_price("AAPL", 179.0)
            await reaches(trades[2], "Filled")
            await reaches(trades[1], "Cancelled")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (market_order(quantity=-1), 321),
        (ib_insync.Order(action="BUY", totalQuantity=1, orderType="PEG BENCH"), 387),
        (market_order(account="DU9"), 321),
        (market_order(quantity=1_000_000), 201),
    ],
)
def test_a_refused_order_has_its_code_in_the_log_of_the_trade(order, code):
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = ib.placeOrder(AAPL, order)
            await until(lambda: any(entry.errorCode == code for entry in trade.log), f"code {code}")
            await ib.reqCurrentTimeAsync()
            # An order rejected with 201 was booked first and ends as Inactive.
            assert status(trade) == ("Inactive" if code == 201 else "Cancelled")

    asyncio.run(story())


def test_an_unknown_contract_is_error_200_and_nothing_else():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = ib.placeOrder(ib_insync.Contract(secType="MAGIC", symbol="X"), market_order())
            await reaches(trade, "Cancelled")
            assert about_orders(gateway) == ["error 200"]
            assert trade.order.permId == 0

    asyncio.run(story())


def test_a_used_id_is_103_and_cancels_of_nothing_are_10147_and_10148():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
            ib.cancelOrder(trade.order)
            await reaches(trade, "Cancelled")
            ib.client.placeOrder(trade.order.orderId, AAPL, trade.order)
            ib.client.cancelOrder(9999)
            ib.client.cancelOrder(trade.order.orderId)
            await ib.reqCurrentTimeAsync()
            assert about_orders(gateway)[-3:] == ["error 103", "error 10147", "error 10148"]

    asyncio.run(story())


def test_rejections_on_command_strike_the_next_orders_error_first():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            text = "Order rejected - reason:because"
            gateway.faults.arm(RejectOrders(count=1, code=201, text=text, order_ref="bad"))
            spared = await placed(ib, market_order(orderRef="good"), "Filled")
            struck = await placed(ib, market_order(orderRef="bad-1"), "Inactive")
            await placed(ib, market_order(orderRef="bad-2"), "Filled")
            codes = [(entry.errorCode, text in entry.message) for entry in struck.log if entry.errorCode]
            assert codes == [(201, True)]
            about_struck = [
                name
                for name, fields in messages(gateway)
                if str(struck.order.orderId) in (fields.get("orderId"), fields.get("id"))
            ]
            assert about_struck == ["error", "openOrder", "orderStatus"]
            assert spared.order.permId < struck.order.permId
            assert gateway.status()["orders"] == 3

    asyncio.run(story())


def test_what_if_answers_with_margins_and_books_nothing():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            state = await ib.whatIfOrderAsync(AAPL, market_order())
            assert state.initMarginBefore == "0.00"
            assert state.initMarginAfter == state.initMarginChange == "4750.00"
            assert state.equityWithLoanAfter == "999999.00"
            assert (state.commission, state.commissionCurrency) == (1.0, "USD")
            assert about_orders(gateway) == ["openOrder PreSubmitted 1.00"]
            assert gateway.status()["orders"] == 0

    asyncio.run(story())


def test_a_global_cancel_reaches_the_orders_of_every_client():
    async def story() -> None:
        async with paper() as gateway, connected(gateway, 7) as one, connected(gateway, 8) as two:
            trades = [
                await placed(one, limit_order("BUY", 1, 150.0), "Submitted"),
                await placed(two, limit_order("BUY", 1, 150.0), "Submitted"),
            ]
            one.reqGlobalCancel()
            for trade in trades:
                await reaches(trade, "Cancelled")
            assert about_orders(gateway, 8)[-2:] == ["orderStatus Cancelled 0/1", "error 202"]

    asyncio.run(story())


def test_an_acknowledgement_can_be_late_and_nothing_overtakes_it():
    async def story() -> None:
        async with paper(ack_delay_ms=80) as gateway, connected(gateway) as ib:
            began = time.monotonic()
            trade = ib.placeOrder(AAPL, market_order())
            assert await ib.reqCurrentTimeAsync()
            assert status(trade) == "PendingSubmit"
            await reaches(trade, "Filled")
            assert time.monotonic() - began >= 0.08
            assert about_orders(gateway)[0] == "openOrder PreSubmitted"
            assert gateway.status()["executions"] == 1

    asyncio.run(story())


# ---------------------------------------------------------------- the book and connections


def test_fills_while_nobody_is_connected_are_told_at_the_reconnect():
    async def story() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                done = await placed(ib, market_order(orderRef="done"), "Filled")
                fills_later = await placed(ib, limit_order("BUY", 100, 150.0, orderRef="later"), "Submitted")
                rests = await placed(ib, limit_order("BUY", 100, 100.0, orderRef="rests"), "Submitted")
                gone = await placed(ib, limit_order("BUY", 100, 101.0, orderRef="gone"), "Submitted")
                ib.cancelOrder(gone.order)
                await reaches(gone, "Cancelled")
                drop_client(gateway, 7)
                await until(lambda: not ib.isConnected(), "the client sees the drop")
            gateway.move_price("AAPL", 149.0)

            async with connected(gateway) as ib:
                (open_trade,) = ib.openTrades()
                assert (open_trade.order.orderRef, open_trade.order.permId) == ("rests", rests.order.permId)
                assert open_trade.order.orderId == rests.order.orderId
                fills = {fill.execution.orderRef: fill for fill in ib.fills()}
                assert set(fills) == {"done", "later"}
                assert fills["later"].execution.permId == fills_later.order.permId
                assert fills["later"].commissionReport.commission == 1.0
                completed = {t.order.orderRef: t for t in ib.trades() if t.isDone()}
                assert set(completed) == {"done", "later", "gone"}
                assert completed["done"].order.permId == done.order.permId
                assert (completed["done"].order.totalQuantity, completed["done"].order.filledQuantity) == (0, 100)
                assert status(completed["gone"]) == "Cancelled"
                assert ib.client.getReqId() > gone.order.orderId
                (position,) = ib.positions()
                assert position.position == 200

    asyncio.run(story())


def test_open_orders_are_ones_own_and_all_open_orders_are_everybodys():
    async def story() -> None:
        async with paper() as gateway, connected(gateway, 7) as one, connected(gateway, 8) as two:
            await placed(one, limit_order("BUY", 1, 150.0, orderRef="one"), "Submitted")
            await placed(two, limit_order("BUY", 1, 150.0, orderRef="two"), "Submitted")
            own = await one.reqOpenOrdersAsync()
            assert [trade.order.orderRef for trade in own] == ["one"]
            everybody = await one.reqAllOpenOrdersAsync()
            assert {trade.order.orderRef for trade in everybody} == {"one", "two"}

    asyncio.run(story())


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 2),
        ({"clientId": 7}, 2),
        ({"clientId": 8}, 0),
        ({"side": "SELL"}, 1),
        ({"side": "BUY"}, 1),
        ({"symbol": "MSFT"}, 0),
        ({"secType": "STK"}, 2),
        ({"exchange": "SMART"}, 2),
        ({"acctCode": "DU0000000"}, 2),
        ({"acctCode": "DU1"}, 0),
        ({"time": "20200101 00:00:00"}, 2),
        ({"time": "20990101-00:00:00"}, 0),
    ],
)
def test_executions_are_filtered(wanted, count):
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            await placed(ib, market_order("BUY"), "Filled")
            await placed(ib, market_order("SELL"), "Filled")
            fills = await ib.reqExecutionsAsync(ib_insync.ExecutionFilter(**wanted))
            assert len(fills) == count

    asyncio.run(story())


def test_positions_and_account_values_follow_a_fill_unasked():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            await placed(ib, market_order(), "Filled")

            def cash() -> list[str]:
                return [value.value for value in ib.accountValues() if value.tag == "TotalCashValue"]

            await until(lambda: ib.positions() and cash() == ["980998.00"], "the account is told")
            await until(ib.portfolio, "the portfolio line")
            (item,) = ib.portfolio()
            assert (item.position, item.averageCost, item.marketPrice) == (100, 190.01, 190.0)
            summary = await ib.accountSummaryAsync()
            assert {value.tag: value.value for value in summary}["TotalCashValue"] == "980998.00"

    asyncio.run(story())
