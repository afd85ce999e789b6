"""The whole line: real processes, the real ib_insync client, and a program that knows only the protocol."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.processes.pipeline.pipeline import ROOT, SERVICES, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram

SHORT_OPEN = {"ORDERFUSE_BREAKER__OPEN_TIMEOUT_SECS": "1"}


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    with running(*SERVICES, **SHORT_OPEN) as started:
        yield started


@pytest.fixture
def program(pipeline: Pipeline) -> Iterator[RawProgram]:
    with RawProgram(pipeline.home) as raw:
        raw.ready()
        raw.wait_trading()
        yield raw


def fill(program: RawProgram) -> str:
    order_id = program.submit()
    program.wait_event("filled", order_id, done=True)
    return order_id


def is_filled(program: RawProgram) -> bool:
    """Send an order and say whether it was filled; else it was blocked, or handed to an executor that died."""
    order_id = program.submit()
    deadline = time.monotonic() + 30.0
    while not set(program.kinds(order_id)) & {"blocked", "not_placed", "commission"}:
        program.next_event(0.1)
        assert time.monotonic() < deadline, f"no end of {order_id}: {program.kinds(order_id)}"
    return "commission" in program.kinds(order_id)


def has_ended(program: RawProgram, order_id: str) -> bool:
    return program.next_event(0.01) is None and bool(set(program.kinds(order_id)) & {"blocked", "not_placed", "filled"})


def reject_next(pipeline: Pipeline, count: int) -> None:
    done = pipeline.command(f"paper reject --count {count} --code 201 --text 'Order rejected - reason: test'")
    assert done.returncode == 0, done.stderr


def placed(pipeline: Pipeline) -> list[str]:
    return [entry["fields"]["orderRef"] for entry in pipeline.at_the_wire("placeOrder")]


@pytest.mark.usefixtures("program")
def test_the_first_strategy_of_the_readme_runs_as_printed(pipeline: Pipeline) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = readme.partition("```python\n")[2].partition("```")[0]
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=pipeline.env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["filled"]


def test_an_order_passes_is_accepted_and_filled(program: RawProgram) -> None:
    order_id = fill(program)
    kinds = program.kinds(order_id)
    assert kinds[:2] == ["passed", "accepted"]
    assert kinds.index("accepted") < kinds.index("filled")
    filled = program.wait_event("filled", order_id, done=True)
    assert filled["cum_qty"] == 1
    assert filled["remaining"] == 0
    assert program.wait_event("commission", order_id)["exec_id"] == filled["exec_id"]


def test_a_bad_order_is_invalid_and_never_reaches_ib(pipeline: Pipeline, program: RawProgram) -> None:
    negative = program.submit(order={"action": "BUY", "orderType": "MKT", "totalQuantity": -1})
    assert "totalQuantity" in program.wait_event("invalid", negative)["reason"]
    text = program.submit(order={"action": "BUY", "orderType": "MKT", "totalQuantity": "ten"})
    assert "totalQuantity" in program.wait_event("invalid", text)["reason"]
    assert not {negative, text} & set(placed(pipeline))
    assert program.request("status")["circuits"][0]["failure_count"] == 0


def test_a_trip_latches_blocks_and_is_ended_by_reset(program: RawProgram) -> None:
    reply = program.request("trip", reason="test")
    assert reply["ok"]
    assert reply["fenced"]
    program.wait_state(state="OPEN", latched=True, trading_allowed=False)
    blocked = program.wait_event("blocked", program.submit())
    assert blocked["code"] == "latched"
    assert blocked["state"] == "OPEN"
    assert program.request("reset", reason="test", generation=0)["code"] == "stale"
    assert program.request("reset", reason="test", generation=reply["generation"])["state"] == "CLOSED"
    fill(program)


def test_a_resting_order_is_cancelled_while_open(program: RawProgram) -> None:
    order_id = program.submit_resting()
    program.wait_event("accepted", order_id)
    program.request("trip", reason="test")
    request_id = program.cancel(order_id)
    program.wait_event("request_passed", order_id, request_id=request_id)
    cancelled = program.wait_event("cancelled", order_id)
    assert cancelled["request_id"] == request_id
    assert cancelled["remaining"] == 1


def test_five_rejections_open_the_circuit_and_three_trials_close_it(pipeline: Pipeline, program: RawProgram) -> None:
    reject_next(pipeline, 5)
    for _ in range(5):
        rejected = program.wait_event("rejected", program.submit())
        assert rejected["ib_code"] == 201
    program.wait_state(state="OPEN", latched=False)
    assert program.wait_event("blocked", program.submit())["code"] == "circuit_open"
    program.wait_state(state="HALF_OPEN")
    trials = [program.submit() for _ in range(3)]
    for order_id in trials:
        program.wait_event("filled", order_id, done=True)
        assert program.wait_event("passed", order_id)["trial"]
    program.wait_state(state="CLOSED")
    fill(program)


def test_a_resend_is_a_duplicate_and_is_placed_once(pipeline: Pipeline, program: RawProgram) -> None:
    sent_ns = time.time_ns()
    order_id = program.submit(sent_ns=sent_ns)
    program.wait_event("filled", order_id, done=True)
    program.submit(order_id, sent_ns=sent_ns)
    program.wait_event("duplicate", order_id)
    assert program.wait_event("passed", order_id, again=True)
    assert placed(pipeline).count(order_id) == 1


def test_a_breaker_killed_while_open_is_open_again(pipeline: Pipeline, program: RawProgram) -> None:
    fill(program)
    program.request("trip", reason="before the kill")
    before = program.wait_state(state="OPEN", latched=True)
    pipeline.kill("breaker")
    pipeline.start("breaker")
    with RawProgram(pipeline.home, "second") as second:
        second.ready()
        after = second.wait_state(state="OPEN", latched=True)
        assert after["generation"] == before["generation"]
        assert after["reason"] == before["reason"]
        second.wait_state(conditions=[])
        assert second.wait_event("blocked", second.submit())["code"] == "latched"
        second.request("reset", reason="after the kill")
        second.wait_trading()
        fill(second)


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_any_one_service_is_restarted_and_the_line_works_again(
    pipeline: Pipeline, program: RawProgram, name: str, number: int
) -> None:
    first = fill(program)
    code = pipeline.kill(name, number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    pipeline.start(name)
    with RawProgram(pipeline.home, "after") as after:
        after.ready()
        # An order that meets the restart may be blocked, with its reason; the next ones must pass soon.
        wait_until(lambda: is_filled(after), f"an order filled after the restart of {name}", secs=5.0)
    assert placed(pipeline).count(first) == 1


def test_an_executor_killed_with_orders_out_places_none_twice(pipeline: Pipeline, program: RawProgram) -> None:
    resting = [program.submit_resting() for _ in range(3)]
    for order_id in resting:
        program.wait_event("accepted", order_id)
    pipeline.kill("executor")
    pipeline.start("executor")
    program.wait_state(conditions=[], trading_allowed=True)
    request_id = program.cancel(resting[0])
    program.wait_event("cancelled", resting[0], request_id=request_id)
    fill(program)
    references = placed(pipeline)
    assert len(references) == len(set(references))


def test_without_a_gateway_orders_are_blocked_with_the_condition() -> None:
    with running("executor", "breaker") as pipeline, RawProgram(pipeline.home) as program:
        program.ready()
        program.wait_state(conditions=["broker_disconnected"])
        blocked = program.wait_event("blocked", program.submit())
        assert blocked["code"] == "condition"
        pipeline.start("paper")
        program.wait_trading()
        fill(program)


def test_a_trip_under_load_lets_nothing_through_after_its_reply(pipeline: Pipeline, program: RawProgram) -> None:
    ids = [program.submit() for _ in range(40)]
    program.wait_event("passed", ids[0])
    reply = program.request("trip", reason="under load")
    confirmed_ns = time.monotonic_ns()
    assert reply["fenced"]
    for order_id in ids:
        wait_until(partial(has_ended, program, order_id), f"an end of {order_id}")
    late = [entry for entry in pipeline.at_the_wire("placeOrder") if entry["ns"] > confirmed_ns]
    assert [entry["fields"]["orderRef"] for entry in late if entry["fields"]["orderRef"] not in reply["written"]] == []


def test_an_order_that_nobody_knows_about_blocks_no_other_and_is_settled_by_a_person(
    pipeline: Pipeline, program: RawProgram
) -> None:
    swallowed = pipeline.command("paper fault swallow booked=true")
    assert swallowed.returncode == 0, swallowed.stderr
    order_id = program.submit_resting()
    program.wait_event("unknown", order_id)
    assert program.request("status")["unknown"] == [order_id]
    fill(program)
    pipeline.kill("executor")
    done = pipeline.command(f"resolve {order_id} --as cancelled --reason 'looked it up'")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{order_id} is cancelled now\n"
    ended = program.wait_event("cancelled", order_id)
    assert "looked it up" in ended["reason"]
    pipeline.start("executor")
    # It rests at IB after all, and whatever a person said, that is told as soon as it is seen.
    alive = program.wait_event("accepted", order_id)
    assert alive["supersedes"] == ended["seq"]
    refused = pipeline.command(f"resolve {order_id} --as cancelled --reason again")
    assert refused.returncode == 1
    assert "only an unknown order is settled by hand" in refused.stderr


def test_a_condition_that_another_program_reports_blocks_until_it_is_over(
    pipeline: Pipeline, program: RawProgram
) -> None:
    told = pipeline.command("report condition feed_stale:ES --reason 'no tick for 10 s'")
    assert (told.returncode, told.stdout) == (0, "told; system now has: feed_stale:ES\n")
    program.wait_state(state="OPEN", conditions=["feed_stale:ES"])
    over = pipeline.command("report condition feed_stale:ES --over --reason 'it ticks'")
    assert (over.returncode, over.stdout) == (0, "told; system now has: no conditions\n")
    program.wait_state(conditions=[])
    wrong = pipeline.command("report failure x --over --reason no")
    assert wrong.returncode == 2
    refused = pipeline.command("report condition broker_silent --reason no")
    assert (refused.returncode, "report it under another name" in refused.stderr) == (1, True)


def test_a_resting_order_is_changed_and_ib_has_it_once(pipeline: Pipeline, program: RawProgram) -> None:
    order_id = program.submit_resting()
    program.wait_event("accepted", order_id)
    order = {"action": "BUY", "orderType": "LMT", "totalQuantity": 2, "lmtPrice": 1.5, "tif": "GTC"}
    program.replace(order_id, "r-1", 1, order)
    assert program.wait_event("request_passed", order_id)["request_id"] == "r-1"
    assert program.wait_event("replaced", order_id)["request_id"] == "r-1"
    (listed,) = program.request("orders", order_id=order_id)["orders"]
    assert (listed["order"]["lmtPrice"], listed["state"]) == (1.5, "working")
    new, changed = pipeline.at_the_wire("placeOrder", orderRef=order_id)
    assert new["fields"]["orderId"] == changed["fields"]["orderId"]
    assert float(changed["fields"]["lmtPrice"]) == 1.5
    # Over another connection it is changed only once IB has listed it there.
    pipeline.kill("executor")
    pipeline.start("executor")
    wait_until(lambda: is_filled(program), "an order is filled by the new executor")
    program.replace(order_id, "r-2", 2, {**order, "lmtPrice": 1.6})
    assert program.wait_event("replaced", order_id, request_id="r-2")
    program.request("trip", reason="stop")
    program.replace(order_id, "r-3", 3, {**order, "lmtPrice": 1.7})
    assert program.wait_event("request_refused", order_id)["code"] == "latched"
    program.replace(order_id, "r-4", 4, {**order, "lmtPrice": 1.6, "totalQuantity": 1})
    assert program.wait_event("replaced", order_id, request_id="r-4")
    reference = program.cancel(order_id)
    assert program.wait_event("cancelled", order_id)["request_id"] == reference


def test_a_change_that_ib_refuses_is_told_and_the_order_lives(pipeline: Pipeline, program: RawProgram) -> None:
    order_id = program.submit_resting()
    program.wait_event("accepted", order_id)
    done = pipeline.command("paper fault reject on=modify code=110 text='the tick'")
    assert done.returncode == 0, done.stderr
    order = {"action": "BUY", "orderType": "LMT", "totalQuantity": 1, "lmtPrice": 1.2345, "tif": "GTC"}
    program.replace(order_id, "r-1", 1, order)
    failed = program.wait_event("replace_failed", order_id)
    assert (failed["ib_code"], "the tick" in failed["reason"]) == (110, True)
    (listed,) = program.request("orders", order_id=order_id)["orders"]
    assert (listed["order"]["lmtPrice"], listed["state"]) == (1.0, "working")
