"""A global cancel that was promised: owed until IB lists none of the orders that it listed then. Pure.

It goes again only while the circuit that was tripped is OPEN in the same generation, and for ten minutes: later it
would take orders along that a person has placed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from orderfuse.circuit import CircuitState, TradingCircuitBreaker

GIVE_UP_SECS = 600
GIVE_UP_NS = GIVE_UP_SECS * 1_000_000_000

Standing = Literal["owed", "done", "given_up", "ended"]


@dataclass(slots=True)
class OwedCancel:
    """The latest global cancel, and how it stands.

    Attributes:
        number: its own; a later one has a higher number.
        scope, generation: the circuit that was tripped, and the life of its state then.
        since_wall_ns: when it was asked for, for people and for the next start.
        until_ns: when it is given up, monotonic time of this process.
        standing: `owed`; `done`: IB lists none of the orders any more; `given_up`: not done in ten minutes;
            `ended`: the circuit was reset, or is no longer OPEN.
    """

    number: int
    scope: str
    generation: int
    since_wall_ns: int
    until_ns: int
    standing: Standing = "owed"

    def go_on(self, now_ns: int, wall_ns: int) -> None:
        """Another process goes on with it, for the rest of the time by the wall clock, which may have been set."""
        passed_ns = min(max(0, wall_ns - self.since_wall_ns), GIVE_UP_NS)
        self.until_ns = now_ns + GIVE_UP_NS - passed_ns

    def due_end(self, circuit: TradingCircuitBreaker | None, now_ns: int) -> Standing | None:
        """How it ends now, if it does."""
        if self.standing != "owed":
            return None
        if circuit is None or circuit.state is not CircuitState.OPEN or circuit.generation != self.generation:
            return "ended"
        return "given_up" if now_ns >= self.until_ns else None

    def told(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "what": "global_cancel",
            "scope": self.scope,
            "since_ns": self.since_wall_ns,
            "standing": self.standing,
        }
