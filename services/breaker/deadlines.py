"""What happens when time alone has passed: deadlines, as data. Pure.

A deadline says what is due and for whom; whoever finds it due decides what to do, as things stand then. So nothing has
to be called off: an order that was answered in time is looked at once more, and left alone. The circuits have a table
of their own, since any look may find that their time has come.

What a restart does: of an order, the deadline goes on by its times in the journal; the executor is asked what became of
a change; a heartbeat runs anew; an executor is awaited; what waits is gone, since it was never promised.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

# Of entries in the heap that mean nothing any more so many may be there beside one for each deadline.
MOST_STALE = 1000


class Due(Enum):
    """What is due, and whose name stands in the deadline."""

    # An order, by its id:
    TTL = "an order that waits is too old"
    ANSWER = "an order beyond the breaker has no answer of IB's"
    CANCEL_ANSWER = "the cancels of an order that ended otherwise have no answer"
    # The order that it would change, or the change itself:
    TTL_OF_CHANGE = "a replace that waits is too old"
    ANSWER_TO_CHANGE = "a replace has no answer of IB's"
    # A strategy:
    HEARTBEAT = "a strategy has fallen silent"
    # A circuit, by its scope:
    CIRCUIT = "time alone changes a circuit"
    REPEAT = "a state is told again"
    # Nobody in particular:
    EXECUTOR = "the executor has fallen silent"
    STOP_FILE = "the file STOP came without a request"
    ENDS_TO_TELL = "the journal is asked once more which orders that the executor doubts have their end"


OF_ORDERS = frozenset(
    {Due.TTL, Due.ANSWER, Due.CANCEL_ANSWER, Due.TTL_OF_CHANGE, Due.ANSWER_TO_CHANGE},
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """What is due, and for whom."""

    what: Due
    whose: str = ""


class Deadlines:
    """Each deadline once; one that is set again has its new time. Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        # With each the time of its one entry in the heap that counts. A later time needs no new entry: the old one is
        # found too early and put back. So a heartbeat, or an executor's word, costs no more than a dictionary's entry.
        self._due: dict[Deadline, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, Deadline]] = []
        self._count = 0

    def set(self, deadline: Deadline, due_ns: int) -> None:
        """It is due then, and at no other time."""
        known = self._due.get(deadline)
        if known is not None and known[1] <= due_ns:
            self._due[deadline] = due_ns, known[1]
            return
        self._due[deadline] = due_ns, due_ns
        self._push(deadline, due_ns)
        if len(self._heap) > 2 * len(self._due) + MOST_STALE:
            self._rebuild()

    def drop(self, deadline: Deadline) -> None:
        """It is no longer due."""
        self._due.pop(deadline, None)

    def take_due(self, now_ns: int) -> list[Deadline]:
        """What is due by now, in the order of the times; it is in the table no more."""
        taken: list[Deadline] = []
        while self._heap and self._heap[0][0] <= now_ns:
            at_ns, _, deadline = heapq.heappop(self._heap)
            known = self._due.get(deadline)
            if known is None or known[1] != at_ns:
                continue
            if known[0] <= now_ns:
                del self._due[deadline]
                taken.append(deadline)
            else:
                self._due[deadline] = known[0], known[0]
                self._push(deadline, known[0])
        return taken

    def _push(self, deadline: Deadline, due_ns: int) -> None:
        self._count += 1
        heapq.heappush(self._heap, (due_ns, self._count, deadline))

    def _rebuild(self) -> None:
        due, self._heap = self._due, []
        self._due = {deadline: (due_ns, due_ns) for deadline, (due_ns, _) in due.items()}
        for deadline, (due_ns, _) in self._due.items():
            self._push(deadline, due_ns)

    def __contains__(self, deadline: Deadline) -> bool:
        return deadline in self._due

    def __iter__(self) -> Iterator[Deadline]:
        return iter(self._due)
