"""What a circuit has done: kept until somebody takes it, and told to a listener, whatever that does. Pure."""

from collections import deque
from collections.abc import Callable

from orderfuse.circuit.types import Transition

# Who takes them does so after every call, which makes a few; who never does keeps so many.
MOST_UNTAKEN = 100


class Announcer:
    """Hands transitions to one listener, in order, one at a time, and outlives what it raises.

    A listener may call back into the breaker. What that moves is announced after the listener has returned,
    so that it never sees a later transition before an earlier one.

    Attributes:
        listener: Gets each transition; None: nobody does.
        errors: How often the listener raised.
    """

    __slots__ = ("_busy", "_untaken", "_waiting", "errors", "listener")

    def __init__(self) -> None:
        self.listener: Callable[[Transition], object] | None = None
        self.errors = 0
        self._waiting: deque[Transition] = deque()
        self._untaken: list[Transition] = []
        self._busy = False

    def add(self, transition: Transition) -> None:
        """A transition has begun; it is announced when the breaker has moved completely."""
        self._waiting.append(transition)
        self._untaken.append(transition)
        del self._untaken[:-MOST_UNTAKEN]

    def take(self) -> list[Transition]:
        """What was added since the last call, the oldest first; of much, the latest."""
        taken, self._untaken = self._untaken, []
        return taken

    def forget(self) -> None:
        """Drop what was added: nobody hears of it."""
        self._waiting.clear()
        self._untaken.clear()

    def announce(self) -> None:
        """Tell the listener everything that was added."""
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._tell(self._waiting.popleft())
        finally:
            self._busy = False

    def _tell(self, transition: Transition) -> None:
        if self.listener is None:
            return
        try:
            self.listener(transition)
        except Exception:  # noqa: BLE001 - whatever a listener does wrong, the circuit has moved and stays moved
            self.errors += 1
