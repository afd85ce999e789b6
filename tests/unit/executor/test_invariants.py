"""What ends the executor's process rather than being wrong quietly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orderfuse.bus.events import Invalid, NotPlaced
from orderfuse.bus.orders import Attached
from orderfuse.settings import ExecutorSettings, IbSettings
from services.executor.batch import Batch
from services.executor.breaker_link import Waiting
from services.executor.inputs import Done, Ordered, Tick, Unsent
from services.executor.invariants import check_batch
from services.executor.journal import Journal
from services.executor.orders.ends import Ending
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.order_ends import try_end
from services.executor.orders.records import Change, Effects, OrderRecord
from services.executor.stage import Stage
from services.gateway.checks import CheckedOrder
from services.gateway.frames import Ask, CancelOrder, ChangeOrder, Dial, Frame, PlaceOrders, WireOrder
from services.gateway.reports import Accounts, Dialled, Heard, NextOrderId, RequestEnd
from services.runtime.now import Now
from tests.orders import MARKET, STOCK, place
from tests.unit.executor.bench import Bench


class Rig:
    """The real stage with its real journal, and a gateway that answers every question."""

    def __init__(self, window: int = 8) -> None:
        self.journal = Journal(None, 7)
        executor = ExecutorSettings(foreign_orders="ignore")
        saved = self.journal.saved()
        self.secs = 100.0
        self.stage = Stage(
            IbSettings(),
            executor,
            window=window,
            saved=saved,
            history=self.journal,
            executor_id="executor",
            alone=True,
        )
        for _ in range(5):
            self.step(Tick())
        assert self.stage.core.life.usable

    def step(self, event: Any) -> Batch:
        """Step, save, and answer what was asked."""
        self.secs += 0.1
        batch = self._step(event)
        self.journal.save(batch.keep, 1)
        self._step(Done())
        for frame in batch.frames:
            for answer in self._answers(frame):
                self._step(answer)
        return batch

    def _step(self, event: Any) -> Batch:
        return self.stage.step(event, Now(int(self.secs * 1e9), int(self.secs * 1e9)))

    def _answers(self, frame: Frame) -> list[Any]:
        match frame:
            case Dial(number):
                told = (Accounts(("DU1",)), NextOrderId(1))
                return [*(Heard(number, each) for each in told), Dialled(number)]
            case Ask(question):
                return [Heard(1, RequestEnd(question))]
            case _:
                return []


def wire(order_id: str, number: int, *, parent: int = 0, last: bool = True) -> WireOrder:
    return WireOrder(order_id, number, {}, {}, "DU1", parent_id=parent, transmit=last)


def record(order_id: str, number: int, **more: Any) -> OrderRecord:
    return OrderRecord(order_id, "s1", number, 100, **more)


def bracket(*orders: WireOrder, until: float = 10.0, saved: tuple[str, ...] = ("o-1", "o-2", "o-3")) -> Batch:
    batch = Batch(frames=[PlaceOrders(orders or SOUND, until)])
    numbers = {order.order_id: order.ib_order_id for order in orders or SOUND}
    batch.keep.intents = [record(each, numbers[each]) for each in saved if each in numbers]
    return batch


SOUND = (wire("o-1", 4, last=False), wire("o-2", 5, parent=4, last=False), wire("o-3", 6, parent=4))
CHANGE = ChangeOrder(wire("o-1", 4), 10.0)


def check(batch: Batch, *, usable: bool = True, journal_error: str = "") -> None:
    check_batch(batch, 5.0, usable=usable, journal_error=journal_error)


def change(frame: ChangeOrder = CHANGE, **more: Any) -> Batch:
    batch = Batch(frames=[frame])
    batch.keep.orders["o-1"] = record("o-1", 4, **more)
    return batch


def test_a_sound_batch_passes() -> None:
    check(bracket())
    check(change(change=Change("r-1", 1, {})))
    check(Batch(frames=[CancelOrder("o-1", 4)]), usable=False, journal_error="the disk is full")


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (bracket(saved=("o-1", "o-3")), "o-2 leaves without its intent"),
        (bracket(until=5.0), "the lease is over"),
        (bracket(SOUND[0], replace(SOUND[1], ib_order_id=4), SOUND[2]), "do not grow"),
        (bracket(SOUND[0], replace(SOUND[1], parent_id=3), SOUND[2]), "a leg of another bracket"),
        (bracket(SOUND[0], replace(SOUND[1], transmit=True), SOUND[2]), "no unit"),
        (bracket(SOUND[0], SOUND[1]), "no unit"),
        (Batch(frames=[CHANGE]), "without an intent"),
        (change(), "no change is saved"),
        (change(replace(CHANGE, until=4.9), change=Change("r-1", 1, {})), "the lease is over"),
        (change(ChangeOrder(wire("o-1", 0), 10.0), change=Change("r-1", 1, {})), "IB has no number for it"),
        (Batch(frames=[CancelOrder("o-1", 0)]), "IB has no number for it"),
    ],
)
def test_a_batch_that_would_break_a_promise_ends_the_process(batch: Batch, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check(batch)


@pytest.mark.parametrize("batch", [bracket(), change(change=Change("r-1", 1, {}))])
def test_neither_an_order_nor_a_change_leaves_without_a_journal_or_a_gateway(batch: Batch) -> None:
    with pytest.raises(AssertionError, match="the journal takes nothing: the disk is full"):
        check(batch, journal_error="the disk is full")
    with pytest.raises(AssertionError, match="not usable"):
        check(batch, usable=False)


def test_the_stage_checks_each_batch_that_it_hands_out() -> None:
    rig = Rig()
    rig.stage.core.journal_error = "the disk is full"
    with pytest.raises(AssertionError, match="the journal takes nothing"):
        rig.step(Ordered(CheckedOrder("o-1", "s1", STOCK, MARKET)))


def test_more_orders_than_the_window_end_the_process() -> None:
    rig = Rig(window=2)
    rig.step(Ordered(CheckedOrder("o-1", "s1", STOCK, MARKET)))
    rig.step(Ordered(CheckedOrder("o-2", "s1", STOCK, MARKET)))
    with pytest.raises(AssertionError, match="3 orders are written and unanswered, 2 may be"):
        rig.step(Ordered(CheckedOrder("o-3", "s1", STOCK, MARKET)))


def test_what_became_of_a_frame_that_was_never_handed_out_ends_the_process() -> None:
    rig = Rig()
    with pytest.raises(AssertionError, match="not handed out"):
        rig.stage.step(Done("", (Unsent(CHANGE, "why"),)), Now(int(200e9), 0))


@pytest.mark.parametrize("ended", ["filled", "cancelled", "rejected"])
def test_an_end_that_ib_has_told_of_is_not_told_again(ended: Any) -> None:
    order = OrderAtIb(record("o-1", 4, ended=ended))
    order.ending = Ending("cancelled", 0.0, explained=True, numbered=True)
    with pytest.raises(AssertionError, match="and is to be 'cancelled'"):
        try_end(order, 10.0, Effects())


def test_an_order_that_is_over_is_not_called_not_placed() -> None:
    bench = Bench()
    fact = NotPlaced(order_id="o-1", strategy_id="s1", code="undelivered", reason="why")
    bench.ledger.on_not_written(fact)
    with pytest.raises(AssertionError, match="o-1 was not_placed"):
        bench.ledger.on_not_written(fact)


@pytest.mark.parametrize(
    ("ended", "allowed"),
    [
        ("", {"filled", "cancelled", "rejected", "not_placed", "settled"}),
        ("filled", {"", "filled"}),
        ("cancelled", {"", "filled"}),
        ("rejected", {"", "filled"}),
        ("not_placed", {"", "filled", "cancelled", "rejected"}),
        ("settled", {"", "filled", "cancelled", "rejected"}),
    ],
)
def test_an_end_becomes_another_one_only_where_ib_knows_better(ended: Any, allowed: set[str]) -> None:
    every: tuple[Any, ...] = ("", "filled", "cancelled", "rejected", "not_placed", "settled")
    for how in every:
        one = record("o-1", 4, ended=ended)
        if how in allowed:
            one.end(how)
            assert one.ended == how
        else:
            with pytest.raises(AssertionError, match="o-1 was"):
                one.end(how)
            assert one.ended == ended


def test_an_order_is_remembered_once() -> None:
    bench = Bench()
    with pytest.raises(AssertionError, match="in memory already"):
        bench.ledger.intend(record("o-1", 9))


def test_a_change_is_meant_to_be_written_once() -> None:
    bench = Bench()
    bench.ledger.changes.intend("o-1", Change("r-1", 1, {}))
    with pytest.raises(AssertionError, match="meant to be written before"):
        bench.ledger.changes.intend("o-1", Change("r-2", 1, {}))


def test_a_bracket_with_a_leg_that_was_on_its_way_before_is_invalid_and_nothing_of_it_is_written() -> None:
    rig = Rig()
    rig.step(Ordered(CheckedOrder("leg", "s1", STOCK, MARKET)))
    bracket = place("parent", 1, attached=(Attached(order_id="leg", order=MARKET),))
    link = rig.stage.link
    link.fences, link.lease_until = {"system": 1}, 1000.0
    link.inbox.append(Waiting(bracket, rig.secs))
    batch = rig.step(Tick())
    assert not [frame for frame in batch.frames if isinstance(frame, PlaceOrders)]
    ((fact, _),) = [entry for entry in batch.keep.facts if isinstance(entry[0], Invalid)]
    assert isinstance(fact, Invalid)
    assert fact.reason == "the attached order leg: an order with this id was on its way to IB before"


def test_an_order_that_is_over_is_in_no_doubt_after_a_restart() -> None:
    bench = Bench()
    ended = record("o-9", 9, ended="rejected", change=Change("r-1", 1, {}))
    bench.ledger.restore([ended])
    assert "o-9" not in bench.ledger.doubts()
