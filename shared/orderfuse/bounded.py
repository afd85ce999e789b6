"""A dict that cannot grow without end, for whoever keeps something of each name that is heard. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Topics, scopes and strategies that a listener follows: ten times as many as may have a circuit by setting, so that
# names which somebody makes up push out no one that trades.
MOST_NAMES = 10_000


class Bounded(OrderedDict[K, V]):
    """At most `most` entries, the one that was set last at the end: of more, the one goes that was quiet longest."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.most:
            self.popitem(last=False)
