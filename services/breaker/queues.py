"""The queues in which orders and changes of orders wait for their strategy's turn. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from orderfuse.messages import Replace
from services.breaker.orders import OrderRecord


@dataclass(slots=True, eq=False)
class WaitingReplace:
    """A replace whose turn has not come.

    `order`: the whole new order, checked. `expires_at_ns`: monotonic. `sender`: the program that has sent it.
    """

    replace: Replace
    order: dict[str, Any]
    expires_at_ns: int
    sender: str

    @property
    def strategy_id(self) -> str:
        """Whose it is."""
        return self.replace.strategy_id

    def expires_ns(self) -> int:
        """The last moment (monotonic) at which it may still be sent on."""
        return self.expires_at_ns


Waiting = OrderRecord | WaitingReplace


@dataclass(slots=True)
class Queues:
    """What waits, one queue a strategy. Programs are served in turn, and the strategies of each in turn again.

    So neither a strategy nor a program with many of them delays another. `limit` bounds each queue; how many queues
    there can be is bounded by the number of strategies. A strategy's orders and replaces wait in one queue: whoever
    changes many orders delays its own new ones. `sender_of`: the program that a strategy belongs to.
    """

    limit: int
    sender_of: Callable[[str], str] = str
    _waiting: dict[str, deque[Waiting]] = field(default_factory=dict)
    # The senders of what was served, the latest last.
    _served: dict[str, None] = field(default_factory=dict)
    _newcomers: list[Waiting] = field(default_factory=list)
    _last_number: int = 0

    def is_full(self, strategy_id: str) -> bool:
        """Whether this strategy may not have anything more wait."""
        return len(self._waiting.get(strategy_id, ())) >= self.limit

    def add(self, item: Waiting) -> None:
        """Let it wait behind all else of its strategy."""
        if isinstance(item, OrderRecord):
            self._last_number += 1
            item.queue_number = self._last_number
        self._waiting.setdefault(item.strategy_id, deque()).append(item)
        self._newcomers.append(item)

    def remove(self, item: Waiting) -> None:
        """Take something out of the middle of its queue (cancelled or expired while it waited)."""
        queue = self._waiting[item.strategy_id]
        queue.remove(item)
        if not queue:
            del self._waiting[item.strategy_id]

    def in_turn(self) -> list[str]:
        """The strategies that wait; the one whose turn it is comes first, then one of each other program."""
        of: dict[str, list[str]] = {sender: [] for sender in self._served}
        for strategy_id in self._waiting:
            of.setdefault(self.sender_of(strategy_id), []).append(strategy_id)
        self._served = {sender: None for sender in self._served if of[sender]}
        # Who was not served yet comes first.
        order = sorted(of, key=lambda sender: sender in self._served)
        rounds = zip_longest(*(of[sender] for sender in order))
        return [strategy_id for each in rounds for strategy_id in each if strategy_id is not None]

    def head(self, strategy_id: str) -> Waiting | None:
        """What of `strategy_id` would go next."""
        queue = self._waiting.get(strategy_id)
        return queue[0] if queue else None

    def pop(self, strategy_id: str) -> None:
        """Take the next of `strategy_id`, whose turn comes again after all others'."""
        sender = self.sender_of(strategy_id)
        self._served.pop(sender, None)
        self._served[sender] = None
        queue = self._waiting.pop(strategy_id)
        queue.popleft()
        if queue:
            self._waiting[strategy_id] = queue

    def take_newcomers(self) -> list[Waiting]:
        """What was added since the last call, whether it waits still or not."""
        taken, self._newcomers = self._newcomers, []
        return taken

    def has(self, item: Waiting) -> bool:
        """Whether it waits."""
        return item in self._waiting.get(item.strategy_id, ())

    def of(self, strategy_id: str) -> list[Waiting]:
        """All that waits of one strategy."""
        return list(self._waiting.get(strategy_id, ()))

    def orders(self) -> Iterator[OrderRecord]:
        """The orders that wait."""
        for queue in self._waiting.values():
            for item in queue:
                if isinstance(item, OrderRecord):
                    yield item

    def lengths(self) -> dict[str, int]:
        """How much of each strategy waits."""
        return {strategy_id: len(queue) for strategy_id, queue in self._waiting.items()}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())
