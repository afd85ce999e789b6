"""A short form of the campaign, and what makes the points trustworthy."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orderfuse.settings import SettingsError, crash_at
from services.runtime.crash_points import POINTS
from tests.campaigns.crash.campaign import case_of, play
from tests.campaigns.crash.losses import LOSSES, VICTIMS
from tests.processes.pipeline.pipeline import running, wait_until
from tests.processes.pipeline.raw import RawProgram

ROOT = Path(__file__).parents[3]
# One of each kind: the intent, the wire, a fill, a reconciliation; decisions and feedback of the breaker; the gateway
# before and after it books. A cancel has a test of its own, and the executor's feedback those of lost journals.
SHORT = (
    "executor.intent.synced",
    "executor.order.half_frame",
    "executor.order.written",
    "executor.fill.received",
    "executor.reconcile.answered",
    "breaker.place.unsent",
    "breaker.place.sent",
    "breaker.feedback.taken",
    "paper.order.received",
    "paper.state.half_line",
)


@pytest.mark.parametrize("point", SHORT)
def test_a_process_that_dies_at_this_point_costs_no_order_and_no_fill(point: str) -> None:
    result = play(case_of(list(POINTS).index(point)))
    assert result.complaints == []
    assert result.reached, "the process did not die there, so nothing was shown"


def test_an_end_of_our_own_making_is_no_failure_though_the_executor_died_right_behind_its_cancel() -> None:
    with running("paper", "breaker") as pipeline, RawProgram(pipeline.home) as program:
        pipeline.start("executor", crash_at="executor.cancel.sent:1")
        program.ready()
        program.wait_trading()
        order_id = program.submit_resting()
        program.wait_event("accepted", order_id)
        program.cancel(order_id)
        wait_until(lambda: pipeline.processes["executor"].poll() is not None, "the executor is dead")
        pipeline.kill("executor")
        pipeline.start("executor")
        program.wait_event("cancelled", order_id)
        circuits = program.request("status")["circuits"]
        assert [each for circuit in circuits for each in circuit["last_failures"] if each["order_id"]] == []


LOSSES_SHORT = [
    *((loss, ("executor",), False) for loss in LOSSES),
    ("emptied", ("breaker",), True),
    ("log_left", ("breaker", "executor"), True),
]


@pytest.mark.parametrize(("loss", "lost", "tripped"), LOSSES_SHORT)
def test_a_journal_that_is_lost_costs_no_order_and_no_fill_and_forgets_no_stop(
    loss: str, lost: tuple[str, ...], tripped: bool
) -> None:
    # A death in the middle of things: some orders are journaled, some told, some on their way.
    case = case_of(list(POINTS).index("breaker.feedback.taken" if "breaker" in lost else "executor.feedback.committed"))
    result = play(replace(case, loss=loss, lost=lost, tripped=tripped))
    assert result.complaints == []


def test_every_point_stands_in_the_code_once_and_none_is_without_its_sentence() -> None:
    reached = [
        name
        for path in sorted((ROOT / "services").rglob("*.py"))
        for name in re.findall(r'"((?:executor|breaker|paper)\.[a-z_]+\.[a-z_]+)"', path.read_text())
        if path.name != "crash_points.py"
    ]
    assert sorted(reached) == sorted(POINTS)


def test_a_stretch_of_seeds_covers_every_point_and_every_loss() -> None:
    cases = [case_of(seed) for seed in range(1000, 1000 + 4 * len(POINTS))]
    assert {case.point for case in cases[: len(POINTS)]} == set(POINTS)
    assert {case.loss for case in cases} == {"", *LOSSES}
    assert {case.lost for case in cases} == {(), *VICTIMS}


@pytest.mark.parametrize("text", ["executor.intent.synced", "executor.intent.synced:0", ":3", "x:y"])
def test_a_wish_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="ORDERFUSE_CRASH_AT"):
        crash_at({"ORDERFUSE_CRASH_AT": text})


@pytest.mark.parametrize("service", ["breaker", "executor", "paper", "monitor", "strategy"])
def test_a_point_that_there_is_not_is_refused_at_the_start(service: str, tmp_path: Path) -> None:
    environment = {"ORDERFUSE_HOME": str(tmp_path), "ORDERFUSE_CRASH_AT": "breaker.nowhere:1", "PATH": ""}
    command = [sys.executable, "-m", f"services.{service}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "names the point 'breaker.nowhere', known are" in done.stderr
    assert "Traceback" not in done.stderr
