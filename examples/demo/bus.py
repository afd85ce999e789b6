"""What the breaker tells everybody: the states of its circuits, and what became of each order."""

from __future__ import annotations

from collections import defaultdict

from orderfuse.bus.events import (
    AnyOrderEvent,
    Blocked,
    Cancelled,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    OrderEvent,
    Rejected,
    State,
)
from orderfuse.client.watch import Watcher
from orderfuse.settings import Settings


class Bus:
    """Keeps what was heard since it was opened."""

    def __init__(self, settings: Settings) -> None:
        self._watcher = Watcher(settings, ("order/", "state/"))
        self.states: dict[str, State] = {}
        self.events: defaultdict[str, list[AnyOrderEvent]] = defaultdict(list)

    def close(self) -> None:
        """Close the links."""
        self._watcher.close()

    def read(self, wait_s: float) -> None:
        """Take what has come, waiting up to `wait_s` for it."""
        for _, item in self._watcher.read(wait_s):
            if isinstance(item, State):
                self.states[item.scope] = item
            elif isinstance(item, OrderEvent):
                self.events[item.order_id].append(item)

    def state(self, scope: str) -> str:
        """The state's name; empty before it was heard."""
        known = self.states.get(scope)
        return known.state if known else ""

    def answers(self, order_id: str) -> list[AnyOrderEvent]:
        """What settles this order for ever. There has to be exactly one."""
        return [event for event in self.events[order_id] if _settles(event)]


def _settles(event: AnyOrderEvent) -> bool:
    if isinstance(event, Filled):
        return event.done
    return isinstance(event, Blocked | Expired | Invalid | Cancelled | Rejected | NotPlaced)
