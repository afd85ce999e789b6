"""One call at a time: what threads share, and what neither a signal handler nor a child of a fork may use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orderfuse.client.birthplace import Birthplace
from orderfuse.errors import OrderError


class Turns:
    """Gives each thread its turn, roughly in the order in which they wait.

    Args:
        what: the object, as people are told of it.
        closed: whether it is closed by now.
    """

    def __init__(self, what: str, closed: Callable[[], bool]) -> None:
        self._what = what
        self._closed = closed
        self._birthplace = Birthplace(what)
        # Both kinds are RLocks, so that a signal handler's call is an error and not a deadlock. Whoever
        # wants `_busy` waits in `_next` for it: so a loop that releases and takes it again is not alone.
        self._next, self._busy = threading.RLock(), threading.RLock()
        self._taken = False

    @property
    def is_here(self) -> bool:
        """Whether this is no child of the process that made it."""
        return self._birthplace.is_here

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A call's turn.

        Raises:
            UsedAfterFork: this is a child of the process that made it.
            RuntimeError: this thread has its turn already.
            OrderError: it is closed.
        """
        # Before the locks: one that another thread held at the fork is held for ever in the child.
        self._birthplace.check()
        with self._next:
            self._busy.acquire()
        try:
            if self._taken:
                raise RuntimeError(f"{self._what} was called from within its own call (a signal handler?)")
            if self._closed():
                raise OrderError(f"this {self._what} is closed")
            self._taken = True
            try:
                yield
            finally:
                self._taken = False
        finally:
            self._busy.release()

    @contextmanager
    def last(self) -> Iterator[None]:
        """The turn in which it is closed."""
        with self._next, self._busy:
            yield
