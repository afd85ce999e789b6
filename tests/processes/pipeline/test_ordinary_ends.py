"""What IB ends by itself, and what we end, leaves the circuits CLOSED; what a broker drops opens them."""

from __future__ import annotations

import time

import pytest

from tests.processes.pipeline.pipeline import Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

RESTING = {"action": "BUY", "orderType": "LMT", "totalQuantity": 10, "lmtPrice": 1.0, "tif": "GTC"}
FIVE = range(5)


def fault(pipeline: Pipeline, line: str) -> None:
    done = pipeline.command(f"paper fault {line}")
    assert done.returncode == 0, done.stdout + done.stderr


def rests(program: RawProgram, order_id: str, **fields: object) -> str:
    program.submit(order_id, order={**RESTING, **fields})
    program.wait_event("accepted", order_id)
    return order_id


def state(program: RawProgram) -> tuple[str, int]:
    """Whether the circuit of all lets orders pass, and how many failures it has seen."""
    system = program.system()
    return system["state"], system["failure_count"]


def test_twenty_orders_that_end_as_they_should_open_nothing() -> None:
    with trading() as (pipeline, program):
        for story in (oca_pairs, double_cancels, cancels_of_changes, day_orders):
            story(pipeline, program)
            assert state(program) == ("CLOSED", 0), story.__name__


def oca_pairs(pipeline: Pipeline, program: RawProgram) -> None:
    for n in FIVE:
        for order_id in (f"exit-{n}", f"stop-{n}"):
            rests(program, order_id, ocaGroup=f"pair-{n}", ocaType=1)
    for n in FIVE:
        fault(pipeline, f"fill order_ref=exit-{n}")
        program.wait_event("cancelled", f"stop-{n}")


def double_cancels(pipeline: Pipeline, program: RawProgram) -> None:
    """Of the strategy, twice, and of a trip."""
    for n in FIVE:
        rests(program, f"double-{n}")
    fault(pipeline, "slow_cancel count=5 ms=1500")
    for n in FIVE:
        for request_id in (program.cancel(f"double-{n}"), program.cancel(f"double-{n}")):
            program.wait_event("request_passed", f"double-{n}", request_id=request_id)
    assert program.request("trip", reason="a try", cancel="ours")["ok"]
    for n in FIVE:
        assert program.wait_event("cancelled", f"double-{n}")["request_id"]
        assert "cancel_failed" not in program.kinds(f"double-{n}")
    assert state(program) == ("OPEN", 0)
    assert program.request("reset", reason="it was one")["ok"]
    program.wait_trading()


def cancels_of_changes(pipeline: Pipeline, program: RawProgram) -> None:
    fault(pipeline, "swallow on=modify count=5")
    for n in FIVE:
        rests(program, f"changed-{n}")
        program.replace(f"changed-{n}", f"r-{n}", 1, {**RESTING, "lmtPrice": 1.5})
        program.cancel(f"changed-{n}")
        program.wait_event("cancelled", f"changed-{n}")


def day_orders(pipeline: Pipeline, program: RawProgram) -> None:
    for n in FIVE:
        rests(program, f"day-{n}", tif="DAY" if n % 2 else "")
    # An end within 2 s of the acknowledgement would be a broker's that drops what it gets.
    time.sleep(2.5)
    fault(pipeline, "close")
    for n in FIVE:
        program.wait_event("cancelled", f"day-{n}")


@pytest.mark.parametrize(
    ("dropped", "tif"), [("wait_ms=50", "DAY"), ("wait_ms=2500 text='Order Canceled - reason:no such venue'", "GTC")]
)
def test_five_orders_that_the_broker_drops_open_the_circuit(dropped: str, tif: str) -> None:
    with trading() as (pipeline, program):
        fault(pipeline, f"unasked_cancel count=5 {dropped}")
        for n in FIVE:
            rests(program, f"o-{n}", tif=tif)
        for n in FIVE:
            program.wait_event("cancelled", f"o-{n}")
        wait_until(lambda: state(program)[0] == "OPEN", "the circuit to open")
        assert state(program) == ("OPEN", 5)
