"""The moment of an input: the rim reads both clocks once for it, and nothing behind the rim reads any."""

import time

import pytest

from orderfuse.circuit import SystemClock
from services.breaker.present import Present
from services.runtime.now import Now
from tests.simulation.world import World


def test_no_step_reads_a_clock(monkeypatch):
    def read(*_):
        raise AssertionError("a clock was read behind the rim")

    world = World(5)
    for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter"):
        monkeypatch.setattr(time, name, read)
    monkeypatch.setattr(SystemClock, "monotonic_ns", staticmethod(read))
    monkeypatch.setattr(SystemClock, "utcnow", read)
    try:
        world.run()
    finally:
        monkeypatch.undo()
    assert world.oracle.kinds_seen


def test_time_does_not_go_back():
    present = Present(Now(5, 100))
    present.advance(Now(5, 7))
    assert (present.monotonic_ns(), present.wall_ns()) == (5, 7), "the wall clock may be set back"
    with pytest.raises(AssertionError, match="went back"):
        present.advance(Now(4, 100))
