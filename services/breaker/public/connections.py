"""How many connections a link has, and whether there is room for more. Only counts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

# How many may wait at a listener until the breaker lets them in; so many come in at once, and no more. Linux lets one
# more wait than it was told, macOS half as many more.
BACKLOG = 16
MOST_AT_ONCE = BACKLOG + BACKLOG // 2 + 1
# ZeroMQ's thread may have taken a connection from the queue and not have told of it yet: an empty batch is not ended
# sooner, which would cut that connection off.
EMPTY_SECS = 0.1


@dataclass(slots=True)
class Arrivals:
    """The connections that came in by one listener. Until all who waited there are in, they count as the most."""

    since: float
    all_in: bool = False
    connections: set[int] = field(default_factory=set)

    def descriptors(self) -> int:
        """What it may have open: the connections, and the listener itself."""
        return 1 + (len(self.connections) if self.all_in else max(MOST_AT_ONCE, len(self.connections)))


class Connections:
    """The descriptors that the connections of one link have, of at most `most`.

    Its batches are known by the endpoint of their listener, its connections by their descriptor.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._batches: dict[str, Arrivals] = {}

    @property
    def taken(self) -> int:
        """Descriptors in use, or about to be. Never too low, but for one connection that has just come."""
        return sum(batch.descriptors() for batch in self._batches.values())

    def has_room(self) -> bool:
        """Whether one more batch can come in, however many wait there."""
        return self.taken + 1 + MOST_AT_ONCE <= self.most

    def let_in(self, endpoint: str, now: float) -> None:
        """All who wait at a listener may come in."""
        self._batches[endpoint] = Arrivals(now)

    def coming(self) -> list[str]:
        """Batches of which some may still have to come in."""
        return [endpoint for endpoint, batch in self._batches.items() if not batch.all_in]

    def all_in(self, endpoint: str) -> None:
        """Nobody waits any more at a listener of which all may come in."""
        self._batches[endpoint].all_in = True

    def came(self, endpoint: str, descriptor: int) -> None:
        """A connection is there."""
        batch = self._batches.get(endpoint)
        if batch is not None:
            batch.connections.add(descriptor)

    def left(self, descriptor: int) -> None:
        """A connection has ended, if it was one of ours."""
        for batch in self._batches.values():
            batch.connections.discard(descriptor)

    def endpoint_of(self, descriptor: int) -> str | None:
        """By which batch a connection has come; None: it is none of ours."""
        return next((each for each, batch in self._batches.items() if descriptor in batch.connections), None)

    def forget(self, is_open: Callable[[int], bool]) -> None:
        """Count again: what is not open any more has left without a word."""
        for batch in self._batches.values():
            batch.connections = set(filter(is_open, batch.connections))

    def take_empty(self, now: float) -> list[str]:
        """Batches of which nobody is left; they are forgotten."""
        empty = [
            endpoint
            for endpoint, batch in self._batches.items()
            if batch.all_in and not batch.connections and now - batch.since >= EMPTY_SECS
        ]
        for endpoint in empty:
            del self._batches[endpoint]
        return empty
