"""Brackets through the whole line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes.pipeline.pipeline import SERVICES, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    with running(*SERVICES) as pipeline:
        yield pipeline


@pytest.fixture
def program(pipeline: Pipeline) -> Iterator[RawProgram]:
    with RawProgram(pipeline.home) as program:
        program.ready()
        program.wait_trading()
        yield program


def bracket(program: RawProgram, name: str, *, entry: dict[str, object] | None = None) -> tuple[str, str, str]:
    leg = {"action": "SELL", "totalQuantity": 1, "tif": "GTC"}
    legs = [
        {"order_id": f"{name}-target", "order": {**leg, "orderType": "LMT", "lmtPrice": 250.0}},
        {"order_id": f"{name}-stop", "order": {**leg, "orderType": "STP", "auxPrice": 100.0}},
    ]
    order = {"action": "BUY", "totalQuantity": 1, "orderType": "MKT", **(entry or {})}
    program.submit(name, order=order, attached=legs)
    return name, f"{name}-target", f"{name}-stop"


def test_the_parent_fills_a_leg_fills_and_ib_ends_the_other(pipeline: Pipeline, program: RawProgram) -> None:
    entry, target, stop = bracket(program, "b-1")
    program.wait_event("filled", entry, done=True)
    for leg in (target, stop):
        program.wait_event("accepted", leg)
    frames = [pipeline.at_the_wire("placeOrder", orderRef=order_id)[0]["fields"] for order_id in (entry, target, stop)]
    parent_id = frames[0]["orderId"]
    assert [str(fields["parentId"]) for fields in frames] == ["0", str(parent_id), str(parent_id)]
    assert [str(fields["transmit"]) in ("1", "True") for fields in frames] == [False, False, True]
    pipeline.command("paper fault price symbol=AAPL price=260")
    program.wait_event("filled", target, done=True)
    program.wait_event("cancelled", stop)
    assert program.request("status")["circuits"][0]["failures"] == 0


def test_a_refused_leg_takes_the_resting_parent_along(pipeline: Pipeline, program: RawProgram) -> None:
    done = pipeline.command("paper fault reject code=201 text='no stops today' order_ref=b-2-stop")
    assert done.returncode == 0, done.stderr
    entry, _, stop = bracket(program, "b-2", entry={"orderType": "LMT", "lmtPrice": 1.0, "tif": "GTC"})
    program.wait_event("rejected", stop)
    program.wait_event("cancelled", entry)


@pytest.mark.parametrize("count", [1, 2])
def test_an_executor_that_dies_within_a_bracket_leaves_none_half_done(pipeline: Pipeline, count: int) -> None:
    pipeline.kill("executor")
    pipeline.start("executor", crash_at=f"executor.order.written:{count}")
    with RawProgram(pipeline.home) as program:
        program.ready()
        program.wait_trading()
        unit = bracket(program, "b-3", entry={"orderType": "LMT", "lmtPrice": 1.0, "tif": "GTC"})
        wait_until(lambda: pipeline.processes["executor"].poll() is not None, "the executor dies")
        pipeline.kill("executor")
        pipeline.start("executor")
        # The gateway holds back what came without its last leg, and lists it nowhere: it says so when it is cancelled.
        for order_id in unit[:count]:
            program.wait_event("cancelled", order_id)
        # What never left is proven by two rounds ten seconds apart.
        for order_id in unit[count:]:
            assert program.wait_event("not_placed", order_id)["code"] == "reconciled"
        assert all(len(pipeline.at_the_wire("placeOrder", orderRef=order_id)) <= 1 for order_id in unit)
