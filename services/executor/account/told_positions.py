"""Positions that IB has told unasked and that our fills do not explain: somebody else trades. Pure.

A fill and the position that it makes travel apart, so a position is looked at again after a moment.
"""

from __future__ import annotations

from collections.abc import Callable

# How long a position stands before it counts.
STANDS_SECS = 2.0


class ToldPositions:
    """The last word on each contract, until it is explained or has stood for long enough."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[float, float]] = {}

    def on_told(self, con_id: int, quantity: float, now: float) -> None:
        """IB tells a position. The same one once more leaves its time as it is."""
        before = self._told.get(con_id)
        if before is None or before[0] != quantity:
            self._told[con_id] = (quantity, now)

    def unexplained(self, explains: Callable[[int, float], bool], now: float) -> bool:
        """Whether one has stood for long enough without an explanation; True once for each.

        `explains`: whether our fills make this position of this contract.
        """
        found = False
        for con_id, (quantity, at) in list(self._told.items()):
            if now - at >= STANDS_SECS:
                del self._told[con_id]
                found = found or not explains(con_id, quantity)
        return found
