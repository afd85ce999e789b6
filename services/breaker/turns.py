"""Things that wait, one of each program in turn: who has many waiting delays nobody who has one. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, by the program that it is of; the one whose turn it is stands first."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, deque[T]] = OrderedDict()

    def waiting(self, program: str) -> int:
        """How many are of this program."""
        return len(self._of.get(program, ()))

    def add(self, program: str, item: T) -> None:
        """Let it wait, behind all others of its program."""
        self._of.setdefault(program, deque()).append(item)

    def turn(self) -> tuple[str, T]:
        """The program whose turn it is, with its first; the next turn is another's. There must be one."""
        program = next(iter(self._of))
        self._of.move_to_end(program)
        return program, self._of[program][0]

    def done(self, program: str) -> None:
        """The first of this program waits no more."""
        waiting = self._of[program]
        waiting.popleft()
        if not waiting:
            del self._of[program]

    def firsts(self) -> Iterator[T]:
        """The first of each program."""
        return (waiting[0] for waiting in self._of.values())

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))
