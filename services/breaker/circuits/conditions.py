"""States of the world that hold for a while, and the grace that each is given before it trips. Pure.

While a condition holds no order is admitted. One that ends inside its grace counts as one failure; one that
outlasts it trips the system's circuit. So five blips in a minute open it, and so does one outage.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.breaker.circuits.outcomes import Outcomes
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, Scopes
from services.breaker.control.last_failures import Failed

BROKER_DISCONNECTED = "broker_disconnected"
BROKER_SILENT = "broker_silent"
EXECUTOR_SILENT = "executor_silent"
JOURNAL_FAILED = "journal_failed"
FOREIGN_ORDERS = "foreign_orders"

GRACE_NS = {
    BROKER_DISCONNECTED: 5 * SECOND_NS,
    # The executor has waited for an answer long enough before it says so.
    BROKER_SILENT: 0,
    EXECUTOR_SILENT: 3 * SECOND_NS,
    # Nothing can be promised without a journal: it blocks at once, but it is not the market's fault.
    JOURNAL_FAILED: 5 * SECOND_NS,
    # Somebody trades the account beside us, and who set `trip` wants none of that.
    FOREIGN_ORDERS: 0,
}


@dataclass(slots=True)
class _Holding:
    since_ns: int
    reason: str
    # Held since this process, or the executor's, started, or meant to be: neither is an incident.
    expected: bool
    tripped: bool = False


@dataclass(slots=True)
class Conditions:
    """The conditions that hold now, all of them of the scope `system`."""

    scopes: Scopes
    outcomes: Outcomes
    _holding: dict[str, _Holding] = field(default_factory=dict)

    def holds(self, name: str) -> bool:
        """Whether the condition holds."""
        return name in self._holding

    def begin(self, name: str, reason: str, now_ns: int, *, expected: bool = False) -> None:
        """The condition holds from now on; further calls while it holds change nothing but the reason."""
        holding = self._holding.get(name)
        if holding is None:
            holding = self._holding[name] = _Holding(now_ns, "", expected)
        if holding.expected and not expected:
            # What was expected to end soon has become an incident.
            holding.expected, holding.since_ns = False, now_ns
        if holding.reason == reason:
            return
        holding.reason = reason
        self.scopes.system.hold(name, reason)
        self.scopes.touch(SYSTEM)
        # Without a grace it trips now, before anything else is judged.
        self.poll(now_ns)

    def end(self, name: str, now_ns: int) -> None:
        """The condition holds no more. If it was shorter than its grace, it counts as one failure."""
        # What has outlasted its grace trips, also if its end is the first that is heard of it.
        self.poll(now_ns)
        ended = self._holding.pop(name, None)
        if ended is None:
            return
        if not ended.tripped and not ended.expected:
            text = f"{ended.reason}, over again within {GRACE_NS[name] // SECOND_NS} s"
            self.outcomes.system_failure(Failed(text, name))
        self.scopes.system.release(name)
        self.scopes.touch(SYSTEM)

    def release_forgotten(self) -> None:
        """Release what an earlier process held and this one does not know: nobody else ever would."""
        for name in self.scopes.system.get_state()["conditions"]:
            # What others reported goes on: only they know when it is over.
            if name in GRACE_NS and name not in self._holding:
                self.scopes.system.release(name)
                self.scopes.touch(SYSTEM)

    def poll(self, now_ns: int) -> None:
        """Trip for each condition that has outlasted its grace."""
        for name, holding in self._holding.items():
            due = not holding.tripped and not holding.expected
            if due and now_ns - holding.since_ns >= GRACE_NS[name]:
                holding.tripped = True
                self.scopes.trip(SYSTEM, f"{name}: {holding.reason}", latch=False)
