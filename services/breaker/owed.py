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
        since_wall_ns: when it was asked for.
        standing: `owed`; `done`: IB lists none of the orders any more; `given_up`: not done in ten minutes;
            `ended`: the circuit was reset, or is no longer OPEN.
    """

    number: int
    scope: str
    generation: int
    since_wall_ns: int
    standing: Standing = "owed"

    @property
    def until_wall_ns(self) -> int:
        """When it is given up."""
        return self.since_wall_ns + GIVE_UP_NS

    def due_end(self, circuit: TradingCircuitBreaker | None, wall_ns: int) -> Standing | None:
        """How it ends now, if it does. A clock that was set back by far ends it too."""
        if self.standing != "owed":
            return None
        if circuit is None or circuit.state is not CircuitState.OPEN or circuit.generation != self.generation:
            return "ended"
        return None if abs(wall_ns - self.since_wall_ns) < GIVE_UP_NS else "given_up"

    def told(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "what": "global_cancel",
            "scope": self.scope,
            "since_ns": self.since_wall_ns,
            "standing": self.standing,
        }
