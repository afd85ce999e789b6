"""What must be true of whatever leaves for IB, whatever came in. A broken one ends the process. Pure.

A process that ends is what the pipeline survives best: nothing more leaves, and the next one begins from the disk.
"""

from __future__ import annotations

from typing import assert_never

from services.executor.batch import Batch
from services.gateway.frames import Ask, CancelEverything, CancelOrder, ChangeOrder, Dial, HangUp, PlaceOrders


def check_batch(batch: Batch, now: float, *, usable: bool, journal_error: str) -> None:
    """Check one step's batch before it is handed out.

    Args:
        batch: with all that is to be saved with it.
        now: monotonic seconds.
        usable: the gateway may be written orders to.
        journal_error: why nothing is saved; empty if the journal works.
    """
    for frame in batch.frames:
        match frame:
            case PlaceOrders():
                _check_leaving(frame, now, usable=usable, journal_error=journal_error)
                _check_orders(frame, batch)
            case ChangeOrder(order):
                _check_leaving(frame, now, usable=usable, journal_error=journal_error)
                saved = batch.keep.orders.get(order.order_id)
                assert saved is not None, f"the change of {order.order_id} leaves without an intent"
                assert saved.change is not None, f"{order.order_id} is to be changed, and no change is saved with it"
                assert order.ib_order_id > 0, f"{order.order_id} is to be changed, and IB has no number for it"
            case CancelOrder(order_id, ib_order_id):
                assert ib_order_id > 0, f"{order_id} is to be cancelled, and IB has no number for it"
            case Dial() | HangUp() | Ask() | CancelEverything():
                pass
            case _:
                assert_never(frame)


def _check_leaving(frame: PlaceOrders | ChangeOrder, now: float, *, usable: bool, journal_error: str) -> None:
    assert not journal_error, f"an order leaves although the journal takes nothing: {journal_error}"
    assert usable, "an order leaves although the gateway is not usable"
    assert now < frame.until, "an order leaves although the lease is over"


def _check_orders(frame: PlaceOrders, batch: Batch) -> None:
    intents = {record.order_id: record.ib_order_id for record in batch.keep.intents}
    numbers = [order.ib_order_id for order in frame.orders]
    for order in frame.orders:
        assert intents.get(order.order_id) == order.ib_order_id, f"{order.order_id} leaves without its intent"
    assert numbers == sorted(set(numbers)), f"the numbers of a bracket do not grow: {numbers}"
    parent, *legs = frame.orders
    assert all(leg.parent_id == parent.ib_order_id for leg in legs), "a leg of another bracket"
    # TWS holds back all until the last is transmitted.
    assert [order.transmit for order in frame.orders] == [*(False for _ in legs), True], "a bracket that is no unit"
