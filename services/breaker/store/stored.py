"""How orders, circuits and moments stand in the breaker's journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from services.breaker.orders import OrderRecord

# In the column `state`: done, but a replace has no answer yet, so that the next start must know the order.
CHANGING = "changing"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Both clocks as they were at the start: moments stand on the disk by the wall clock, in memory by the other one.

    Attributes:
        wall_ns: the wall clock.
        monotonic_ns: the clock that this process counts by.
    """

    wall_ns: int
    monotonic_ns: int

    def to_wall(self, monotonic_ns: int) -> int:
        """A moment of this process by the wall clock."""
        return monotonic_ns + self.wall_ns - self.monotonic_ns

    def to_monotonic(self, wall_ns: int) -> int:
        """A moment by the wall clock as this process counts; before its start it may be negative."""
        return wall_ns - self.wall_ns + self.monotonic_ns


def state_of(record: OrderRecord) -> str:
    """What the column `state` says of an order."""
    return CHANGING if record.state == "done" and record.change is not None else record.state


def read_order(blob: bytes, clocks: Clocks) -> OrderRecord:
    """Read an order; its monotonic times become those of this process, by the wall clock.

    Raises:
        MsgspecError: it is damaged.
    """
    record = msgspec.json.decode(blob, type=OrderRecord)
    if record.passed_wall_ns:
        # A clock that was set back must not turn the past into the future.
        record.passed_ns = min(clocks.to_monotonic(record.passed_wall_ns), clocks.monotonic_ns)
    return record


def read_snapshot(text: str) -> Any:
    """Read a circuit's snapshot; None for what is no JSON, which a circuit takes for a lost one."""
    try:
        return json.loads(text)
    except ValueError:
        return None
