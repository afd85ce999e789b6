"""Which process something belongs to: a fork leaves its child no socket of ZeroMQ (pyzmq issue 1091), and no lock."""

from __future__ import annotations

import os

from orderfuse.errors import UsedAfterFork


class Birthplace:
    """The process in which an object was made. `what` names the object to people."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is still that process, and no child of it by a fork."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Do nothing in that process.

        Raises:
            UsedAfterFork: this is another one.
        """
        if not self.is_here:
            raise UsedAfterFork(
                f"this {self._what} was made in process {self._pid}, and this is process {os.getpid()}, a fork of it: "
                f"nothing was sent. Make a new {self._what} in the child"
            )
