"""The monitors of docs/PROTOCOL.md, as printed there, against the whole pipeline."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.examples.javascript import INSTALLING
from tests.processes.examples.programs import Program, started
from tests.processes.examples.relay import Event, losing
from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline
from tests.processes.pipeline.raw import RawProgram

pytestmark = [INSTALLING, pytest.mark.xdist_group("monitors")]
each = pytest.mark.parametrize("name", ["monitor.py", "monitor.mjs"])


@pytest.fixture(scope="module")
def strategy(pipeline: Pipeline) -> Iterator[RawProgram]:
    with RawProgram(pipeline.home) as raw:
        raw.ready()
        raw.wait_trading(secs=DEADLINE_SECS)
        yield raw


def told(program: Program, order_id: str) -> list[tuple[int, str]]:
    """Number and kind of each event of an order that it has told."""
    found = []
    for line in program.lines:
        if line.startswith("order/"):
            _, seq, kind, details = line.split(" ", 3)
            event: dict[str, Any] = json.loads(details)
            if event["order_id"] == order_id:
                found.append((int(seq), kind))
    return found


def tells(order_id: str, kind: str) -> Callable[[str], bool]:
    return lambda line: f" {kind} " in line and order_id in line


def fill(strategy: RawProgram) -> tuple[str, list[tuple[int, str]]]:
    """Have an order filled; returns its id, and number and kind of each event that was told of it.

    On a machine that is too busy for the executor's lease an order is not placed: then the next one is tried.
    """
    deadline = time.monotonic() + DEADLINE_SECS
    order_id = strategy.submit()
    while "commission" not in strategy.kinds(order_id):
        assert time.monotonic() < deadline, strategy.kinds(order_id)
        if {"not_placed", "blocked", "expired"} & set(strategy.kinds(order_id)):
            order_id = strategy.submit()
        strategy.next_event(0.1)
    return order_id, [(event["seq"], event["kind"]) for event in strategy.seen if event.get("order_id") == order_id]


@each
def test_it_tells_states_and_orders(pipeline: Pipeline, strategy: RawProgram, tmp_path: Path, name: str) -> None:
    with started(name, pipeline.home, tmp_path) as monitor:
        monitor.wait_line(lambda line: line.startswith("state/system/") and "CLOSED" in line, "the first state")
        order_id, expected = fill(strategy)
        monitor.wait_line(tells(order_id, "commission"), "the commission")
        assert told(monitor, order_id) == expected
        assert [kind for _, kind in expected] == ["passed", "accepted", "filled", "commission"]
        strategy.request("trip", reason="a trip to be told")
        monitor.wait_line(lambda line: "a trip to be told" in line and '"OPEN"' in line, "the trip")
        strategy.request("reset", reason="go on")


@each
def test_what_a_link_loses_it_gets_from_the_journal(
    pipeline: Pipeline, strategy: RawProgram, tmp_path: Path, name: str
) -> None:
    def loses(event: Event) -> bool:
        return event["kind"] in ("accepted", "filled")

    with losing(pipeline.home, loses) as relay, started(name, relay.home, tmp_path) as monitor:
        monitor.wait_line(lambda line: line.startswith("state/system/"), "the first state")
        order_id, expected = fill(strategy)
        monitor.wait_line(tells(order_id, "commission"), "the commission")
        assert told(monitor, order_id) == expected


@each
def test_it_notices_silence_and_then_tells_what_came_meanwhile(
    pipeline: Pipeline, strategy: RawProgram, tmp_path: Path, name: str
) -> None:
    silent = False
    with losing(pipeline.home, lambda _: silent) as relay, started(name, relay.home, tmp_path) as monitor:
        monitor.wait_line(lambda line: line.startswith("state/system/"), "the first state")
        first, _ = fill(strategy)
        monitor.wait_line(tells(first, "commission"), "the first order's commission")
        silent = True
        order_id, expected = fill(strategy)
        monitor.wait_line(lambda line: line.startswith("nothing from the breaker"), "the silence")
        silent = False
        monitor.wait_line(lambda line: line == "the breaker is heard again", "the breaker's return")
        # No further event of this topic comes, so nothing but the return can make it ask.
        monitor.wait_line(tells(order_id, "commission"), "what came meanwhile")
        assert told(monitor, order_id) == expected


@each
def test_it_says_what_it_could_not_get(pipeline: Pipeline, strategy: RawProgram, tmp_path: Path, name: str) -> None:
    with losing(pipeline.home, lambda event: event["kind"] == "accepted") as relay:
        (relay.home / "links" / "control").unlink()
        with started(name, relay.home, tmp_path) as monitor:
            monitor.wait_line(lambda line: line.startswith("state/system/"), "the first state")
            order_id, _ = fill(strategy)
            monitor.wait_line(lambda line: line.startswith("order/raw/: what came behind"), "what is missing")
            monitor.wait_line(tells(order_id, "filled"), "the fill")


@each
def test_ctrl_c_ends_it_without_a_word(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    with started(name, pipeline.home, tmp_path) as monitor:
        monitor.wait_line(lambda line: line.startswith("state/system/"), "the first state")
        monitor.process.send_signal(signal.SIGINT)
        assert monitor.exit_code() == -signal.SIGINT
        assert all(line.startswith(("state/", "order/")) for line in monitor.lines)
