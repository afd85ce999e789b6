"""The dead man's switch: how long a strategy's orders may outlive its silence. Pure.

A heartbeat runs anew from the start of the breaker, so that its restart neither cancels at once nor forgets. Who has
fallen silent stays so until its next heartbeat, also over a restart: a strategy that is half dead would trade on
without anybody to cancel for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orderfuse.bus.orders import Heartbeat
from services.breaker.batch import KeptHeartbeat
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due

MS_NS = 1_000_000
SILENT_REASON = "strategy fell silent"
# Names that are remembered. A strategy that is named anew each day leaves one a day, and ten times as many as can have
# a circuit are there for those that trade.
MOST = 10_000


@dataclass(slots=True)
class DeadMan:
    """The heartbeats of all strategies that have asked to be guarded, the latest last.

    They need no circuit: one that is forgotten because nothing counts in it may still have orders at IB, and who has
    fallen silent must not keep a place from those that trade. What is too much goes from the oldest on, but nobody who
    has a circuit.
    """

    core: Core
    _guarded: dict[str, KeptHeartbeat] = field(default_factory=dict)

    def restore(self, kept: Mapping[str, KeptHeartbeat]) -> None:
        """Go on with what an earlier process kept; every deadline runs anew from now."""
        for strategy_id, each in kept.items():
            self._guarded[strategy_id] = each
            if not each.silent:
                self._expect(strategy_id, each)

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """A strategy lives, and says how long its orders may outlive its silence; 0: as long as they like."""
        strategy_id = heartbeat.strategy_id
        before = self._guarded.pop(strategy_id, None)
        if heartbeat.cancel_after_ms == 0:
            if before is not None:
                self._forget(strategy_id)
            return
        kept = self._guarded[strategy_id] = KeptHeartbeat(heartbeat.cancel_after_ms)
        self._expect(strategy_id, kept)
        if before != kept:
            self.core.batch.heartbeats[strategy_id] = kept
        if len(self._guarded) > MOST:
            oldest = next(name for name in self._guarded if name not in self.core.scopes.strategies)
            del self._guarded[oldest]
            self._forget(oldest)

    def _expect(self, strategy_id: str, kept: KeptHeartbeat) -> None:
        # At exactly the deadline it has not fallen silent yet.
        due_ns = self.core.now + kept.cancel_after_ms * MS_NS + 1
        self.core.deadlines.set(Deadline(Due.HEARTBEAT, strategy_id), due_ns)

    def _forget(self, strategy_id: str) -> None:
        self.core.deadlines.drop(Deadline(Due.HEARTBEAT, strategy_id))
        self.core.batch.heartbeats[strategy_id] = None

    def fall_silent(self, strategy_id: str) -> None:
        """The time of a strategy has run out."""
        kept = KeptHeartbeat(self._guarded[strategy_id].cancel_after_ms, silent=True)
        self._guarded[strategy_id] = self.core.batch.heartbeats[strategy_id] = kept
        # The orders that it cannot cancel itself any more: a power cut must not undo that they are to go.
        self.core.batch.sync = True

    def is_silent(self, strategy_id: str) -> bool:
        """Whether the strategy has fallen silent and not come back."""
        kept = self._guarded.get(strategy_id)
        return kept is not None and kept.silent
