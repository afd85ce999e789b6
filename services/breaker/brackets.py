"""Brackets: an order with attached ones, a single unit until IB has it. Pure.

The parent alone waits, is judged, and takes a place in the window and a trial; what is decided of it is
decided of every leg. Beyond the breaker each leg is an order of its own, with events of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orderfuse.bus.events import OrderEvent
from orderfuse.bus.orders import Attached, Submit
from orderfuse.ibfields.checks import InvalidFields, check_order
from services.breaker.core import Core
from services.breaker.orders import OrderRecord


def checked_legs(
    submit: Submit, parent: OrderRecord, allow: frozenset[str], was_used: Callable[[str], bool]
) -> list[OrderRecord]:
    """The records of the attached orders. `was_used`: whether there was an order of this id.

    Raises:
        InvalidFields: one of them can't be sent; so the whole bracket can't.
    """
    taken = {submit.order_id}
    legs = []
    for number, leg in enumerate(submit.attached):
        where = f"attached[{number}]"
        if leg.order_id in taken or was_used(leg.order_id):
            raise InvalidFields(f"{where}.order_id {leg.order_id!r} was used before; each leg needs an id of its own")
        taken.add(leg.order_id)
        try:
            order = check_order(leg.order, allow=allow)
        except InvalidFields as error:
            raise InvalidFields(f"{where} ({leg.order_id}): {error}") from None
        legs.append(_record(parent, leg.order_id, order))
    return legs


def legs_of(core: Core, parent: OrderRecord) -> list[OrderRecord]:
    """The attached orders of `parent` that have no end yet."""
    found = (core.orders.get(order_id) for order_id in parent.attached)
    return [leg for leg in found if leg is not None and leg.state != "done"]


def attached_of(core: Core, parent: OrderRecord) -> tuple[Attached, ...]:
    """The legs as they are handed over with their parent."""
    return tuple(Attached(order_id=leg.order_id, order=leg.order) for leg in legs_of(core, parent))


def waiting_legs_of(core: Core, parent: OrderRecord) -> list[OrderRecord]:
    """The legs that wait with their parent. One of an earlier life, which was found at IB, does not end with it."""
    return [leg for leg in legs_of(core, parent) if leg.state == "queued"]


def end_legs(core: Core, parent: OrderRecord, event: OrderEvent) -> None:
    """None of the unit went to IB: each leg ends as its parent does, but for those that IB has all the same."""
    for leg in legs_of(core, parent):
        if not leg.accepted:
            core.end(leg, for_leg(leg, event))


def for_leg(leg: OrderRecord, event: OrderEvent) -> OrderEvent:
    """What is said of the parent, said of a leg."""
    return msgspec.structs.replace(event, order_id=leg.order_id, at_ns=0, seq=0, supersedes=None)


def stays_at_an_automatic_cancel(core: Core, record: OrderRecord) -> bool:
    """Whether cancelling this order by itself would leave a position without its protection.

    A leg whose parent has fills protects them; a parent with fills and a working leg would take that leg along.
    And a leg whose parent lives is ended by IB together with it.
    """
    if record.parent:
        parent = core.orders.get(record.parent)
        return parent is not None and (parent.filled > 0 or parent.state != "done")
    return record.filled > 0 and any(leg.state == "working" for leg in legs_of(core, record))


def _record(parent: OrderRecord, order_id: str, order: dict[str, object]) -> OrderRecord:
    return OrderRecord(
        order_id=order_id,
        strategy_id=parent.strategy_id,
        # A submit under a leg's own id is another order, and never a resend.
        digest=b"",
        account=parent.account,
        contract=parent.contract,
        order=order,
        protect=parent.protect,
        ttl_ms=parent.ttl_ms,
        arrived_ns=parent.arrived_ns,
        age_at_arrival_ns=parent.age_at_arrival_ns,
        ahead_at_arrival_ns=parent.ahead_at_arrival_ns,
        arrived_wall_ns=parent.arrived_wall_ns,
        sender=parent.sender,
        parent=parent.order_id,
    )
