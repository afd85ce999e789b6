"""An order that a breaker hands over once more, because it has forgotten it: it hears again what became of it."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.inputs import Told
from services.gateway.frames import CancelOrder, PlaceOrders
from services.gateway.reports import Closed, ErrorReport, StatusReport
from services.wire import dispatch
from tests.orders import RESTING, place
from tests.unit.executor.rig import CLIENT_ID, Rig
from tests.unit.executor.test_stage import executed, opened, trading, works


def resting() -> Rig:
    """With an order that rests at IB."""
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.say(opened("o-1"), works())
    return rig


def cancelled(filled: float) -> StatusReport:
    return StatusReport(1, "Cancelled", filled, 100.0 - filled, 9001, CLIENT_ID)


def told_again(rig: Rig, order_id: str = "o-1") -> list[Any]:
    """What a breaker hears that has taken all of it, and hands the order over again; nothing is written anew."""
    rig.wait(0.3)
    before, written = len(rig.told), rig.written()
    rig.hear(place(order_id, 1, order=RESTING))
    assert rig.written() == written
    assert {feedback.outcome for feedback in rig.told[before:]} <= {"neutral"}, "nothing counts twice"
    return [feedback.fact for feedback in rig.told[before:]]


def kinds(facts: list[Any]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


def test_a_working_order_is_accepted_again_and_filled_by_each_of_its_executions() -> None:
    rig = resting()
    rig.say(executed("o-1", 30.0), executed("o-1", 20.0, "f.01"))
    facts = told_again(rig)
    assert kinds(facts) == ["Accepted", "Filled", "Filled"]
    assert all(fact.again for fact in facts)
    assert (facts[0].ib_order_id, facts[0].perm_id, facts[0].status) == (1, 9001, "Submitted")
    assert [(fact.cum_qty, fact.remaining, fact.done) for fact in facts[1:]] == [(30, 70, False), (50, 50, False)]


def test_a_filled_order_is_done_with_the_last_of_its_executions() -> None:
    rig = resting()
    rig.say(executed("o-1", 30.0), executed("o-1", 70.0, "f.01"))
    assert [fact.done for fact in told_again(rig)[1:]] == [False, True]


def test_a_cancelled_order_is_cancelled_behind_what_was_filled_of_it() -> None:
    rig = resting()
    rig.say(executed("o-1", 40.0), cancelled(40.0), ErrorReport(1, 202, "Order Canceled - reason:"))
    facts = told_again(rig)
    assert kinds(facts) == ["Accepted", "Filled", "Cancelled"]
    assert (facts[-1].filled, facts[-1].remaining) == (40.0, 60.0)
    assert facts[-1].reason == "the order was cancelled when this breaker's journal was lost"


def test_a_rejected_order_is_rejected_again_and_counts_no_more() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.say(ErrorReport(1, 201, "no"))
    rig.wait(2.0)
    (fact,) = told_again(rig)
    assert (type(fact).__name__, fact.ib_code, fact.again) == ("Rejected", 0, True)


def test_an_order_that_did_not_leave_is_not_placed_again() -> None:
    rig = trading()
    rig.disk_is_full = True
    rig.hear(place("o-1", 1, order=RESTING))
    rig.disk_is_full = False
    rig.wait(1.5)
    (fact,) = told_again(rig)
    assert (type(fact).__name__, fact.code, fact.again) == ("NotPlaced", "undelivered", True)
    assert rig.sent(PlaceOrders) == []


def test_an_order_that_a_person_has_settled_is_in_doubt_for_a_breaker_that_does_not_know_it() -> None:
    rig = resting()
    rig.hear(dispatch.Settle(order_id="o-1"))
    facts = told_again(rig)
    assert kinds(facts) == ["Accepted", "Unknown"]
    assert facts[-1].reason == "a person had settled it before this breaker's journal was lost"


def test_of_an_order_without_an_answer_there_is_nothing_to_tell_again() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    assert told_again(rig) == []


def test_an_order_that_ib_has_lost_is_in_doubt_again() -> None:
    rig = resting()
    rig.say(Closed())
    rig.wait(60, 0.25)
    assert rig.kinds("o-1")[-1] == "Unknown", "no list has it"
    rig.join(fence=1)
    assert kinds(told_again(rig)) == ["Accepted", "Unknown"]


def test_an_order_found_at_ib_says_again_how_much_of_it_had_been_filled_before() -> None:
    rig = Rig()
    rig.answers["open_orders"] = [opened("lost-1", 5), works(5, filled=30.0)]
    rig.answers["executions"] = [executed("lost-1", 20.0, number=5)]
    rig.connect()
    rig.join()
    facts = told_again(rig, "lost-1")
    assert kinds(facts) == ["Accepted", "Filled"]
    assert (facts[0].filled_before, facts[1].cum_qty, facts[1].remaining) == (10.0, 30.0, 70.0)


def test_what_the_breaker_has_not_taken_yet_is_sent_again_as_it_was() -> None:
    rig = resting()
    rig.wait(0.3)
    rig.takes_feedback = False
    rig.say(executed("o-1", 40.0))
    told = len(rig.told)
    rig.hear(place("o-1", 1, order=RESTING))
    assert rig.resent == rig.journal.feedback_of("o-1")
    assert len(rig.told) == told


@pytest.mark.parametrize("why", ["fence", "cancel", "goodbye"])
def test_an_order_handed_over_again_that_leaves_the_inbox_unjudged_is_not_called_one_that_ib_never_had(
    why: str,
) -> None:
    rig = resting()
    again: list[dispatch.ToExecutor] = [place("o-1", 1, order=RESTING)]
    match why:
        case "fence":
            again.append(dispatch.Fence(fence=2))
        case "cancel":
            again.append(dispatch.CancelOrder(order_id="o-1", request_id="r-1"))
        case _:
            again.append(dispatch.Goodbye(feedback_taken=0))
    # Both at once: no time passes in which the order's turn would come.
    rig.take(*map(Told, again))
    rig.tick()
    assert "NotPlaced" not in rig.kinds("o-1")
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == (["o-1"] if why == "cancel" else [])
