"""What must hold after each step, whatever came. Pure.

A broken one ends the process: a crash is what the pipeline survives best.
"""

from __future__ import annotations

from services.breaker.batch import Batch
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.orders import OrderRecord
from services.wire.dispatch import Place


def check(core: Core, batch: Batch, fence_before: int) -> None:
    """Look at what a step leaves behind, and at what it hands out. `fence_before`: the one that was handed out before.

    Raises:
        AssertionError: this program is wrong, and what it would do next nobody knows.
    """
    assert core.fence >= fence_before, f"the fence went back from {fence_before} to {core.fence}"
    assert batch.fence in (None, core.fence), f"fence {batch.fence} is saved, and {core.fence} is the one that holds"
    for order_id in core.out:
        _has_no_answer(core, order_id)
    for record in batch.orders.values():
        ended = record.end is not None
        assert (record.state == "done") is ended, f"{record.order_id} is {record.state}, its end is {record.end}"
        _stands_where_it_waits(core, record)
    if batch.dispatch or batch.publications:
        _passed_is_handed_over(batch)


def _has_no_answer(core: Core, order_id: str) -> None:
    """What takes a place in the window waits for IB, or it would never give the place back."""
    record = core.orders.get(order_id.partition("~")[0])
    assert record is not None, f"{order_id} is in the window and not in memory"
    if "~" in order_id:
        changing = record.change is not None and record.change.order_id == order_id
        assert changing, f"{order_id} is in the window and not under way"
    else:
        assert record.state == "out", f"{order_id} is in the window and {record.state}"


def _stands_where_it_waits(core: Core, record: OrderRecord) -> None:
    """What is saved waits in no queue; what waits for IB has a place in the window, and not for ever."""
    order_id, change = record.order_id, record.change
    assert record.state != "queued", f"{order_id} waits, and would be on disk: the next process would wait for nothing"
    assert not core.queues.has(record), f"{order_id} is {record.state}, and waits in a queue"
    if record.in_window():
        assert record.parent or order_id in core.out, f"{order_id} is out and takes no place in the window"
        assert Deadline(Due.ANSWER, order_id) in core.deadlines, f"{order_id} is out for ever"
    if change is not None and change.order_id in core.out:
        is_due = Deadline(Due.ANSWER_TO_CHANGE, change.order_id) in core.deadlines
        assert is_due, f"{change.order_id} is in the window for ever"


def _passed_is_handed_over(batch: Batch) -> None:
    """Who is told that an order passed has it handed over in the same batch, and nothing else is."""
    told = {
        item.fields["order_id"]
        for item in batch.publications
        if item.fields["kind"] == "passed" and not item.fields.get("again")
    }
    placed = [each.message for each in batch.dispatch if isinstance(each.message, Place)]
    handed = {order_id for place in placed for order_id in (place.order_id, *(leg.order_id for leg in place.attached))}
    assert told == handed, f"told as passed {sorted(told)}, handed over {sorted(handed)}"
    for place in placed:
        order = batch.orders.get(place.order_id)
        assert order is not None, f"{place.order_id} is handed over and not saved"
