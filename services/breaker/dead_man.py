"""The dead man's switch: how long a strategy's orders may outlive its silence. Pure.

A heartbeat runs anew from the start of the breaker, so that its restart neither cancels at once nor forgets. Who has
fallen silent stays so until its next heartbeat, also over a restart: a strategy that is half dead would trade on
without anybody to cancel for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orderfuse.messages import Heartbeat
from services.breaker.batch import KeptHeartbeat
from services.breaker.core import Core

MS_NS = 1_000_000
SILENT_REASON = "strategy fell silent"
# Names that are remembered. A strategy that is named anew each day leaves one a day, and ten times as many as can have
# a circuit are there for those that trade.
MOST = 10_000
_NEVER_NS = 2**63


@dataclass(slots=True)
class _Guarded:
    kept: KeptHeartbeat
    deadline_ns: int


@dataclass(slots=True)
class DeadMan:
    """The heartbeats of all strategies that have asked to be guarded, the latest last.

    They need no circuit: one that is forgotten because nothing counts in it may still have orders at IB, and who has
    fallen silent must not keep a place from those that trade. What is too much goes from the oldest on, but nobody who
    has a circuit.
    """

    core: Core
    _guarded: dict[str, _Guarded] = field(default_factory=dict)
    # No deadline is before this; a heartbeat that makes one later leaves it too early.
    _next_ns: int = 0

    def restore(self, kept: Mapping[str, KeptHeartbeat]) -> None:
        """Go on with what an earlier process kept; every deadline runs anew from now."""
        now = self.core.now()
        for strategy_id, each in kept.items():
            self._guarded[strategy_id] = _Guarded(each, now + each.cancel_after_ms * MS_NS)

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """A strategy lives, and says how long its orders may outlive its silence; 0: as long as they like."""
        strategy_id = heartbeat.strategy_id
        before = self._guarded.pop(strategy_id, None)
        if heartbeat.cancel_after_ms == 0:
            if before is not None:
                self.core.batch.heartbeats[strategy_id] = None
            return
        kept = KeptHeartbeat(heartbeat.cancel_after_ms)
        deadline_ns = self.core.now() + heartbeat.cancel_after_ms * MS_NS
        self._guarded[strategy_id] = _Guarded(kept, deadline_ns)
        self._next_ns = min(self._next_ns, deadline_ns)
        if before is None or before.kept != kept:
            self.core.batch.heartbeats[strategy_id] = kept
        if len(self._guarded) > MOST:
            oldest = next(name for name in self._guarded if name not in self.core.scopes.strategies)
            del self._guarded[oldest]
            self.core.batch.heartbeats[oldest] = None

    def fallen_silent(self) -> list[str]:
        """The strategies whose time has run out since the last call. At exactly the deadline it has not."""
        now = self.core.now()
        if now <= self._next_ns:
            return []
        guarded = [(name, each) for name, each in self._guarded.items() if not each.kept.silent]
        silent = [(name, each) for name, each in guarded if each.deadline_ns < now]
        self._next_ns = min((each.deadline_ns for _, each in guarded if each.deadline_ns >= now), default=_NEVER_NS)
        for strategy_id, each in silent:
            each.kept = KeptHeartbeat(each.kept.cancel_after_ms, silent=True)
            self.core.batch.heartbeats[strategy_id] = each.kept
            # The orders that it cannot cancel itself any more: a power cut must not undo that they are to go.
            self.core.batch.sync = True
        return [strategy_id for strategy_id, _ in silent]

    def is_silent(self, strategy_id: str) -> bool:
        """Whether the strategy has fallen silent and not come back."""
        guarded = self._guarded.get(strategy_id)
        return guarded is not None and guarded.kept.silent
