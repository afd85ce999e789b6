"""The dead man's switch: how long a strategy's orders may outlive its silence. Pure.

A heartbeat runs anew from the start of the breaker, so that its restart neither cancels at once nor forgets. Who has
fallen silent stays so until its next heartbeat, also over a restart: a strategy that is half dead would trade on
without anybody to cancel for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orderfuse.messages import Heartbeat
from services.breaker.batch import KeptHeartbeat
from services.breaker.core import Core

MS_NS = 1_000_000
SILENT_REASON = "strategy fell silent"


@dataclass(slots=True)
class _Guarded:
    kept: KeptHeartbeat
    deadline_ns: int


@dataclass(slots=True)
class DeadMan:
    """The heartbeats of all strategies that have asked to be guarded; each has a circuit, which bounds their number."""

    core: Core
    _guarded: dict[str, _Guarded] = field(default_factory=dict)

    def restore(self, kept: Mapping[str, KeptHeartbeat]) -> None:
        """Go on with what an earlier process kept; every deadline runs anew from now."""
        now = self.core.now()
        for strategy_id, each in kept.items():
            self._guarded[strategy_id] = _Guarded(each, now + each.cancel_after_ms * MS_NS)

    def on_heartbeat(self, heartbeat: Heartbeat) -> None:
        """A strategy lives, and says how long its orders may outlive its silence; 0: as long as they like."""
        strategy_id = heartbeat.strategy_id
        if heartbeat.cancel_after_ms == 0:
            if self._guarded.pop(strategy_id, None) is not None:
                self.core.batch.heartbeats[strategy_id] = None
            return
        if self.core.scopes.open_for(strategy_id) is None:
            return  # It can have no order either.
        kept = KeptHeartbeat(heartbeat.cancel_after_ms)
        before = self._guarded.get(strategy_id)
        self._guarded[strategy_id] = _Guarded(kept, self.core.now() + heartbeat.cancel_after_ms * MS_NS)
        if before is None or before.kept != kept:
            self.core.batch.heartbeats[strategy_id] = kept

    def fallen_silent(self) -> list[str]:
        """The strategies whose time has run out since the last call. At exactly the deadline it has not."""
        now = self.core.now()
        silent = [name for name, each in self._guarded.items() if not each.kept.silent and each.deadline_ns < now]
        for strategy_id in silent:
            guarded = self._guarded[strategy_id]
            guarded.kept = KeptHeartbeat(guarded.kept.cancel_after_ms, silent=True)
            self.core.batch.heartbeats[strategy_id] = guarded.kept
            # The orders that it cannot cancel itself any more: a power cut must not undo that they are to go.
            self.core.batch.sync = True
        return silent

    def is_silent(self, strategy_id: str) -> bool:
        """Whether the strategy has fallen silent and not come back."""
        guarded = self._guarded.get(strategy_id)
        return guarded is not None and guarded.kept.silent

    def forget(self, strategy_ids: Iterable[str]) -> None:
        """These strategies have no circuit any more, and so no order: the next heartbeat guards them anew."""
        for strategy_id in strategy_ids:
            if self._guarded.pop(strategy_id, None) is not None:
                self.core.batch.heartbeats[strategy_id] = None
