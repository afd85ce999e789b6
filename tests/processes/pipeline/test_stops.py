"""Who stops what, by the real processes: the file STOP without a breaker, a breaker that is lost, a global cancel."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from ib_insync import IB, LimitOrder, Stock

from tests.processes.pipeline.pipeline import Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.test_lost_journals import GTC, again, placed, status
from tests.processes.pipeline.trading import trading

CANCEL_SOON = {"ORDERFUSE_EXECUTOR__ON_BREAKER_LOSS": "cancel", "ORDERFUSE_EXECUTOR__ON_BREAKER_LOSS_SECS": "2"}
STOP_ORDER = {"action": "SELL", "orderType": "STP", "totalQuantity": 10, "auxPrice": 1.0, "tif": "GTC"}


def cancels(pipeline: Pipeline) -> int:
    return len(pipeline.at_the_wire("cancelOrder"))


def working(program: RawProgram, **changes: Any) -> str:
    """An order that rests at IB. On a busy machine a lease may run out first: that one was not placed."""
    while True:
        order_id = program.submit(**{"order": GTC, "ttl_ms": 60_000, **changes})
        if answer(program, order_id) == "accepted":
            return order_id


def answer(program: RawProgram, order_id: str) -> str:
    def heard() -> str:
        program.next_event(0.1)
        return next((kind for kind in program.kinds(order_id) if kind in ("accepted", "not_placed")), "")

    return str(wait_until(heard, f"an answer for {order_id}"))


# The file STOP.


def test_while_the_file_is_there_the_executor_places_nothing_and_cancels_leave() -> None:
    with trading() as (pipeline, program):
        order_id = working(program)
        # A breaker that stands still sees no file; what it has handed over is on its way to a window that is full.
        done = pipeline.command("paper fault swallow count=8")
        assert done.returncode == 0, done.stderr
        for _ in range(8):
            program.submit(order=GTC, ttl_ms=60_000)
        wait_until(lambda: len(placed(pipeline)) == 9, "the window is full")
        (pipeline.home / "STOP").write_text("it looks wrong\n")
        wait_until(lambda: "no order leaves while it is there" in pipeline.log("executor"), "the executor has seen it")
        program.wait_state(state="OPEN", latched=True, reason="it looks wrong")
        program.wait_event("cancelled", order_id, request_id=program.cancel(order_id))
        program.wait_event("blocked", program.submit(order=GTC), code="latched")
        assert len(placed(pipeline)) == 9


def test_an_order_that_is_handed_over_when_the_file_appears_is_not_placed() -> None:
    with trading() as (pipeline, program):
        working(program)
        # The executor stands still with an order in its link: the breaker has passed it, and then the file comes.
        pipeline.signal("executor", signal.SIGSTOP)
        order_id = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("passed", order_id)
        pipeline.signal("breaker", signal.SIGSTOP)
        (pipeline.home / "STOP").touch()
        pipeline.signal("executor", signal.SIGCONT)
        wait_until(lambda: "no order leaves while it is there" in pipeline.log("executor"), "the executor has seen it")
        pipeline.signal("breaker", signal.SIGCONT)
        ended = program.wait_event("not_placed", order_id)
        assert ended["code"] in ("fenced", "lease")
        assert len(placed(pipeline)) == 1


def test_a_stop_while_no_breaker_is_there_holds_when_one_starts() -> None:
    with trading() as (pipeline, program):
        working(program)
        pipeline.kill("breaker")
        (pipeline.home / "STOP").touch()
        pipeline.start("breaker")
        again(program)
        program.wait_event("blocked", program.submit(order=GTC), code="latched")
        (pipeline.home / "STOP").unlink()
        program.wait_event("blocked", program.submit(order=GTC), code="latched")
        assert program.request("reset", reason="looked at it")["ok"]
        program.wait_event("accepted", program.submit(order=GTC, ttl_ms=60_000))


# A breaker that is lost.


def test_a_lost_breaker_ends_what_protects_nothing_and_it_is_told_on_its_return() -> None:
    with trading(**CANCEL_SOON) as (pipeline, program):
        entry, stop = working(program), working(program, order=STOP_ORDER, protect=True)
        pipeline.kill("breaker")
        wait_until(lambda: "no breaker for 2 s" in pipeline.log("executor"), "the executor gives it up")
        wait_until(lambda: cancels(pipeline) == 1, "the cancel")
        pipeline.start("breaker")
        again(program)
        events = wait_until(
            lambda: [e for e in program.request("events", topic="order/raw/")["events"] if e["kind"] == "cancelled"],
            "the end is told",
        )
        assert [(event["order_id"], event["reason"]) for event in events] == [(entry, "no breaker for 2 s")]
        alive = program.request("orders", state="working")["orders"]
        assert [order["order_id"] for order in alive] == [stop]
        program.wait_trading()
        program.wait_event("filled", program.submit(), done=True)
        assert cancels(pipeline) == 1


def test_a_breaker_that_is_back_in_time_loses_no_order() -> None:
    # Long enough for a restart on a machine that is busy, and shorter than three of them take together.
    with trading(**{**CANCEL_SOON, "ORDERFUSE_EXECUTOR__ON_BREAKER_LOSS_SECS": "6"}) as (pipeline, program):
        working(program)
        began = time.monotonic()
        for _ in range(3):
            pipeline.kill("breaker")
            pipeline.start("breaker")
            again(program)
            program.wait_trading()
        wait_until(lambda: time.monotonic() - began > 7, "the time since the first loss has run out")
        assert cancels(pipeline) == 0


def test_a_breaker_that_says_goodbye_is_not_lost() -> None:
    with trading(**CANCEL_SOON) as (pipeline, program):
        working(program)
        pipeline.end("breaker")
        wait_until(lambda: "the breaker ends" in pipeline.log("executor"), "the executor has heard it")
        ended_at = time.monotonic()
        wait_until(lambda: time.monotonic() - ended_at > 3, "a loss would have been noticed by now")
        assert cancels(pipeline) == 0


def test_a_breaker_that_stands_still_for_too_long_is_lost_and_its_old_lease_places_nothing() -> None:
    with trading(**CANCEL_SOON) as (pipeline, program):
        order_id = working(program)
        pipeline.signal("breaker", signal.SIGSTOP)
        wait_until(lambda: cancels(pipeline) == 1, "the cancel")
        before = len(placed(pipeline))
        pipeline.signal("breaker", signal.SIGCONT)
        program.wait_event("cancelled", order_id)
        assert len(placed(pipeline)) == before


def test_without_the_setting_a_lost_breaker_cancels_nothing() -> None:
    soon = {"ORDERFUSE_EXECUTOR__ON_BREAKER_LOSS_SECS": "1"}
    with trading(**soon) as (pipeline, program):
        working(program)
        pipeline.kill("breaker")
        wait_until(lambda: "the breaker is silent" in pipeline.log("executor"), "the executor notices")
        lost_at = time.monotonic()
        wait_until(lambda: time.monotonic() - lost_at > 2, "it would have cancelled by now")
        assert cancels(pipeline) == 0


# A strategy that is gone.


def test_a_strategy_that_is_killed_is_cancelled_for_also_by_a_breaker_that_was_killed_too() -> None:
    with trading() as (pipeline, program):
        order_id = working(program)
        heartbeat = {"v": 1, "kind": "heartbeat", "strategy_id": "raw", "cancel_after_ms": 1000}
        program.publish({**heartbeat, "sent_ns": time.time_ns()})
        # The heartbeat is behind this one on the same socket, and journaled with it.
        program.wait_event("accepted", program.submit(order=GTC, ttl_ms=60_000))
        pipeline.kill("breaker")
        pipeline.start("breaker")
        with RawProgram(pipeline.home, "watcher") as watcher:
            wait_until(lambda: cancels(pipeline) == 2, "the orders are cancelled")
            wait_until(lambda: watcher.request("orders", state="working")["orders"] == [], "they have ended")
            assert order_id


# A global cancel.


def by_hand(pipeline: Pipeline) -> None:
    """Somebody places an order in TWS: it is of client 0, and no concern of ours but for a global cancel."""

    async def place() -> None:
        client = IB()
        await client.connectAsync("127.0.0.1", pipeline.port, clientId=0)
        trade = client.placeOrder(Stock("MSFT", "SMART", "USD"), LimitOrder("BUY", 1, 1.0, tif="GTC"))
        async with asyncio.timeout(30):
            while trade.orderStatus.status not in ("Submitted", "PreSubmitted"):
                await asyncio.sleep(0.05)
        client.disconnect()

    asyncio.run(place())


def open_at_the_gateway(pipeline: Pipeline) -> int:
    async def count() -> int:
        client = IB()
        await client.connectAsync("127.0.0.1", pipeline.port, clientId=99)
        found = await client.reqAllOpenOrdersAsync()
        client.disconnect()
        return len(found)

    return asyncio.run(count())


@pytest.mark.parametrize("away", ["executor", "gateway"])
def test_a_global_cancel_that_could_not_leave_is_owed_and_takes_the_orders_placed_by_hand(away: str) -> None:
    with trading() as (pipeline, program):
        working(program)
        by_hand(pipeline)
        if away == "executor":
            pipeline.kill("executor")
        else:
            os.kill(pipeline.processes["paper"].pid, signal.SIGSTOP)
        assert program.request("trip", reason="x", cancel="all")["ok"]
        (owed,) = status(program)["owed"]
        assert (owed["what"], owed["standing"]) == ("global_cancel", "owed")
        if away == "executor":
            pipeline.start("executor")
        else:
            os.kill(pipeline.processes["paper"].pid, signal.SIGCONT)
        wait_until(lambda: status(program)["owed"][0]["standing"] == "done", "it is done")
        assert open_at_the_gateway(pipeline) == 0


def test_a_global_cancel_whose_executor_is_killed_right_after_it_is_done_all_the_same() -> None:
    with trading() as (pipeline, program):
        working(program)
        by_hand(pipeline)
        program.request("trip", reason="x", cancel="all")
        pipeline.kill("executor")
        pipeline.kill("breaker")
        pipeline.start("breaker", "executor")
        again(program)
        wait_until(lambda: status(program)["owed"][0]["standing"] == "done", "it is done")
        assert open_at_the_gateway(pipeline) == 0


def test_a_global_cancel_is_not_sent_again_after_a_reset() -> None:
    with trading() as (pipeline, program):
        pipeline.kill("executor")
        program.request("trip", reason="x", cancel="all")
        assert "not sent again" in program.request("reset", reason="go on")["note"]
        by_hand(pipeline)
        pipeline.start("executor")
        wait_until(lambda: pipeline.log("executor").count("is usable") == 2, "the new executor to be of use")
        wait_until(lambda: program.system()["trading_allowed"], "orders pass")
        program.wait_event("filled", program.submit(), done=True)
        assert pipeline.at_the_wire("reqGlobalCancel") == []
        assert open_at_the_gateway(pipeline) == 1


# One strategy's trip.


def test_a_trip_of_one_strategy_voids_nothing_of_another_that_trades() -> None:
    with (
        running("paper", "executor", "breaker") as pipeline,
        RawProgram(pipeline.home, "s0") as honest,
        RawProgram(pipeline.home, "s1") as other,
    ):
        honest.ready()
        other.ready()
        honest.wait_trading()
        other.wait_event("filled", other.submit(), done=True)
        ids = []
        for _ in range(20):
            ids += [honest.submit(ttl_ms=60_000) for _ in range(2)]
            other.request("trip", reason="x", scope="strategy:s1")
            other.request("reset", reason="x", scope="strategy:s1")
        for order_id in ids:
            honest.wait_event("filled", order_id, done=True)
        assert not [event for event in honest.seen if event["kind"] == "not_placed"]
