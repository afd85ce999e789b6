"""Requests on `control` that have come and are not answered yet: one of each program in turn. Pure.

ZeroMQ reads from all connections in turn, so a program with a hundred of them would be heard a hundred times as often
as a person who has one. So what has come is read at once, and waits here for its program's turn.
"""

from __future__ import annotations

from services.breaker.turns import Turns

# A program asks one thing at a time, one of many threads a few. A request has at most 16 KiB: 3 MB of one program.
MOST_OF_ONE = 200
# Of all together 32 MB. Each program may have one wait in any case.
MOST = 2000


class Requests:
    """What waits, by the program that has asked."""

    def __init__(self) -> None:
        self._turns = Turns[list[bytes]]()

    def refusal(self, sender: str) -> str:
        """Why nothing more of this program may wait now; empty if it may."""
        own = self._turns.waiting(sender)
        if own >= MOST_OF_ONE or (own and len(self) >= MOST):
            return f"{own} requests of this program wait already: wait for their answers"
        return ""

    def add(self, sender: str, frames: list[bytes]) -> None:
        """Let a request wait."""
        self._turns.add(sender, frames)

    def take(self) -> tuple[str, list[bytes]]:
        """The next request, with who has sent it. There must be one."""
        sender, frames = self._turns.turn()
        self._turns.done(sender)
        return sender, frames

    def __len__(self) -> int:
        return len(self._turns)
