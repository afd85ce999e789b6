"""A dict of bounded size, for keeping something about each name that is heard. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Topics, scopes and strategies that a listener follows: ten times as many as may have a circuit by setting, so that
# names which somebody makes up push out no one that trades.
MOST_NAMES = 10_000


class Bounded(OrderedDict[K, V]):
    """At most `most` entries. Setting a key moves it to the end; if there are too many, the one at the front goes."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.most:
            self.popitem(last=False)
