"""Long answers that are being put together, a little in each turn and for each program in turn. Pure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from services.breaker.turns import Turns

# Each may have 256 KiB by its end. Who wants a page after the other needs one; a program of several threads a few.
MOST_OF_ONE = 8
MOST = 64


@dataclass(frozen=True, slots=True)
class Lookup:
    """An answer that is under way. `token`: the requester's envelope. `pieces`: each step does a little of it."""

    token: Any
    pieces: Generator[None, None, dict[str, Any]]


class Lookups:
    """What is under way, by the program that has asked."""

    def __init__(self) -> None:
        self._turns = Turns[Lookup]()

    def refusal(self, sender: str) -> str:
        """Why this program may not ask for one more now; empty if it may."""
        own = self._turns.waiting(sender)
        if own >= MOST_OF_ONE:
            return f"{own} long answers to this program are under way already: wait for one of them"
        if len(self) >= MOST:
            return f"{MOST} long answers are under way already: ask again in a moment"
        return ""

    def add(self, sender: str, lookup: Lookup) -> None:
        """Begin one."""
        self._turns.add(sender, lookup)

    def can_go_on(self, has_read: Callable[[Any], bool]) -> bool:
        """Whether `step` would do something now."""
        return any(has_read(lookup.token) for lookup in self._turns.firsts())

    def step(
        self, has_read: Callable[[Any], bool], is_over: Callable[[], bool]
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Go on, a row for each program in turn, until it is over; yields what is complete, with its token.

        Who has not read what he was sent before is passed over, so that no more is put together than he takes.
        """
        while self.can_go_on(has_read) and not is_over():
            sender, lookup = self._turns.turn()
            if not has_read(lookup.token):
                continue
            try:
                next(lookup.pieces)
            except StopIteration as complete:
                self._turns.done(sender)
                yield lookup.token, complete.value

    def __len__(self) -> int:
        return len(self._turns)
