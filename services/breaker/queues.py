"""The queues in which orders and changes of orders wait for their strategy's turn. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from orderfuse.bus.orders import Replace
from services.breaker.circuits.places import Places
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

    @property
    def ttl_ms(self) -> int:
        """How old it may become."""
        return self.replace.ttl_ms

    @property
    def order_id(self) -> str:
        """Which order it would change."""
        return self.replace.order_id

    def expires_ns(self) -> int:
        """The last moment (monotonic) at which it may still be sent on."""
        return self.expires_at_ns


Waiting = OrderRecord | WaitingReplace


@dataclass(slots=True)
class Queues:
    """What waits, one queue a strategy. Programs are served in turn, and the strategies of each in turn again.

    So neither a strategy nor a program with many of them delays another. `limit` bounds each queue; how many queues
    there can be is bounded by the number of strategies. A strategy's orders and replaces wait in one queue: whoever
    changes many orders delays its own new ones. `places`: which program a strategy belongs to.

    Nothing here costs by how many strategies wait: whose turn it is stands first, and while nobody can be handed over
    only those are looked at of which something has changed (`look_at`).
    """

    limit: int
    places: Places
    _waiting: dict[str, deque[Waiting]] = field(default_factory=dict)
    _items: set[Waiting] = field(default_factory=set)
    # The strategies that wait, by their program; the first is the next. Programs that were not served since they began
    # to wait come before all that were; of these the one that was served last comes last.
    _unserved: OrderedDict[str, OrderedDict[str, None]] = field(default_factory=OrderedDict)
    _served: OrderedDict[str, OrderedDict[str, None]] = field(default_factory=OrderedDict)
    _program: dict[str, str] = field(default_factory=dict)
    # Programs that may have nothing more that waits.
    _emptied: list[str] = field(default_factory=list)
    # Strategies whose next may be decided otherwise than when it was looked at last.
    _to_look_at: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _newcomers: list[Waiting] = field(default_factory=list)
    _last_number: int = 0

    def is_full(self, strategy_id: str) -> bool:
        """Whether this strategy may not have anything more wait."""
        return len(self._waiting.get(strategy_id, ())) >= self.limit

    def add(self, item: Waiting) -> None:
        """Let it wait behind all else of its strategy."""
        if isinstance(item, OrderRecord):
            assert item.state == "queued", f"{item.order_id} is {item.state}: it does not wait"
            self._last_number += 1
            item.queue_number = self._last_number
        strategy_id = item.strategy_id
        self._waiting.setdefault(strategy_id, deque()).append(item)
        self._items.add(item)
        self._newcomers.append(item)
        program = self.places.sender_of(strategy_id)
        if self._program.get(strategy_id) != program:
            self._leave_program(strategy_id)
            self._program[strategy_id] = program
            of = self._served if program in self._served else self._unserved
            of.setdefault(program, OrderedDict())[strategy_id] = None
        self.look_at(strategy_id)

    def remove(self, item: Waiting) -> None:
        """It waits no longer: its turn has come, or it was cancelled or expired before."""
        self._waiting[item.strategy_id].remove(item)
        self._items.discard(item)
        self._after_one_less(item.strategy_id)

    def _after_one_less(self, strategy_id: str) -> None:
        if self._waiting[strategy_id]:
            # Another one is its next now.
            self.look_at(strategy_id)
        else:
            del self._waiting[strategy_id]
            self._to_look_at.pop(strategy_id, None)
            self._leave_program(strategy_id)

    def _leave_program(self, strategy_id: str) -> None:
        program = self._program.pop(strategy_id, None)
        if program is None:
            return
        if program in self._served:
            del self._served[program][strategy_id]
            self._emptied.append(program)
        else:
            del self._unserved[program][strategy_id]
            if not self._unserved[program]:
                del self._unserved[program]

    def begin_turns(self) -> None:
        """A round of serving begins. Programs with nothing left waiting are forgotten."""
        for program in self._emptied:
            if program in self._served and not self._served[program]:
                del self._served[program]
        self._emptied.clear()

    # -- whose turn it is ----------------------------------------------------------------------------------

    def whose_turn(self) -> str | None:
        """The strategy whose turn it is; None: nothing waits."""
        ring = next(filter(None, (self._unserved or self._served).values()), None)
        return next(iter(ring)) if ring is not None else None

    def head(self, strategy_id: str) -> Waiting:
        """What of `strategy_id`, which waits, would go next."""
        return self._waiting[strategy_id][0]

    def serve(self, strategy_id: str) -> None:
        """The next of `strategy_id` is decided now, and will leave; its turn comes again after all others'."""
        program = self._program[strategy_id]
        ring = self._unserved.pop(program) if program in self._unserved else self._served.pop(program)
        ring.move_to_end(strategy_id)
        self._served[program] = ring

    # -- what is to be looked at ---------------------------------------------------------------------------

    def look_at(self, strategy_id: str) -> None:
        """Something has changed by which its next may be decided otherwise, if it has one."""
        if strategy_id in self._waiting:
            self._to_look_at[strategy_id] = None

    def look_at_all(self) -> None:
        """Something has changed for everybody."""
        for ring in (*self._unserved.values(), *self._served.values()):
            for strategy_id in ring:
                self._to_look_at[strategy_id] = None

    def to_look_at(self) -> str | None:
        """A strategy to look at, each in turn; None: nothing has changed."""
        strategy_id = next(iter(self._to_look_at), None)
        if strategy_id is not None:
            self._to_look_at.move_to_end(strategy_id)
        return strategy_id

    def looked_at(self, strategy_id: str) -> None:
        """Its next waits on, until something changes."""
        self._to_look_at.pop(strategy_id, None)

    # -- what waits ----------------------------------------------------------------------------------------

    def take_newcomers(self) -> list[Waiting]:
        """What was added since the last call, whether it waits still or not."""
        taken, self._newcomers = self._newcomers, []
        return taken

    def has(self, item: Waiting) -> bool:
        """Whether it waits."""
        return item in self._items

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
        return len(self._items)
