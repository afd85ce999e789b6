"""A process that hangs is worse than one that is dead: what it wakes up with is old."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from orderfuse import BreakerUnavailable, OrderClient, Watcher
from orderfuse.bus.notices import Heard, Silent
from orderfuse.client.follower import SILENCE_S
from orderfuse.settings import load_settings
from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading


@contextmanager
def stopped(pipeline: Pipeline, name: str) -> Iterator[None]:
    """The process stands still inside the block, as if its machine were swapping."""
    pipeline.signal(name, signal.SIGSTOP)
    os.waitid(os.P_PID, pipeline.processes[name].pid, os.WSTOPPED)
    try:
        yield
    finally:
        pipeline.signal(name, signal.SIGCONT)


@contextmanager
def hung_executor(pipeline: Pipeline, program: RawProgram, orders: int) -> Iterator[list[str]]:
    """The executor stands still, with so many orders handed over to it that it has not taken yet.

    They pass only while its last lease runs (500 ms). On a machine too busy for that it is tried again.
    """
    for _ in range(10):
        # A state may be old by the time it is read; a fill proves that the lease runs now.
        program.wait_event("filled", program.submit(), done=True)
        with stopped(pipeline, "executor"):
            ids = [program.submit() for _ in range(orders)]
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline and any("passed" not in program.kinds(i) for i in ids):
                program.next_event(0.05)
            if all(program.kinds(order_id) == ["passed"] for order_id in ids):
                yield ids
                return
    raise AssertionError("the orders never passed while the lease ran")


def arrived(pipeline: Pipeline, order_id: str) -> list[dict[str, object]]:
    return pipeline.at_the_wire("placeOrder", orderRef=order_id)


def test_an_executor_that_wakes_up_places_nothing_that_waited() -> None:
    with trading() as (pipeline, program):
        with hung_executor(pipeline, program, 4) as ids:
            # The lease (500 ms) is over when the breaker notices the silence.
            program.wait_state(conditions=["executor_silent"])
            blocked = program.wait_event("blocked", program.submit())
            assert blocked["code"] == "condition"
        for order_id in ids:
            assert program.wait_event("not_placed", order_id)["code"] in {"lease", "fenced", "undelivered"}
            assert not arrived(pipeline, order_id)


def test_a_trip_while_the_executor_hangs_is_answered_when_its_lease_has_run_out() -> None:
    with trading() as (pipeline, program):
        with hung_executor(pipeline, program, 1) as (order_id,):
            reply = program.request("trip", reason="it hangs")
            assert reply["ok"]
            assert not reply["fenced"]
            assert order_id in reply["written"], "nobody can say that it was not"
        program.wait_event("not_placed", order_id)
        program.wait_state(fenced=True)
        assert not arrived(pipeline, order_id)


def test_a_breaker_that_hangs_stops_its_executor() -> None:
    with trading() as (pipeline, program):
        with stopped(pipeline, "breaker"):
            wait_until(lambda: "breaker is silent" in pipeline.log("executor"), "the executor notices")
            sent = program.submit()
        # It was never decided while the breaker slept; now it is, and truly.
        deadline = time.monotonic() + 30
        while not set(program.kinds(sent)) & {"passed", "blocked", "expired"}:
            program.next_event(0.1)
            assert time.monotonic() < deadline
        # A state may be older than the lease that ran out meanwhile: an order is placed from the next one on.
        taken_in = "the breaker took this executor in"
        wait_until(lambda: pipeline.log("executor").count(taken_in) > 1, "the executor is taken in again")
        program.wait_trading()
        order_id = program.submit()
        program.wait_event("filled", order_id, done=True)


@pytest.mark.parametrize("how", ["hangs", "is dead"])
def test_clients_notice_by_the_states_alone_that_a_breaker_hangs_or_is_dead(how: str) -> None:
    contract = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
    order = {"action": "BUY", "orderType": "MKT", "totalQuantity": 1}
    with trading() as (pipeline, program):
        settings = load_settings(pipeline.home, environ={})
        with OrderClient("library", settings=settings) as client, Watcher(settings, ("state/",)) as watcher:
            client.submit(contract, order)
            notice_of(watcher, Heard)
            with ExitStack() as stall:
                if how == "hangs":
                    stall.enter_context(stopped(pipeline, "breaker"))
                else:
                    pipeline.kill("breaker")
                gone = time.monotonic()
                notice_of(watcher, Silent)
                assert time.monotonic() - gone < 2 * SILENCE_S + 2
                with pytest.raises(BreakerUnavailable, match="nothing was sent"):
                    client.submit(contract, order)
                # Whoever does not look at the states sends into the dark: it is judged by its age afterwards.
                old = program.submit(ttl_ms=1000) if how == "hangs" else ""
                if old:
                    time.sleep(1.1)
            if old:
                program.wait_event("expired", old)
                assert not arrived(pipeline, old)
            else:
                pipeline.start("breaker")
            notice_of(watcher, Heard)
            program.wait_trading()
            client.submit(contract, order)


def notice_of(watcher: Watcher, kind: type[Heard | Silent]) -> None:
    """Read until the watcher says so."""
    deadline = time.monotonic() + DEADLINE_SECS
    while not any(isinstance(item, kind) for _, item in watcher.read(0.1)):
        assert time.monotonic() < deadline, f"it never said {kind.__name__}"


def test_a_gateway_that_hangs_leaves_orders_unknown_and_tells_their_fills_when_it_wakes() -> None:
    with trading() as (pipeline, program):
        with stopped(pipeline, "paper"):
            began = time.monotonic()
            order_id = program.submit()
            program.wait_event("passed", order_id)
            state = program.wait_state(state="OPEN")
            assert state["conditions"] == ["broker_silent"]
            # A question is unanswered for 3 s, and the one before it was asked at most 1 s earlier.
            assert time.monotonic() - began < 5.0
            assert program.wait_event("blocked", program.submit())["code"] == "condition"
            program.wait_event("unknown", order_id)
            assert program.request("status")["unknown"] == [order_id]
        program.wait_state(conditions=[])
        ends = {"filled", "not_placed"}
        deadline = time.monotonic() + 40
        while not set(program.kinds(order_id)) & ends:
            program.next_event(0.1)
            assert time.monotonic() < deadline, program.kinds(order_id)
        assert ("filled" in program.kinds(order_id)) == bool(arrived(pipeline, order_id))
        assert len(arrived(pipeline, order_id)) <= 1
