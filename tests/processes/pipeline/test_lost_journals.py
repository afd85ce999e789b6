"""Journals that are gone, emptied, or old: nothing is placed twice, nothing stays unheard, no stop is forgotten."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes.pipeline.pipeline import Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

GTC = {"action": "BUY", "orderType": "LMT", "totalQuantity": 10, "lmtPrice": 1.0, "tif": "GTC"}
ENDS = {"cancelled", "rejected", "not_placed"}


def lose(pipeline: Pipeline, name: str) -> None:
    for path in pipeline.home.glob(f"{name}.sqlite*"):
        path.unlink()


def empty(pipeline: Pipeline, name: str) -> None:
    lose(pipeline, name)
    (pipeline.home / f"{name}.sqlite").touch()


def copied(pipeline: Pipeline, name: str) -> Path:
    """The journal as a person copies it, while nobody uses it."""
    place = pipeline.home / "copy"
    place.mkdir(exist_ok=True)
    for path in pipeline.home.glob(f"{name}.sqlite*"):
        shutil.copy2(path, place / path.name)
    return place


def set_back(pipeline: Pipeline, name: str, copy: Path) -> None:
    lose(pipeline, name)
    for path in copy.glob(f"{name}.sqlite*"):
        shutil.copy2(path, pipeline.home / path.name)


def status(program: RawProgram) -> dict[str, Any]:
    return program.request("status")


def again(program: RawProgram) -> None:
    """A breaker has started once more: wait until each link to it works, and until the executor has joined."""
    deadline = time.monotonic() + 30
    while program.orders.poll(round((deadline - time.monotonic()) * 1000)) and program.orders.recv() != b"\x01order":
        pass
    wait_until(lambda: status(program)["executor"]["present"], "the executor has joined")
    started = time.time_ns()
    wait_until(lambda: (program.next_event(0.1) or {}).get("at_ns", 0) > started, "news of this breaker")


def knows_a_change(pipeline: Pipeline) -> bool:
    with contextlib.closing(sqlite3.connect(pipeline.home / "breaker.sqlite")) as journal:
        return any(json.loads(record)["change"] for (record,) in journal.execute("SELECT record FROM orders"))


def told(program: RawProgram, kind: str) -> list[dict[str, Any]]:
    events = program.request("events", topic="order/raw/")["events"]
    return [event for event in events if event["kind"] == kind]


def placed(pipeline: Pipeline) -> list[str]:
    """The references that reached the gateway, once for each time."""
    return [entry["fields"]["orderRef"] for entry in pipeline.at_the_wire("placeOrder")]


def fill(pipeline: Pipeline, order_id: str, shares: float) -> None:
    done = pipeline.command(f"paper fault fill order_ref={order_id} shares={shares}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("loss", [lose, empty])
def test_orders_at_ib_outlive_the_executors_journal(loss: Any) -> None:
    with trading() as (pipeline, program):
        kept, filled, gone = (program.submit(order=GTC, ttl_ms=60_000) for _ in range(3))
        for order_id in (kept, filled, gone):
            program.wait_event("accepted", order_id)
        fill(pipeline, filled, 4)
        program.wait_event("filled", filled)
        pipeline.kill("executor")
        fill(pipeline, filled, 6)
        loss(pipeline, "executor")
        program.seen.clear()
        pipeline.start("executor")
        # Each is heard of again: what works works, what was filled meanwhile is told, and only that.
        program.wait_event("accepted", kept)
        last = program.wait_event("filled", filled, done=True)
        assert (last["shares"], last["cum_qty"]) == (6, 10)
        assert program.kinds(filled).count("filled") == 1
        # A cancel reaches them, and so does a trip.
        request_id = program.cancel(kept)
        program.wait_event("cancelled", kept, request_id=request_id)
        assert gone in program.request("trip", reason="x", cancel="ours")["cancelling"]
        program.wait_event("cancelled", gone)
        assert sorted(placed(pipeline)) == sorted([kept, filled, gone])


@pytest.mark.parametrize("lost", [["executor"], ["breaker", "executor"]], ids=" then ".join)
def test_a_change_that_ib_never_had_is_answered_though_journals_are_lost(lost: list[str]) -> None:
    with trading() as (pipeline, program):
        order_id = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("accepted", order_id)
        assert pipeline.command("paper fault swallow on=modify").returncode == 0
        program.replace(order_id, "change-1", 1, {**GTC, "lmtPrice": 1.5})
        program.wait_event("request_passed", order_id, request_id="change-1")
        wait_until(lambda: len(pipeline.at_the_wire("placeOrder")) == 2, "the change at the gateway")
        for name in lost:
            pipeline.kill(name)
            lose(pipeline, name)
            before = pipeline.log("executor").count("took this executor in")
            pipeline.start(name)
            wait_until(lambda: pipeline.log("executor").count("took this executor in") > before, "both are back")  # noqa: B023
            # What only a journal knew that is lost before it was told, nobody can know.
            wait_until(lambda: knows_a_change(pipeline), "the breaker has heard of the change")
        program.wait_event("replace_failed", order_id, request_id="change-1", secs=60)


def test_the_end_of_an_oca_group_is_ordinary_though_the_executors_journal_is_lost() -> None:
    of_group = {**GTC, "ocaGroup": "pair", "ocaType": 1}
    with trading() as (pipeline, program):
        first, second = program.submit(order=of_group), program.submit(order=of_group)
        for order_id in (first, second):
            program.wait_event("accepted", order_id)
        pipeline.kill("executor")
        lose(pipeline, "executor")
        pipeline.command(f"paper fault fill order_ref={second}")
        pipeline.start("executor")
        program.wait_event("cancelled", first)
        told = [each for circuit in status(program)["circuits"] for each in circuit["last_failures"]]
        assert [each for each in told if each["order_id"]] == []


def test_an_executor_whose_journal_is_an_old_copy_is_heard() -> None:
    with trading() as (pipeline, program):
        first = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("accepted", first)
        pipeline.end("executor")
        # Or the next state that allows trading may be one of before.
        program.wait_state(trading_allowed=False)
        copy = copied(pipeline, "executor")
        pipeline.start("executor")
        program.wait_trading()
        second = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("accepted", second)
        for _ in range(3):
            program.wait_event("filled", program.submit(), done=True)
        pipeline.end("executor")
        set_back(pipeline, "executor", copy)
        program.seen.clear()
        pipeline.start("executor")
        program.wait_event("accepted", second)
        for _ in range(3):
            program.wait_event("filled", program.submit(), done=True)
        for order_id in (first, second):
            program.wait_event("cancelled", order_id, request_id=program.cancel(order_id))
        assert len(placed(pipeline)) == len(set(placed(pipeline))) == 8


def test_a_resend_of_an_order_that_both_journals_have_forgotten_is_not_placed_again() -> None:
    with trading() as (pipeline, program):
        resting = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("accepted", resting)
        done = program.submit()
        program.wait_event("filled", done, done=True)
        pipeline.end("executor")
        pipeline.end("breaker")
        lose(pipeline, "executor")
        lose(pipeline, "breaker")
        program.seen.clear()
        pipeline.start("executor", "breaker")
        again(program)
        program.wait_trading()
        wait_until(lambda: resting in status(program)["adopted"], "the order is adopted")
        for order_id in (resting, done):
            program.submit(order_id, order=GTC)
            assert program.wait_event("invalid", order_id)["conflict"]
        reply = program.request("cancel", order_id=resting, reason="not ours any more")
        assert reply["ok"]
        wait_until(lambda: status(program)["adopted"] == [], "it is cancelled")
        assert sorted(placed(pipeline)) == sorted([resting, done])
        program.wait_event("filled", program.submit(), done=True)


def test_a_breaker_without_its_journal_hears_of_open_orders_and_places_no_earlier_one_again() -> None:
    with trading() as (pipeline, program):
        resting, partly = (program.submit(order=GTC, ttl_ms=60_000) for _ in range(2))
        for order_id in (resting, partly):
            program.wait_event("accepted", order_id)
        fill(pipeline, partly, 4)
        program.wait_event("filled", partly)
        done = program.submit()
        program.wait_event("filled", done, done=True)
        pipeline.end("breaker")
        lose(pipeline, "breaker")
        program.seen.clear()
        pipeline.start("breaker")
        again(program)
        wait_until(lambda: {e["order_id"] for e in told(program, "accepted")} >= {resting, partly}, "they are told")
        assert {e["again"] for e in told(program, "filled")} <= {True}, "what was told before is no news"
        assert program.system()["latched"]
        program.wait_event("cancelled", partly, request_id=program.cancel(partly))
        assert program.request("reset", reason="looked at it")["ok"]
        wait_until(lambda: program.system()["trading_allowed"], "orders pass")
        for order_id in (resting, done):
            program.submit(order_id, order=GTC)
            assert program.wait_event("invalid", order_id)["conflict"]
        assert sorted(placed(pipeline)) == sorted([resting, partly, done])


def damage_log(pipeline: Pipeline) -> None:
    log = pipeline.home / "breaker.sqlite-wal"
    with log.open("r+b") as file:
        file.write(b"garbage!" * 4)


def delete_log(pipeline: Pipeline) -> None:
    (pipeline.home / "breaker.sqlite-wal").unlink()


def delete_journal(pipeline: Pipeline) -> None:
    lose(pipeline, "breaker")


@pytest.mark.parametrize("loss", [damage_log, delete_log, delete_journal])
@pytest.mark.parametrize("scope", ["system", "strategy:raw"])
def test_a_trip_that_stood_only_in_a_lost_file_is_not_forgotten(loss: Any, scope: str) -> None:
    with trading() as (pipeline, program):
        program.wait_event("filled", program.submit(), done=True)
        assert program.request("trip", reason="it looks wrong", scope=scope)["fenced"]
        pipeline.kill("breaker")
        loss(pipeline)
        pipeline.start("breaker")
        again(program)
        circuit = next(each for each in status(program)["circuits"] if each["scope"] in (scope, "system"))
        stopped = [each for each in status(program)["circuits"] if each["latched"]]
        assert stopped, circuit
        assert "journal" in stopped[0]["reason"]
        blocked = program.submit()
        assert program.wait_event("blocked", blocked)["code"] == "latched"
        for each in stopped:
            assert program.request("reset", reason="looked at it", scope=each["scope"])["ok"]
        program.wait_trading()
        program.wait_event("filled", program.submit(), done=True)


def test_an_old_copy_of_the_breakers_journal_does_not_forget_a_trip_either() -> None:
    with trading() as (pipeline, program):
        pipeline.end("breaker")
        copy = copied(pipeline, "breaker")
        pipeline.start("breaker")
        again(program)
        program.wait_trading()
        assert program.request("trip", reason="it looks wrong")["fenced"]
        pipeline.end("breaker")
        set_back(pipeline, "breaker", copy)
        pipeline.start("breaker")
        again(program)
        assert (program.system()["state"], program.system()["latched"]) == ("OPEN", True)


def has_kept_a_fill(pipeline: Pipeline, order_id: str) -> bool:
    with contextlib.closing(sqlite3.connect(pipeline.home / "executor.sqlite")) as journal:
        rows = journal.execute("SELECT payload FROM feedback WHERE order_id = ?", (order_id,)).fetchall()
    return any(b"filled" in payload for (payload,) in rows)


def test_fills_that_nobody_took_are_told_after_eight_days() -> None:
    with trading() as (pipeline, program):
        order_id = program.submit(order=GTC, ttl_ms=60_000)
        program.wait_event("accepted", order_id)
        pipeline.kill("breaker")
        fill(pipeline, order_id, 4)
        wait_until(lambda: has_kept_a_fill(pipeline, order_id), "the executor has heard of the fill")
        pipeline.end("executor")
        with sqlite3.connect(pipeline.home / "executor.sqlite") as journal:
            long_ago = time.time_ns() - 8 * 86_400 * 10**9
            journal.execute("UPDATE feedback SET at_ns = ?", (long_ago,))
            journal.execute("UPDATE taken SET at_ns = at_ns - ?", (8 * 86_400 * 10**9,))
        journal.close()
        pipeline.start("executor", "breaker")
        again(program)
        # Perhaps before the program has subscribed again.
        wait_until(lambda: [event["shares"] for event in told(program, "filled")] == [4], "the fill is told")


def test_an_order_that_was_partly_filled_and_that_ib_lists_no_longer_is_unknown() -> None:
    with trading() as (pipeline, program):
        with_fill, without = (program.submit(order=GTC, ttl_ms=60_000) for _ in range(2))
        for order_id in (with_fill, without):
            program.wait_event("accepted", order_id)
        fill(pipeline, with_fill, 4)
        program.wait_event("filled", with_fill)
        pipeline.end("executor")
        # The gateway forgets both, but not the executions of today.
        for message in ("openOrder", "orderStatus", "completedOrder"):
            done = pipeline.command(f"paper fault omit message={message} count=1000")
            assert done.returncode == 0, done.stderr
        pipeline.start("executor")
        for order_id in (with_fill, without):
            told = program.wait_event("unknown", order_id, secs=40)
            assert "lists it no longer" in told["reason"]
        assert sorted(status(program)["unknown"]) == sorted([with_fill, without])
