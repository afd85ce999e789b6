"""Open orders of the account that are not ours: of other clients, and those placed by hand. Pure.

IB lists all open orders when it is asked, and tells a master client of each at once. An order stands from then on
until two lists in a row lack it, or until a person accepts it. What was accepted is that order as it was: with another
side, quantity, type or contract it is told anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice

from msgspec import structs

from orderfuse.bus.control import MAX_TOLD
from services.executor.account.position_breaks import MAX_SYMBOL
from services.gateway.reports import OpenOrderReport
from services.wire.standing import ForeignOrder

# Lists in a row without an order until it has gone.
MISSING_LISTS = 2
# As many as IB lets work at once in the largest accounts, many times over.
MAX_SEEN = 10_000
# IB's longest words are SSHORT and TRAIL LIMIT.
MAX_ACTION, MAX_TYPE = 8, 12
# What IB still says of orders that are over.
ENDED = frozenset({"Filled", "Cancelled", "ApiCancelled"})

# As `ForeignOrder.key` has it.
_Key = tuple[int, int, int]


def foreign_order(report: OpenOrderReport) -> ForeignOrder:
    """What is told of an order that is not ours."""
    return ForeignOrder(
        perm_id=report.perm_id,
        client_id=report.client_id,
        ib_order_id=report.ib_order_id,
        action=report.action[:MAX_ACTION],
        quantity=report.quantity,
        order_type=report.order_type[:MAX_TYPE],
        con_id=report.con_id,
        symbol=report.symbol[:MAX_SYMBOL],
        **asdict(report.traits),
    )


@dataclass(slots=True)
class _Seen:
    order: ForeignOrder
    missing: int = 0


class ForeignOrders:
    """Those that IB has listed and that have not gone.

    Args:
        accepted: orders that a person has accepted: they are told no more while they are as they were then.
    """

    def __init__(self, accepted: Iterable[ForeignOrder] = ()) -> None:
        self._seen: dict[_Key, _Seen] = {}
        self._accepted = {order.key: _Seen(order) for order in accepted}
        # The permanent ids of those that were accepted as what they are no more.
        self._outdated: set[int] = set()
        self._listed: set[_Key] = set()
        self._new: list[ForeignOrder] = []
        self._asked = False
        self._told: tuple[ForeignOrder, ...] | None = ()

    @property
    def told(self) -> tuple[ForeignOrder, ...]:
        """The first of those that stand."""
        if self._told is None:
            self._told = tuple(seen.order for seen in islice(self._seen.values(), MAX_TOLD))
        return self._told

    def on_list_begun(self) -> None:
        """IB is asked for all open orders."""
        self._listed.clear()
        self._asked = True

    def on_order(self, report: OpenOrderReport) -> None:
        """IB says that an order which is not ours is open."""
        if report.status in ENDED:
            return
        order = foreign_order(report)
        key = order.key
        self._listed.add(key)
        if self._is_accepted(key, order):
            return
        seen = self._seen.get(key)
        if seen is not None:
            seen.order, seen.missing = order, 0
        elif len(self._seen) < MAX_SEEN:
            self._seen[key] = _Seen(order)
            self._new.append(order)
        self._told = None

    def _is_accepted(self, key: _Key, order: ForeignOrder) -> bool:
        """Whether a person has accepted it as it is. One that has changed since is accepted no more."""
        accepted = self._accepted.get(key)
        if accepted is None or _terms(accepted.order) == _terms(order):
            return accepted is not None
        del self._accepted[key]
        self._outdated.add(order.perm_id)
        return False

    def take_new(self) -> list[ForeignOrder]:
        """Those that nobody has been told of."""
        new, self._new = self._new, []
        return new

    def on_list_end(self) -> tuple[list[ForeignOrder], list[int]]:
        """The list is complete. Returns what has gone, and the permanent ids of those that are accepted no more."""
        if not self._asked:
            return [], []
        self._asked = False
        gone = self._gone_of(self._seen)
        if gone:
            self._told = None
        outdated, self._outdated = self._outdated, set()
        outdated.update(order.perm_id for order in self._gone_of(self._accepted))
        return gone, sorted(outdated - {0})

    def _gone_of(self, orders: dict[_Key, _Seen]) -> list[ForeignOrder]:
        for key, seen in orders.items():
            seen.missing = 0 if key in self._listed else seen.missing + 1
        gone = [key for key, seen in orders.items() if seen.missing >= MISSING_LISTS]
        return [orders.pop(key).order for key in gone]

    def accepted(self, orders: Iterable[ForeignOrder]) -> list[ForeignOrder]:
        """Those of these that stand just so, and would be told no more if a person accepts them."""
        standing = [(self._seen[order.key].order, order) for order in orders if order.key in self._seen]
        return [now for now, order in standing if _terms(now) == _terms(order)]

    def accept(self, orders: Iterable[ForeignOrder]) -> None:
        """Tell of these no more, until they have gone or changed."""
        for order in orders:
            key = order.key
            self._accepted[key] = _Seen(order)
            self._outdated.discard(order.perm_id)
            self._seen.pop(key, None)
        self._told = None


def _terms(order: ForeignOrder) -> ForeignOrder:
    """What was accepted of an order: all but its numbers, which IB may give anew to an order by hand."""
    return structs.replace(order, client_id=0, ib_order_id=0)
