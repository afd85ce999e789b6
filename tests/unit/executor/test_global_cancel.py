"""A global cancel goes again until IB lists none of the orders that it was for."""

from __future__ import annotations

from services.executor.global_cancel import AGAIN_EVERY_SECS, GlobalCancelDebt, OwedCancel
from services.executor.inputs import Done, Told, Unsent
from services.gateway.frames import CancelEverything, CancelOrder
from services.gateway.reports import Closed
from services.wire import dispatch
from services.wire.dispatch import GlobalCancel
from tests.orders import RESTING, place
from tests.unit.executor.test_stage import opened, working, works


def asked(number: int = 1, left_ms: int = 600_000, now: float = 100.0) -> GlobalCancelDebt:
    debt = GlobalCancelDebt(None)
    assert debt.ask(GlobalCancel(reason="x", number=number, left_ms=left_ms), now)
    return debt


def sent(now: float = 100.0) -> GlobalCancelDebt:
    debt = asked(now=now)
    assert debt.is_due(now)
    debt.on_sent(now)
    return debt


def test_without_one_nothing_is_due() -> None:
    debt = GlobalCancelDebt(None)
    assert not debt.is_due(1.0)
    assert not debt.waits_for_list()
    assert debt.on_listed({7}, 1.0) is None


def test_it_is_done_when_ib_lists_nothing() -> None:
    debt = sent()
    assert debt.waits_for_list()
    assert debt.on_listed(set(), 100.1) == 1
    assert debt.owed is None
    assert not debt.is_due(200.0)


def test_it_goes_again_while_one_of_the_orders_is_listed_and_never_for_a_later_one() -> None:
    debt = sent()
    assert debt.on_listed({7, 8}, 100.1) is None
    assert not debt.is_due(100.0 + AGAIN_EVERY_SECS - 0.1)
    assert debt.is_due(100.0 + AGAIN_EVERY_SECS)
    debt.on_sent(110.0)
    assert debt.on_listed({8, 9}, 110.1) is None
    assert debt.owed == OwedCancel(1, listed=[8]), "9 was placed since"
    assert debt.on_listed({9}, 110.2) == 1


def test_a_list_that_was_asked_for_before_it_left_proves_nothing() -> None:
    debt = sent()
    assert debt.on_listed(set(), 99.9) is None
    assert debt.owed is not None


def test_over_a_new_connection_it_leaves_at_once() -> None:
    debt = sent()
    debt.on_listed({7}, 100.1)
    debt.on_new_connection()
    assert debt.is_due(100.2)
    assert debt.owed == OwedCancel(1, listed=[7])


def test_the_same_one_told_again_is_no_new_one_and_an_earlier_one_is_none_at_all() -> None:
    debt = sent()
    assert not debt.ask(GlobalCancel(reason="x", number=1, left_ms=1000), 101.0)
    assert not debt.is_due(101.0)
    assert not debt.ask(GlobalCancel(reason="x", number=0, left_ms=1000), 101.0)
    assert debt.ask(GlobalCancel(reason="x", number=2, left_ms=1000), 102.0)
    assert debt.is_due(102.0)
    assert debt.owed == OwedCancel(2)


def test_after_its_time_it_is_given_up() -> None:
    debt = asked(left_ms=600_000)
    assert not debt.give_up(699.9)
    assert debt.give_up(700.0)
    assert not debt.is_due(700.0)
    assert not debt.give_up(701.0)


def test_after_a_restart_it_waits_for_the_breakers_word() -> None:
    debt = GlobalCancelDebt(OwedCancel(3, listed=[7]))
    assert not debt.is_due(1.0)
    assert not debt.give_up(10**9)
    assert not debt.ask(GlobalCancel(reason="x", number=3, left_ms=1000), 1.0)
    assert debt.is_due(1.0)


def test_what_the_breaker_does_not_want_any_more_is_dropped() -> None:
    debt = sent()
    assert not debt.keep_only(1)
    assert debt.keep_only(0)
    assert not debt.keep_only(0)
    other = sent()
    assert not other.drop(2)
    assert other.drop(1)
    assert other.owed is None


# -- at the stage -----------------------------------------------------------------------------------------


def wanted(number: int = 1) -> dispatch.GlobalCancel:
    return dispatch.GlobalCancel(reason="stop", number=number, left_ms=600_000)


def test_a_cancel_of_everything_that_is_asked_for_again_is_said_once() -> None:
    rig = working()
    rig.hear(wanted())
    rig.hear(wanted())
    assert len([line for line in rig.lines if line.startswith("cancelling every order")]) == 1
    assert len(rig.sent(CancelEverything)) == 1


def test_the_end_of_another_cancel_of_everything_changes_nothing() -> None:
    rig = working()
    rig.hear(wanted(2))
    rig.hear(dispatch.EndGlobalCancel(number=1))
    assert rig.journal.owed_cancel() is not None


def test_a_breaker_that_knows_of_no_cancel_of_everything_ends_it_with_its_welcome() -> None:
    rig = working()
    rig.hear(wanted())
    rig.join(fence=2, owed=1)
    assert rig.journal.owed_cancel() is not None
    rig.join(fence=3, owed=0)
    assert rig.journal.owed_cancel() is None


def test_a_cancel_of_everything_that_did_not_leave_goes_again() -> None:
    rig = working()
    rig.refuses = lambda frame: Unsent(frame, "gone") if isinstance(frame, CancelEverything) else None
    rig.hear(wanted())
    assert rig.sent(CancelEverything) == []
    rig.refuses = lambda _: None
    rig.wait(0.2)
    assert len(rig.sent(CancelEverything)) == 1
    record = rig.journal.find_order(order_id="o-1")
    assert record is not None
    assert record.cancel_sent, "with it"


def test_orders_stand_as_they_stood_before_a_cancel_of_everything_that_did_not_leave() -> None:
    rig = working()
    rig.hear(place("o-2", 1, order=RESTING))
    rig.say(opened("o-2", 2), works(2))
    rig.refuses = lambda frame: Unsent(frame, "gone") if isinstance(frame, CancelEverything | CancelOrder) else None
    rig.take(Told(wanted()), Told(dispatch.EndGlobalCancel(number=1)))
    rig.hear(dispatch.CancelOrder(order_id="o-2", request_id="r-1"))
    rig.refuses = lambda _: None
    rig.say(Closed())
    rig.answers["open_orders"] = [opened("o-1"), works(), opened("o-2", 2), works(2)]
    rig.wait(5.0)
    assert rig.sent(CancelEverything) == []
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-2"], "nobody wants the other one cancelled"
    record = rig.journal.find_order(order_id="o-1")
    assert record is not None
    assert (record.cancel_asked, record.cancel_sent, record.cancel_left) == (False, False, False)


def test_an_order_that_is_cancelled_beside_a_cancel_of_everything_that_did_not_leave_stays_cancelled() -> None:
    rig = working()
    rig.refuses = lambda frame: Unsent(frame, "gone") if isinstance(frame, CancelEverything) else None
    batches = [
        rig.stage.step(Told(message), rig._now())
        for message in (wanted(), dispatch.CancelOrder(order_id="o-1", request_id="r-1"))
    ]
    everything, one = [frame for batch in batches for frame in batch.frames]
    rig.stage.step(Done(unsent=(Unsent(everything, "gone"),)), rig._now())
    assert isinstance(one, CancelOrder)
    record = rig.stage.core.ledger.record("o-1")
    assert record is not None
    assert record.cancel_asked
