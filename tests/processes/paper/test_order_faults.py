"""Faults around an order, through the real ib_insync: what its user sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import ib_insync
import pytest

from services.paper.faults.kinds import make_fault
from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import AAPL, connected, limit_order, market_order, messages, paper, until
from tests.processes.paper.test_gateway import about_orders, placed, reaches, status

Story = Callable[[PaperGateway, ib_insync.IB], Awaitable[None]]


def played(story: Story, **settings: Any) -> None:
    async def whole() -> None:
        async with paper(**settings) as gateway, connected(gateway) as ib:
            await story(gateway, ib)

    asyncio.run(whole())


def arm(gateway: PaperGateway, kind: str, **fields: Any) -> None:
    gateway.play(make_fault(kind, fields))


async def quiet(ib: ib_insync.IB) -> None:
    """Return once everything that the gateway had to say has been read."""
    await ib.reqCurrentTimeAsync()


def codes(trade: ib_insync.Trade) -> list[int]:
    return [entry.errorCode for entry in trade.log if entry.errorCode]


def statuses(trade: ib_insync.Trade) -> list[str]:
    return [entry.status for entry in trade.log]


# ---------------------------------------------------------------- rejected


@pytest.mark.parametrize(
    ("sequence", "on_the_wire", "seen"),
    [
        ("error_first", ["error 201", "openOrder Inactive", "orderStatus Inactive 0/100"], "Inactive"),
        ("status_first", ["openOrder Inactive", "orderStatus Inactive 0/100", "error 201"], "Cancelled"),
        ("error_only", ["error 201"], "Cancelled"),
    ],
)
def test_a_rejection_comes_in_each_of_its_three_orders(sequence, on_the_wire, seen):
    async def story(gateway, ib):
        arm(gateway, "reject", sequence=sequence)
        trade = ib.placeOrder(AAPL, market_order())
        await until(lambda: codes(trade) == [201], "the error")
        await quiet(ib)
        assert about_orders(gateway) == on_the_wire
        assert status(trade) == seen

    played(story)


def test_an_order_can_be_acknowledged_first_and_rejected_then():
    async def story(gateway, ib):
        arm(gateway, "reject", presubmitted=True, wait_ms=50)
        trade = await placed(ib, market_order(), "PreSubmitted")
        assert trade.order.permId
        await reaches(trade, "Inactive")
        assert statuses(trade) == ["PendingSubmit", "PreSubmitted", "Cancelled", "Inactive"]
        assert codes(trade) == [201]

    played(story)


@pytest.mark.parametrize(
    ("code", "seen", "perm_id"),
    [
        (200, "Cancelled", False),
        (103, "Cancelled", False),
        (110, "PendingSubmit", False),
        (203, "Inactive", True),
        (321, "Cancelled", False),
        (12345, "Inactive", True),
    ],
)
def test_any_code_rejects_a_new_order_with_ibs_own_text_or_another(code, seen, perm_id):
    async def story(gateway, ib):
        errors = []
        ib.errorEvent += lambda *args: errors.append(args[:3])
        arm(gateway, "reject", code=code, count=2)
        first = ib.placeOrder(AAPL, market_order())
        await until(lambda: errors, "the error")
        await quiet(ib)
        assert errors[0][:2] == (first.order.orderId, code)
        assert len(errors[0][2]) > 5
        assert status(first) == seen, "with 110 a trade waits for ever: the client takes it for a warning"
        assert bool(first.order.permId) is perm_id
        gateway.faults.clear()
        arm(gateway, "reject", code=code, text="Because {order_id}")
        second = ib.placeOrder(AAPL, market_order())
        await until(lambda: len(errors) == 2, "the second error")
        assert errors[1] == (second.order.orderId, code, f"Because {second.order.orderId}")

    played(story)


def test_a_refused_change_leaves_the_order_working_as_it_was():
    async def story(gateway, ib):
        arm(gateway, "reject", on="modify", code=105)
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        trade.order.lmtPrice = 189.0
        ib.placeOrder(AAPL, trade.order)
        await until(lambda: codes(trade) == [105], "the error")
        assert status(trade) == "Cancelled", "the client believes so, and is wrong"
        (working,) = await ib.reqOpenOrdersAsync()
        assert (working.order.permId, working.order.lmtPrice) == (trade.order.permId, 150.0)

    played(story)


@pytest.mark.parametrize("code", [161, 10147, 10148])
def test_a_refused_cancel_leaves_the_order_working(code):
    async def story(gateway, ib):
        arm(gateway, "reject", on="cancel", code=code)
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        ib.cancelOrder(trade.order)
        await until(lambda: codes(trade) == [code], "the error")
        assert status(trade) == "Cancelled", "the client believes so, and is wrong"
        gateway.move_price("AAPL", 149.0)
        await reaches(trade, "Filled")

    played(story)


def test_an_order_can_become_inactive_without_a_word():
    async def story(gateway, ib):
        arm(gateway, "inactive")
        trade = await placed(ib, market_order(), "Inactive")
        await quiet(ib)
        assert codes(trade) == []
        assert not trade.isDone()

    played(story)


# ---------------------------------------------------------------- warned, delayed, swallowed


def test_10349_is_a_false_cancel_and_the_order_fills():
    async def story(gateway, ib):
        cancelled: list[Any] = []
        arm(gateway, "warn", code=10349)
        ib.cancelOrderEvent += cancelled.append
        trade = ib.placeOrder(AAPL, market_order())
        trade.cancelledEvent += cancelled.append
        await reaches(trade, "Filled")
        assert cancelled == [trade]
        assert statuses(trade)[:3] == ["PendingSubmit", "Cancelled", "PreSubmitted"]
        assert codes(trade) == [10349]

    played(story)


def test_399_warns_and_changes_nothing():
    async def story(gateway, ib):
        arm(gateway, "warn", code=399)
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        assert "error 399" in about_orders(gateway)
        assert "Cancelled" not in statuses(trade)

    played(story)


def test_404_holds_an_order_while_shares_are_located():
    async def story(gateway, ib):
        arm(gateway, "warn", code=404, wait_ms=100)
        trade = await placed(ib, market_order("SELL"), "PreSubmitted")
        assert trade.orderStatus.whyHeld == "locate"
        assert (trade.orderStatus.filled, trade.orderStatus.avgFillPrice) == (0, 0)
        await reaches(trade, "Filled")
        assert trade.orderStatus.whyHeld == ""

    played(story)


def test_an_acknowledgement_can_be_late():
    async def story(gateway, ib):
        arm(gateway, "delay", ms=150)
        began = time.monotonic()
        trade = ib.placeOrder(AAPL, limit_order("BUY", 100, 150.0))
        await quiet(ib)
        assert (status(trade), gateway.exchange.live_count) == ("PendingSubmit", 1), "booked, and not told"
        await reaches(trade, "Submitted")
        assert time.monotonic() - began >= 0.15

    played(story)


@pytest.mark.parametrize("booked", [False, True])
def test_an_order_can_vanish_before_or_after_it_was_booked(booked):
    async def story(gateway, ib):
        arm(gateway, "swallow", booked=booked)
        trade = ib.placeOrder(AAPL, limit_order("BUY", 100, 150.0, orderRef="lost"))
        await quiet(ib)
        assert status(trade) == "PendingSubmit"
        assert about_orders(gateway) == []
        found = [open_trade.order.orderRef for open_trade in await ib.reqAllOpenOrdersAsync()]
        assert found == (["lost"] if booked else [])

    played(story)


def test_a_swallowed_cancel_leaves_everything_as_it_was():
    async def story(gateway, ib):
        arm(gateway, "swallow", on="cancel")
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        ib.cancelOrder(trade.order)
        await quiet(ib)
        assert status(trade) == "PendingCancel"
        assert gateway.exchange.live_count == 1

    played(story)


# ---------------------------------------------------------------- fills


def test_an_order_fills_in_parts_at_each_price_step():
    async def story(gateway, ib):
        arm(gateway, "partial", size=40)
        reports = []
        ib.commissionReportEvent += lambda *args: reports.append(args)
        trade = ib.placeOrder(AAPL, market_order())
        await until(lambda: trade.orderStatus.filled == 40, "the first part")
        assert (status(trade), trade.orderStatus.remaining) == ("Submitted", 60)
        for _ in range(2):
            gateway.hub.perform(gateway.exchange.step(time.time()))
            gateway.hub.flush()
        await reaches(trade, "Filled")
        await until(lambda: len(reports) == 3, "a commission for each part")
        assert [fill.execution.shares for fill in trade.fills] == [40, 40, 20]
        assert [fill.execution.cumQty for fill in trade.fills] == [40, 80, 100]

    played(story)


def test_the_size_on_offer_can_be_set_for_a_symbol():
    async def story(gateway, ib):
        arm(gateway, "liquidity", symbol="AAPL", size=10)
        trade = ib.placeOrder(AAPL, market_order(tif="IOC"))
        await reaches(trade, "Cancelled")
        assert trade.filled() == 10

    played(story)


def test_an_order_can_be_filled_after_it_was_cancelled():
    async def story(gateway, ib):
        arm(gateway, "fill_after_cancel", wait_ms=50)
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        ib.cancelOrder(trade.order)
        await reaches(trade, "Cancelled")
        await reaches(trade, "Filled")
        assert trade.filled() == 100
        assert "Cancelled" in statuses(trade)

    played(story)


def test_orders_fill_while_their_client_is_away():
    async def story(gateway, ib):
        arm(gateway, "fill", order_ref="later", away=True)
        await placed(ib, limit_order("BUY", 100, 150.0, orderRef="later"), "Submitted")
        await quiet(ib)
        for _ in range(3):
            gateway.run_due()
        assert not gateway.exchange.executions, "not while it is here"
        assert gateway.faults.injected == {}

    async def whole() -> None:
        async with paper() as gateway:
            async with connected(gateway) as ib:
                await story(gateway, ib)
            await until(lambda: gateway.exchange.executions, "the fill")
            async with connected(gateway) as ib:
                (fill,) = ib.fills()
                assert (fill.execution.orderRef, fill.execution.price) == ("later", 150.0)
                assert ib.openTrades() == []

    asyncio.run(whole())


def test_a_working_order_can_be_filled_in_part_on_command():
    async def story(gateway, ib):
        trade = await placed(ib, limit_order("BUY", 100, 150.0), "Submitted")
        arm(gateway, "fill", shares=30, price=149.5)
        await until(lambda: trade.orderStatus.filled == 30, "the part")
        assert (status(trade), trade.orderStatus.avgFillPrice) == ("Submitted", 149.5)
        arm(gateway, "fill")
        await reaches(trade, "Filled")

    played(story)


def test_a_corrected_execution_looks_like_one_more_fill():
    async def story(gateway, ib):
        arm(gateway, "correct", price_change=-0.5)
        trade = await placed(ib, market_order(), "Filled")
        await until(lambda: len(trade.fills) == 2, "the correction")
        first, second = (fill.execution for fill in trade.fills)
        assert second.execId == first.execId[:-2] + "02"
        assert second.price == first.price - 0.5
        assert trade.filled() == 200, "the client counts it twice"
        (position,) = await ib.reqPositionsAsync()
        assert position.position == 100

    played(story)


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("message", "event", "events"),
    [
        ("openOrder", "openOrderEvent", 6),
        ("orderStatus", "orderStatusEvent", 2),
        ("execDetails", "execDetailsEvent", 1),
        ("commissionReport", "commissionReportEvent", 2),
    ],
)
def test_a_message_can_come_twice_and_ib_insync_lets_some_through(message, event, events):
    async def story(gateway, ib):
        arm(gateway, "duplicate", message=message, count=10)
        heard = []
        getattr(ib, event).connect(lambda *args: heard.append(args))
        trade = await placed(ib, market_order(), "Filled")
        await quiet(ib)
        sent = [fields for name, fields in messages(gateway) if name == message]
        assert len(sent) >= 2
        assert all(sent[at] == sent[at + 1] for at in range(0, len(sent), 2))
        assert len(trade.fills) == 1
        assert len(heard) == events

    played(story)


def test_a_commission_can_be_missing():
    async def story(gateway, ib):
        arm(gateway, "omit", message="commissionReport")
        trade = await placed(ib, market_order(), "Filled")
        await quiet(ib)
        assert trade.fills[0].commissionReport.execId == ""

    played(story)


def test_without_an_open_order_there_is_no_commission_event():
    async def story(gateway, ib):
        arm(gateway, "omit", message="openOrder", order_ref="odd", count=3)
        heard = []
        ib.commissionReportEvent += lambda *args: heard.append(args)
        fine = await placed(ib, market_order(orderRef="fine"), "Filled")
        odd = await placed(ib, market_order(orderRef="odd"), "Filled")
        await quiet(ib)
        assert [trade for trade, _, _ in heard] == [fine]
        assert (fine.order.permId > 0, odd.order.permId) == (True, 0)
        assert about_orders(gateway).count("commissionReport") == 2

    played(story)


def test_a_fill_can_be_told_after_the_status_that_it_led_to():
    async def story(gateway, ib):
        arm(gateway, "late", message="execDetails", ms=100)
        trade = await placed(ib, market_order(), "Filled")
        assert trade.fills == []
        await until(lambda: trade.fills, "the fill")

    played(story)


# ---------------------------------------------------------------- the connection around an order


@pytest.mark.parametrize(
    ("at", "told", "booked"),
    [
        ("before", [], 0),
        ("booked", [], 1),
        ("openOrder", ["openOrder PreSubmitted"], 1),
        ("orderStatus", ["openOrder PreSubmitted", "orderStatus PreSubmitted 0/100"], 1),
        ("execDetails", ["openOrder PreSubmitted", "orderStatus PreSubmitted 0/100", "execDetails"], 1),
    ],
)
def test_the_connection_can_break_at_every_point_around_an_order(at, told, booked):
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "cut", at=at)
            ib = ib_insync.IB()
            await ib.connectAsync("127.0.0.1", gateway.port, clientId=7)
            ib.placeOrder(AAPL, market_order(orderRef="r"))
            await until(lambda: not ib.isConnected(), "the client sees the end")
            assert about_orders(gateway) == told
            assert ib.trades() == [], "the client has forgotten all"
            async with connected(gateway) as again:
                refs = [fill.execution.orderRef for fill in again.fills()]
                assert refs == ["r"] * booked

    asyncio.run(whole())


def test_the_connection_can_break_in_the_middle_of_a_frame():
    async def whole() -> None:
        async with paper() as gateway:
            arm(gateway, "cut", at="orderStatus", how="mid_frame")
            ib = ib_insync.IB()
            heard: list[Any] = []
            ib.orderStatusEvent += heard.append
            await ib.connectAsync("127.0.0.1", gateway.port, clientId=7)
            trade = ib.placeOrder(AAPL, limit_order("BUY", 100, 150.0))
            await until(lambda: not ib.isConnected(), "the client sees the end")
            assert status(trade) == "PendingSubmit", "half a message is none"
            assert trade.order.permId, "the whole one before it was read"
            async with connected(gateway) as again:
                assert [t.order.permId for t in again.openTrades()] == [trade.order.permId]

    asyncio.run(whole())


def test_a_fault_can_wait_for_a_number_of_orders():
    async def story(gateway, ib):
        arm(gateway, "reject", after_orders=2)
        trades = [await placed(ib, market_order(), "Filled") for _ in range(2)]
        trades.append(await placed(ib, market_order(), "Inactive"))
        await placed(ib, market_order(), "Filled")

    played(story)
