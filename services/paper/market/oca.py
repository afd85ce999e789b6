"""What a fill does to the rest of an OCA group, by IB's `ocaType`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from services.paper.market.orders import Order
from services.paper.market.updates import Update

if TYPE_CHECKING:
    from services.paper.market.matching import MatchingEngine

# Reduce the others in proportion, with or without a block. IB's page on the order class names 1 to 3.
REDUCE = frozenset({2, 3})
_DUST = 1e-9


def after_fill(engine: MatchingEngine, order: Order, shares: float, now: float) -> list[Update]:
    """End or shrink the other orders of a group.

    Args:
        engine: Whose book it is.
        order: What was filled; its `oca_type` decides for all.
        shares: How many were filled just now.
        now: Wall-clock seconds.
    """
    left = order.remaining / (order.remaining + shares)
    updates: list[Update] = []
    for other in engine.book.group_of(order):
        if other is order or not other.live:
            continue
        if left > 0 and order.ticket.oca_type in REDUCE:
            if other.held:
                continue
            quantity = other.filled + _share(other, left)
            if quantity < other.ticket.quantity:
                updates += engine.resize(other, quantity)
        else:
            updates += engine.end(other, now)
    return updates


def _share(order: Order, left: float) -> float:
    """Return so much of what remains of an order, at least one whole unit where it has whole units."""
    share = order.remaining * left
    whole = float(order.remaining).is_integer()
    return max(1.0, math.floor(share + _DUST)) if whole else share
