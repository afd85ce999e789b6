"""What a breaker says of orders that it handed over before, and what IB's rounds prove of them."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from orderfuse import Attached
from orderfuse.bus.control import MAX_TOLD
from services.gateway.frames import Ask, CancelOrder, ChangeOrder, PlaceOrders
from services.gateway.reports import (
    Closed,
    CompletedOrderReport,
    ErrorReport,
    Heard,
    Report,
    RequestEnd,
    StatusReport,
    Unreadable,
)
from services.wire import dispatch
from services.wire.dispatch import ExpectedChange
from tests.orders import RESTING, place
from tests.unit.executor.rig import ACCOUNT, CLIENT_ID, Rig
from tests.unit.executor.test_stage import change, executed, held, opened, trading, working, works


def expect(rig: Rig, order_id: str = "o-1", *, change: ExpectedChange | None = None, **fields: Any) -> None:
    told: dict[str, Any] = {"strategy_id": "s1", "ib_order_id": 1, "perm_id": 9001, "quantity": 100.0, "tif": ""}
    told |= {"combo": False, "protect": False, "placed_ns": 1, "accepted": True, "parent": "", "legs": 0, **fields}
    rig.hear(dispatch.Expect(order_id=order_id, change=change, **told))


def changed(revision: int = 1) -> ExpectedChange:
    return ExpectedChange(request_id=f"r-{revision}", revision=revision, terms={"lmtPrice": 2.0})


def kinds_of_changes(rig: Rig) -> list[str]:
    return [kind for kind in rig.kinds("o-1") if "Replace" in kind]


LISTED: list[Report] = [opened("o-1", terms={"lmtPrice": 1.0}), works()]


def test_a_change_that_only_the_breaker_knows_of_is_looked_up_and_told_as_done() -> None:
    rig = working()
    rig.answers["open_orders"] = [opened("o-1", terms={"lmtPrice": 2.0, "totalQuantity": 100, "tif": ""}), works()]
    expect(rig, change=changed())
    rig.wait(3, 0.25)
    assert kinds_of_changes(rig) == ["Replaced"]
    assert rig.sent(ChangeOrder) == [], "it is not written again"


def test_a_change_that_ib_lists_as_not_done_is_refused_once_two_rounds_say_so() -> None:
    rig = working()
    rig.answers["open_orders"] = LISTED
    expect(rig, change=changed())
    rig.wait(60, 0.25)
    (failed,) = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "ReplaceFailed"]
    assert (failed.request_id, failed.reason) == ("r-1", "IB lists the order unchanged")


def test_a_change_that_is_known_here_is_expected_without_a_word() -> None:
    rig = working()
    rig.hear(change())
    expect(rig, change=changed())
    rig.say(opened("o-1", terms={"lmtPrice": 2.0, "totalQuantity": 100, "tif": ""}))
    expect(rig, change=changed())
    rig.wait(60, 0.25)
    assert kinds_of_changes(rig) == ["Replaced"]


def test_an_order_that_is_known_here_needs_no_look() -> None:
    rig = working()
    lines = len(rig.lines)
    expect(rig)
    assert rig.lines[lines:] == []


def test_what_is_sought_is_not_judged_by_a_round_that_was_under_way_before() -> None:
    rig = trading()
    rig.silent = {"executions"}
    rig.say(Closed())
    rig.wait(1.0)
    expect(rig, "old-1", ib_order_id=6, perm_id=9006)
    rig.answers["open_orders"] = [opened("old-1", 6), works(6)]
    rig.silent = set()
    rig.say(RequestEnd("executions"))
    assert rig.status.usable
    assert rig.stage.core.ledger.adopting() == ["old-1"], "its list of open orders was made before"
    rig.wait(5, 0.25)
    assert rig.kinds("old-1") == ["Accepted", "Working"]


def test_orders_that_nobody_knows_wait_for_the_end_of_the_lists_and_for_a_breaker() -> None:
    rig = Rig()
    rig.silent = {"completed_orders"}
    rig.answers["open_orders"] = [opened("lost-1", 5), works(5)]
    rig.tick()
    rig.wait(0.5)
    rig.join()
    assert rig.kinds("lost-1") == []
    rig.say(RequestEnd("completed_orders"))
    assert rig.kinds("lost-1")[:2] == ["Adopted", "Accepted"]


def test_of_an_order_that_ended_during_a_change_the_change_failed_once_a_later_round_says_nothing_of_it() -> None:
    rig = working()
    rig.hear(change())
    rig.say(StatusReport(1, "Cancelled", 0.0, 100.0, 9001, CLIENT_ID))
    rig.wait(60, 0.25)
    (failed,) = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "ReplaceFailed"]
    assert failed.reason == "the order is over, and IB does not say with which terms it ended"


def test_fills_that_ib_speaks_of_and_never_lists_leave_the_order_in_doubt() -> None:
    rig = working()
    over = CompletedOrderReport(9001, "o-1", ACCOUNT, "Filled", "", {}, (0.0, 100.0))
    rig.answers["completed_orders"] = [over]
    rig.say(StatusReport(1, "Filled", 100.0, 0.0, 9001, CLIENT_ID), executed("o-1", 40.0))
    rig.wait(60, 0.25)
    unknown = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "Unknown"]
    assert len(unknown) == 1
    assert "lists executions of 40" in unknown[0].reason


def test_a_bracket_of_which_ib_lists_a_part_over_a_new_connection_is_cancelled() -> None:
    rig = trading()
    legs = (Attached(order_id="tp", order=RESTING), Attached(order_id="sl", order=RESTING))
    rig.hear(place("o-1", 1, order=RESTING, attached=legs))
    rig.answers["open_orders"] = [opened("o-1"), works()]
    rig.say(Closed())
    rig.wait(10, 0.25)
    assert [line for line in rig.lines if line == "o-1: IB does not list its whole bracket; it is cancelled"]
    assert {frame.order_id for frame in rig.sent(CancelOrder)} == {"o-1"}


def test_an_order_of_ours_that_nobody_knows_and_that_comes_between_rounds_is_looked_up() -> None:
    rig = trading()
    rig.say(opened("lost-1", 5), works(5))
    rig.answers["open_orders"] = [opened("lost-1", 5), works(5)]
    rig.wait(5, 0.25)
    assert rig.kinds("lost-1")[:2] == ["Adopted", "Accepted"]


def test_new_orders_get_numbers_above_those_of_orders_that_only_the_breaker_knew() -> None:
    rig = trading()
    expect(rig, "old", ib_order_id=500)
    rig.hear(place("o-1", 1, order=RESTING))
    assert [order.ib_order_id for frame in rig.sent(PlaceOrders) for order in frame.orders] == [501]
    assert rig.status.usable


def test_an_order_of_which_ib_has_named_no_number_is_not_changed() -> None:
    rig = trading()
    expect(rig, "old", ib_order_id=0, perm_id=0, accepted=False)
    # A copy that a person has made in TWS has the same reference, and no number of the API.
    copy = opened("old", 0, perm_id=555, client_id=0)
    rig.answers["open_orders"] = [copy, StatusReport(0, "Submitted", 0.0, 100.0, 555, 0)]
    rig.wait(3, 0.25)
    assert "Accepted" in rig.kinds("old")
    rig.hear(structs.replace(change(), order_id="old"))
    assert rig.sent(ChangeOrder) == []
    assert [fact.reason for fact in rig.facts("old") if type(fact).__name__ == "ReplaceFailed"] == [
        "IB has named no number of the order, so it can be changed only in TWS"
    ]


def test_a_change_that_the_breaker_expects_of_an_order_without_an_answer_that_is_over_ends_it_once() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.hear(dispatch.Settle(order_id="o-1"))
    rig.silent = {"executions"}
    expect(rig, change=changed())
    again = Rig(journal=rig.journal)
    again.connect()
    again.join()
    again.wait(30, 0.25)
    assert kinds_of_changes(again) == ["ReplaceFailed"]
    record = again.stage.core.ledger.record("o-1")
    assert record is not None
    assert record.ended == "settled"


def test_a_fill_and_its_correction_that_are_saved_together_are_counted_once() -> None:
    rig = working()
    rig.answers["positions"] = [held(30.0)]
    for report in (executed("o-1", 40.0, "e.01"), executed("o-1", 30.0, "e.02")):
        rig.stage.step(Heard(1, report), rig._now())
    rig.wait(95, 0.25)
    assert rig.status.drift == ()


def test_a_correction_that_comes_while_the_disk_is_full_is_counted_once() -> None:
    rig = working()
    rig.answers["positions"] = [held(30.0)]
    rig.disk_is_full = True
    rig.say(executed("o-1", 40.0, "e.01"), executed("o-1", 20.0, "x.01"))
    rig.wait(1.5)
    rig.say(executed("o-1", 10.0, "e.02"))
    rig.disk_is_full = False
    rig.wait(95, 0.25)
    assert rig.status.drift == (), "10 and 20 are what IB holds"
    assert rig.journal.fill_sums()[0].shares == 30.0


def test_a_correction_of_what_is_saved_moves_the_expected_position_by_its_difference() -> None:
    rig = working()
    rig.say(executed("o-1", 40.0, "e.01"))
    rig.wait(1.0)
    rig.say(executed("o-1", 10.0, "e.02"))
    rig.answers["positions"] = [held(10.0)]
    rig.wait(95, 0.25)
    assert rig.status.drift == ()


def test_a_position_break_and_its_end_are_the_breakers_to_say_unless_there_is_none() -> None:
    for alone in (False, True):
        rig = trading(alone=alone)
        rig.answers["positions"] = [held(5.0)]
        rig.wait(95, 0.25)
        rig.answers["positions"] = []
        rig.wait(95, 0.25)
        assert rig.status.drift == ()
        said = [line for line in rig.lines if line.startswith("position break: ")]
        assert len(said) == (2 if alone else 0)


def test_position_breaks_that_have_no_room_in_the_status_are_said_here() -> None:
    rig = trading()
    many: list[Report] = [held(5.0, 1000 + at) for at in range(MAX_TOLD + 3)]
    rig.answers["positions"] = many
    rig.wait(95, 0.25)
    assert len(rig.status.drift) == MAX_TOLD
    assert len([line for line in rig.lines if line.startswith("position break: ")]) == 3


def test_a_position_that_ib_pushes_twice_is_looked_into_from_the_first_time_on() -> None:
    rig = trading()
    rig.say(held(5.0))
    rig.wait(1.5)
    asked = len([frame for frame in rig.frames if getattr(frame, "question", "") == "open_orders"])
    rig.say(held(5.0))
    rig.wait(1.0)
    assert len([frame for frame in rig.frames if getattr(frame, "question", "") == "open_orders"]) == asked + 1


def test_messages_that_cannot_be_read_trip_once_a_minute() -> None:
    rig = trading()
    rig.say(Unreadable(11, "too short"), Unreadable(11, "too short"))
    assert len(rig.facts()) == 1
    rig.wait(61, 0.25)
    rig.say(Unreadable(11, "too short"))
    assert len(rig.facts()) == 2


# -- changes ----------------------------------------------------------------------------------------------


def test_an_order_that_is_over_is_not_changed() -> None:
    rig = working()
    rig.say(executed("o-1", 100.0))
    rig.hear(change())
    (failed,) = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "ReplaceFailed"]
    assert failed.reason == "the order was filled"
    assert rig.sent(ChangeOrder) == []


def test_a_change_that_has_left_is_not_called_refused_when_it_comes_again_from_a_breaker_that_is_away() -> None:
    rig = working()
    rig.hear(change())
    rig.hear(dispatch.Goodbye(feedback_taken=0))
    rig.hear(change())
    rig.hear(change(2))
    failed = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "ReplaceFailed"]
    assert [fact.request_id for fact in failed] == ["r-2"]


def test_words_that_nobody_knows_doubt_a_change_once_and_a_notice_does_not() -> None:
    rig = working()
    rig.hear(change())
    asked = rig.sent(Ask).count(Ask("open_orders"))
    rig.say(ErrorReport(1, 399, "your order will be placed at the open"))
    rig.wait(1.5)
    assert rig.sent(Ask).count(Ask("open_orders")) == asked, "a notice needs no look"
    rig.say(ErrorReport(1, 9999, "what"), ErrorReport(1, 9999, "what"))
    doubts = [fact.doubts for fact in rig.facts("o-1") if getattr(fact, "doubts", "")]
    assert doubts == ["r-1"]
    assert kinds_of_changes(rig) == []


def test_a_breaker_that_knows_nothing_hears_of_the_change_that_is_under_way() -> None:
    rig = working()
    rig.hear(change())
    rig.join(fence=2, tell_open=True)
    (adopted,) = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "Adopted"]
    assert adopted.change == ExpectedChange(
        request_id="r-1", revision=1, terms={**changed().terms, "totalQuantity": 100}
    )
