"""kill -9 while orders flow: nothing is placed twice, nothing stays without an end or a named unknown.

The oracle is what the gateway received. Where the kills fall is drawn from a seed; the load and the machine
still make each run its own, so what is claimed here must hold for all of them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from tests.processes.pipeline.pipeline import Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

KILLS = 6
SECS_BETWEEN = 0.7
ENDS = {"cancelled", "rejected", "not_placed", "expired", "invalid", "blocked"}
# Kills are failures of the surroundings; here they must not open the circuit.
PATIENT = {"ORDERFUSE_BREAKER__FAILURE_THRESHOLD": "1000", "ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000"}


class Load:
    """Orders that are sent again, unchanged, until they are decided."""

    def __init__(self, program: RawProgram) -> None:
        self.program = program
        self.undecided: dict[str, int] = {}
        self.ids: list[str] = []
        self._resend_at = 0.0

    def run(self, secs: float, per_sec: int = 20) -> None:
        end = time.monotonic() + secs
        while time.monotonic() < end:
            sent_ns = time.time_ns()
            order_id = self.program.submit(sent_ns=sent_ns, ttl_ms=60_000)
            self.ids.append(order_id)
            self.undecided[order_id] = sent_ns
            self.hear(1 / per_sec)

    def hear(self, secs: float) -> None:
        end = time.monotonic() + secs
        while (left := end - time.monotonic()) > 0:
            event = self.program.next_event(left)
            if event is not None:
                self.undecided.pop(event.get("order_id", ""), None)
        if time.monotonic() >= self._resend_at:
            self._resend_at = time.monotonic() + 0.5
            for order_id, sent_ns in self.undecided.items():
                self.program.submit(order_id, sent_ns=sent_ns, ttl_ms=60_000)


def history(program: RawProgram) -> dict[str, list[dict[str, Any]]]:
    """Every event of every order, from the breaker's journal."""
    events: dict[str, list[dict[str, Any]]] = {}
    after = 0
    while True:
        reply = program.request("events", topic=f"order/{program.strategy_id}/", after_seq=after)
        for event in reply["events"]:
            if not event.get("again") and event["kind"] != "duplicate":
                events.setdefault(event["order_id"], []).append(event)
        if not reply["more"]:
            return events
        after = reply["next"]


def has_end(events: list[dict[str, Any]]) -> bool:
    return any(event["kind"] in ENDS or (event["kind"] == "filled" and event["done"]) for event in events)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_killed_no_order_is_placed_twice_and_each_has_an_end(seed: int) -> None:
    draw = random.Random(seed)
    with trading(**PATIENT) as (pipeline, program):
        load = Load(program)
        for _ in range(KILLS):
            load.run(draw.uniform(0.2, SECS_BETWEEN))
            for name in draw.choice([["executor"], ["breaker"], ["executor", "breaker"]]):
                pipeline.kill(name)
            load.run(draw.uniform(0.0, 0.2))
            pipeline.start(*{"executor", "breaker"} - set(pipeline.processes))
            program.wait_trading()
        check(pipeline, program, load)


def check(pipeline: Pipeline, program: RawProgram, load: Load) -> None:
    def settled() -> bool:
        load.hear(0.1)
        if load.undecided:
            return False
        unknown = set(program.request("status")["unknown"])
        told = history(program)
        return all(order_id in unknown or has_end(told.get(order_id, [])) for order_id in load.ids)

    wait_until(settled, "an end, or a place among the unknown, for every order", secs=40.0)
    at_ib = Counter(entry["fields"]["orderRef"] for entry in pipeline.at_the_wire("placeOrder"))
    told = history(program)
    assert [order_id for order_id, times in at_ib.items() if times > 1] == []
    assert len(at_ib) > 10, "the load must reach the gateway"
    for order_id in load.ids:
        kinds = [event["kind"] for event in told.get(order_id, [])]
        decisions = [kind for kind in kinds if kind in {"passed", "blocked", "expired", "invalid"}]
        assert len(decisions) == 1, f"{order_id}: {kinds}"
        fills = [event["exec_id"] for event in told[order_id] if event["kind"] == "filled"]
        assert len(fills) == len(set(fills)) <= 1, f"{order_id}: {kinds}"
        if kinds[-1] == "not_placed":
            assert order_id not in at_ib, f"{order_id}: told that IB never had it, but it was there: {kinds}"
        if fills:
            assert order_id in at_ib
