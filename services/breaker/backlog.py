"""What the breaker's journal could not save yet: kept in memory within bounds, while the disk takes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.breaker.batch import Batch

# Events kept in memory while the disk takes none; older ones of them are lost.
MAX_UNSAVED_EVENTS = 10_000
# The same for orders that were never passed on, and for answered requests. A resend is judged anew.
MAX_UNSAVED_ANSWERS = 10_000


@dataclass(slots=True)
class Backlog:
    """What could not be saved yet."""

    batch: Batch = field(default_factory=Batch)

    def add(self, batch: Batch) -> None:
        """Lay a batch over what waits; of the events the newest are kept."""
        kept = self.batch
        before = len(kept.publications)
        kept.add_what_is_saved(batch)
        kept.publications[before:] = [item for item in kept.publications[before:] if item.journaled]
        del kept.publications[: max(0, len(kept.publications) - MAX_UNSAVED_EVENTS)]
        while len(kept.requests) > MAX_UNSAVED_ANSWERS:
            del kept.requests[next(iter(kept.requests))]
        if len(kept.orders) > 2 * MAX_UNSAVED_ANSWERS:
            # Rarely, and half of them at once: it walks through all of them.
            refused = [order_id for order_id, record in kept.orders.items() if not record.passed_wall_ns]
            for order_id in refused[: max(0, len(refused) - MAX_UNSAVED_ANSWERS)]:
                del kept.orders[order_id]

    def clear(self) -> None:
        """All of it is saved."""
        self.batch = Batch()
