"""Faults of connections, start-ups, days and the system, through the real ib_insync."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ib_insync
import pytest

from services.paper.faults.families import FaultError
from services.paper.faults.kinds import make_fault
from services.paper.faults.texts import TEXTS
from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import AAPL, connected, limit_order, market_order, messages, paper, raw_client, until
from tests.processes.paper.test_gateway import about_orders, placed, reaches, status
from tests.processes.paper.test_order_faults import arm, codes, played, quiet

# Start-ups that go wrong wait this long and no longer.
SHORT_SECS = 0.25


@asynccontextmanager
async def loose(gateway: PaperGateway, **options: Any) -> AsyncIterator[ib_insync.IB]:
    """Connect ib_insync, without a wait for the gateway to see it go."""
    ib = ib_insync.IB()
    try:
        await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, **{"timeout": SHORT_SECS, **options})
        yield ib
    finally:
        ib.disconnect()


async def others_are_served(gateway: PaperGateway) -> None:
    async with raw_client(gateway, 99) as other:
        other.send(49, 1)
        assert await other.read_until(49)


# ---------------------------------------------------------------- notices


@pytest.mark.parametrize(
    "code", [1100, 1101, 1102, 2103, 2104, 2105, 2106, 2107, 2108, 2109, 2110, 2157, 2158, 10197, 4711]
)
def test_a_notice_of_the_system_arrives_with_ibs_own_text_and_the_connection_stays(code):
    async def story(gateway, ib):
        heard = []
        ib.errorEvent += lambda *args: heard.append(args)
        arm(gateway, "notice", code=code)
        await until(lambda: heard, "the notice")
        assert heard == [(-1, code, TEXTS.get(code, "Error 4711 on command"), None)]
        assert await ib.reqCurrentTimeAsync()

    played(story)


def test_1300_ends_the_connection():
    async def story(gateway, ib):
        heard = []
        ib.errorEvent += lambda *args: heard.append(args[1])
        arm(gateway, "notice", code=1300)
        await until(lambda: not ib.isConnected(), "the end")
        assert heard[0] == 1300

    played(story)


def test_a_notice_can_be_for_one_client_and_come_later():
    async def whole() -> None:
        async with paper() as gateway, connected(gateway, 7) as one, connected(gateway, 8) as two:
            heard: list[tuple[int, int]] = []
            one.errorEvent += lambda *args: heard.append((7, args[1]))
            two.errorEvent += lambda *args: heard.append((8, args[1]))
            arm(gateway, "notice", code=2103, client_id=8, after_secs=0.05)
            await quiet(two)
            assert heard == []
            await until(lambda: heard, "the notice")
            await quiet(one)
            assert heard == [(8, 2103)]

    asyncio.run(whole())


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("how", ["fin", "rst", "mid_frame"])
def test_a_connection_can_end_in_three_ways_and_the_client_comes_back(how):
    async def whole() -> None:
        async with paper() as gateway:
            async with loose(gateway) as ib:
                lost: list[bool] = []
                ib.disconnectedEvent += lambda: lost.append(True)
                await placed(ib, limit_order("BUY", 1, 100.0), "Submitted")
                arm(gateway, "disconnect", how=how)
                await until(lambda: lost, "the client sees it")
            async with connected(gateway) as ib:
                assert len(ib.openTrades()) == 1

    asyncio.run(whole())


def test_a_reset_is_a_reset():
    async def whole() -> None:
        async with paper() as gateway, raw_client(gateway, 7) as client:
            arm(gateway, "disconnect", how="rst")
            assert 7 not in gateway.hub.sessions, "its id is free at once"
            # What was said before is lost with it, or read: then the reset comes.
            with pytest.raises(ConnectionResetError):
                await client.reader.read()

    asyncio.run(whole())


def test_a_gateway_that_stops_reading_executes_on_thaw_what_was_written():
    async def story(gateway, ib):
        arm(gateway, "disconnect", how="stop_reading", for_ms=200)
        trade = ib.placeOrder(AAPL, market_order())
        await others_are_served(gateway)
        assert (status(trade), gateway.exchange.order_count) == ("PendingSubmit", 0)
        await reaches(trade, "Filled")

    played(story)


def test_a_gateway_that_stops_writing_goes_on_booking_and_says_it_all_on_thaw():
    async def story(gateway, ib):
        arm(gateway, "disconnect", how="stop_writing", for_ms=200)
        trade = ib.placeOrder(AAPL, market_order())
        await until(lambda: gateway.exchange.executions, "the fill in the book")
        await others_are_served(gateway)
        assert status(trade) == "PendingSubmit"
        await reaches(trade, "Filled")

    played(story)


def test_a_client_id_can_be_in_use_once():
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "refuse")
            heard: list[int] = []
            ib = ib_insync.IB()
            ib.errorEvent += lambda *args: heard.append(args[1])
            with pytest.raises(asyncio.TimeoutError):
                await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
            assert heard[0] == 326
            async with connected(gateway) as ib:
                assert ib.isConnected()

    asyncio.run(whole())


@pytest.mark.parametrize("how", ["fin", "rst", "silent"])
def test_a_connection_can_be_refused_without_a_word(how):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "refuse", how=how)
            ib = ib_insync.IB()
            with pytest.raises((asyncio.TimeoutError, ConnectionError)):
                await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
            assert messages(gateway) == []
            async with connected(gateway) as ib:
                assert ib.isConnected()

    asyncio.run(whole())


# ---------------------------------------------------------------- start-up

UNANSWERED = {
    "startApi": False,
    "reqPositions": True,
    "reqOpenOrders": True,
    "reqCompletedOrders": True,
    "reqAccountUpdates": True,
    "reqAccountUpdatesMulti": True,
    "reqExecutions": False,
}


@pytest.mark.parametrize(("request_name", "connects"), UNANSWERED.items())
def test_each_start_up_request_can_stay_unanswered(request_name, connects):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "unanswered", request=request_name)
            ib = ib_insync.IB()
            if connects:
                # The client logs a time-out, and believes that there was nothing to tell.
                await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
                assert ib.isConnected()
            else:
                with pytest.raises(asyncio.TimeoutError):
                    await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
            ib.disconnect()
            assert gateway.faults.injected == {"unanswered": 1}

    asyncio.run(whole())


@pytest.mark.parametrize("request_name", UNANSWERED)
def test_each_start_up_request_can_be_answered_late(request_name):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "unanswered", request=request_name, late_ms=60)
            began = asyncio.get_running_loop().time()
            async with connected(gateway, timeout=5) as ib:
                assert asyncio.get_running_loop().time() - began >= 0.06
                assert ib.isConnected()

    asyncio.run(whole())


@pytest.mark.parametrize(
    "message",
    [
        "managedAccounts",
        "nextValidId",
        "positionEnd",
        "openOrderEnd",
        "completedOrdersEnd",
        "accountDownloadEnd",
        "accountUpdateMultiEnd",
        "execDetailsEnd",
    ],
)
def test_each_start_up_reply_can_lack_its_end(message):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "omit", message=message)
            ib = ib_insync.IB()
            try:
                await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
                connects = True
            except TimeoutError:
                connects = False
            assert connects is (message not in ("managedAccounts", "nextValidId", "execDetailsEnd"))
            ib.disconnect()
            assert gateway.faults.injected == {"omit": 1}

    asyncio.run(whole())


def test_an_open_order_is_invisible_when_its_reply_is_missing():
    async def whole() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                await placed(ib, limit_order("BUY", 1, 100.0), "Submitted")
            arm(gateway, "unanswered", request="reqOpenOrders")
            async with loose(gateway) as ib:
                assert ib.openTrades() == [], "empty is not none"

    asyncio.run(whole())


@pytest.mark.parametrize("order_id", [1_000_000_001, 1_767_693_324, 2_147_000_000])
def test_the_next_id_of_the_greeting_and_of_reqids_can_be_beyond_a_billion(order_id):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "next_id", order_id=order_id)
            async with connected(gateway) as ib:
                ib.client.reqIds(1)
                await quiet(ib)
                told = [fields["orderId"] for name, fields in messages(gateway) if name == "nextValidId"]
                assert told == [str(order_id)] * 2
                assert (await placed(ib, market_order(), "Filled")).order.orderId >= order_id
                ib.placeOrder(AAPL, market_order(orderId=order_id - 1))
                await until(lambda: "error 103" in about_orders(gateway), "lower ids are used up")

    asyncio.run(whole())


def test_an_order_id_has_31_bits():
    with pytest.raises(FaultError, match="order_id is 2147483648; allowed are whole numbers from 1 to 2147483647"):
        make_fault("next_id", {"order_id": 2**31})

    async def story(gateway, ib):
        ib.client.placeOrder(2**31, AAPL, market_order())
        await until(lambda: messages(gateway)[-1][1].get("code") == "320", "it is refused")
        assert gateway.exchange.order_count == 0

    played(story)


@pytest.mark.parametrize("ends_by", ["command", "time"])
def test_a_gateway_to_which_nobody_has_logged_in_has_no_accounts_and_gives_no_order_id(ends_by):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "logged_out", for_ms=200 if ends_by == "time" else 0)
            ib = ib_insync.IB()
            connecting = asyncio.ensure_future(ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=20))
            await until(lambda: messages(gateway), "the greeting")
            assert messages(gateway) == [("managedAccounts", {"version": "1", "accounts": ""})]
            ib.client.reqManagedAccts()
            ib.client.placeOrder(1, AAPL, market_order())
            await quiet(ib)
            assert [name for name, _ in messages(gateway)] == ["managedAccounts", "managedAccounts", "currentTime"]
            if ends_by == "command":
                arm(gateway, "logged_out", active=False)
            await connecting
            assert ib.managedAccounts() == ["DU0000000"]
            assert gateway.exchange.order_count == 0
            await placed(ib, market_order(), "Filled")
            ib.disconnect()

    asyncio.run(whole())


def test_the_end_of_one_log_out_does_not_end_the_next():
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "logged_out", for_ms=30)
            arm(gateway, "logged_out")
            arm(gateway, "notice", code=2103, after_secs=0.06)
            await until(lambda: gateway.faults.injected["notice"], "a moment after the first would have ended")
            assert gateway.hub.logged_out

    asyncio.run(whole())


def test_a_gateway_can_be_too_old_for_its_client():
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "server_version", version=152)
            ib = ib_insync.IB()
            heard: list[str] = []
            ib.client.apiError += heard.append
            with pytest.raises((asyncio.TimeoutError, ConnectionError)):
                await ib.connectAsync("127.0.0.1", gateway.port, clientId=7, timeout=SHORT_SECS)
            assert heard[0] == "TWS/gateway version must be >= 972"
            told = [entry.fields["version"] for entry in gateway.record.entries("handshake", direction="out")]
            assert told == ["152"]
            arm(gateway, "server_version", version=160)
            async with connected(gateway) as ib:
                assert ib.client.serverVersion() == 160
            arm(gateway, "server_version", version=0)
            async with connected(gateway) as ib:
                assert ib.client.serverVersion() == 176

    asyncio.run(whole())


# ---------------------------------------------------------------- restarts and days


def test_a_restart_forgets_connections_and_not_the_book():
    async def whole() -> None:
        async with paper() as gateway:
            async with loose(gateway) as ib:
                trade = await placed(ib, limit_order("BUY", 1, 100.0, orderRef="r"), "Submitted")
                await placed(ib, market_order(), "Filled")
                arm(gateway, "restart", down_ms=100)
                await until(lambda: not ib.isConnected(), "the end")
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", gateway.port)
            await until(lambda: can_connect(gateway.port), "it listens again")
            async with connected(gateway) as ib:
                (again,) = ib.openTrades()
                assert (again.order.orderRef, again.order.permId) == ("r", trade.order.permId)
                assert len(ib.fills()) == 1

    asyncio.run(whole())


def can_connect(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_restart_can_roll_the_next_order_id_back():
    async def whole() -> None:
        async with paper() as gateway:
            async with loose(gateway) as ib:
                ids = [(await placed(ib, market_order(), "Filled")).order.orderId for _ in range(5)]
                arm(gateway, "restart", roll_back_ids=4)
                await until(lambda: not ib.isConnected(), "the end")
            async with connected(gateway) as ib:
                sent = [fields["orderId"] for name, fields in messages(gateway) if name == "nextValidId"]
                assert int(sent[-1]) == ids[-1] + 1 - 4
                # ib_insync takes its next id from there: an old id for a new order.
                assert (await placed(ib, market_order(), "Filled")).order.orderId in ids

    asyncio.run(whole())


def test_at_midnight_executions_and_completed_orders_are_gone():
    async def whole() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                await placed(ib, market_order(), "Filled")
                await placed(ib, limit_order("BUY", 1, 100.0, tif="GTC"), "Submitted")
                day = await placed(ib, limit_order("BUY", 1, 100.0), "Submitted")
                arm(gateway, "midnight", day_orders=True)
                await reaches(day, "Cancelled")
            async with connected(gateway) as ib:
                assert ib.fills() == []
                assert [trade.order.tif for trade in ib.trades()] == ["GTC"]
                assert ib.positions()[0].position == 100

    asyncio.run(whole())


# ---------------------------------------------------------------- read-only, margin


def test_a_read_only_api_refuses_orders_and_keeps_open_orders_to_itself():
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "read_only")
            async with connected(gateway, readonly=True, timeout=SHORT_SECS) as ib:
                trade = ib.placeOrder(AAPL, market_order())
                await reaches(trade, "Cancelled")
                assert codes(trade) == [321]
                assert "Read-Only" in trade.log[-1].message
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(ib.reqOpenOrdersAsync(), SHORT_SECS)
                arm(gateway, "read_only", active=False)
                await placed(ib, market_order(), "Filled")

    asyncio.run(whole())


def test_the_margin_can_fall_below_its_floor_and_new_positions_are_refused():
    async def story(gateway, ib):
        await placed(ib, market_order(), "Filled")

        def values() -> dict[str, str]:
            return {value.tag: value.value for value in ib.accountValues()}

        arm(gateway, "margin", excess_liquidity=-5000, available_funds=-5000.5, cushion=-0.01)
        await until(lambda: values()["ExcessLiquidity"] == "-5000.00", "the news")
        assert (values()["AvailableFunds"], values()["Cushion"]) == ("-5000.50", "-0.010000")
        assert values()["LookAheadExcessLiquidity"] == values()["FullExcessLiquidity"] == "-5000.00"
        trade = await placed(ib, market_order(), "Inactive")
        assert "INITIAL MARGIN" in next(entry.message for entry in trade.log if entry.errorCode)
        await placed(ib, market_order("SELL"), "Filled")
        arm(gateway, "margin")
        await until(lambda: float(values()["ExcessLiquidity"]) > 0, "the true values")
        await placed(ib, market_order(), "Filled")

    played(story)


# ---------------------------------------------------------------- every kind


def test_faults_can_be_played_by_name_and_come_back_as_they_were_given():
    gateway = PaperGateway()
    fault = make_fault("reject", {"count": 3, "code": 110})
    gateway.play(fault)
    assert gateway.faults.armed() == [{"kind": "reject", "count": 3, "code": 110, "left": 3}]
    assert json.dumps(gateway.faults.armed())
