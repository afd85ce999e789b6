"""A short form of the campaign, and what makes the points trustworthy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from orderfuse.settings import SettingsError, crash_at
from services.crash_points import POINTS
from tests.crash.campaign import case_of, play

ROOT = Path(__file__).parents[2]
# One of each kind: the intent, the wire, the feedback, a reconciliation; decisions and feedback of the
# breaker; the gateway before and after it books.
SHORT = (
    "executor.intent.synced",
    "executor.order.half_frame",
    "executor.order.written",
    "executor.fill.received",
    "executor.feedback.committed",
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


def test_every_point_stands_in_the_code_once_and_none_is_without_its_sentence() -> None:
    reached = [
        name
        for path in sorted((ROOT / "services").rglob("*.py"))
        for name in re.findall(r'"((?:executor|breaker|paper)\.[a-z_]+\.[a-z_]+)"', path.read_text())
        if path.name != "crash_points.py"
    ]
    assert sorted(reached) == sorted(POINTS)


def test_a_stretch_of_seeds_covers_every_point() -> None:
    assert {case_of(seed).point for seed in range(1000, 1000 + len(POINTS))} == set(POINTS)


@pytest.mark.parametrize("text", ["executor.intent.synced", "executor.intent.synced:0", ":3", "x:y"])
def test_a_wish_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="ORDERFUSE_CRASH_AT"):
        crash_at({"ORDERFUSE_CRASH_AT": text})


def test_a_point_that_there_is_not_is_refused_at_the_start(tmp_path: Path) -> None:
    environment = {"ORDERFUSE_HOME": str(tmp_path), "ORDERFUSE_CRASH_AT": "breaker.nowhere:1", "PATH": ""}
    command = [sys.executable, "-m", "services.breaker"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "names the point 'breaker.nowhere', known are" in done.stderr
    assert "Traceback" not in done.stderr
