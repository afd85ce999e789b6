"""What IB answers to a cancel: each has one answer, and none is forgotten."""

from __future__ import annotations

import pytest

from orderfuse import Attached
from orderfuse.bus.events import CancelFailed, Cancelled, ReplaceFailed, Unknown
from services.executor.orders.cancel_watch import LONGEST_SECS
from services.executor.orders.cancels import MAX_LATER
from services.executor.orders.doubts import Doubt
from services.executor.orders.records import Change
from services.gateway.frames import CancelOrder as CancelFrame
from services.gateway.reports import Closed, RequestEnd
from services.wire import dispatch
from tests.orders import RESTING, place
from tests.unit.executor.bench import Bench, error, executed, opened, status
from tests.unit.executor.test_stage import executed as filled_at_stage
from tests.unit.executor.test_stage import opened as opened_at_stage
from tests.unit.executor.test_stage import trading, working, works

NOT_FOUND = error(10147, "OrderId 1 that needs to be cancelled is not found.")
AT_WORK = error(10148, "OrderId 1 that needs to be cancelled can not be cancelled, state: PendingCancel.")


def over(bench: Bench) -> Bench:
    return bench.say(status("Cancelled"), error(202, "Order Canceled - reason:"))


# -- before IB knows the order ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [10147, 135, 161, 136])
def test_a_cancel_that_comes_before_ib_knows_the_order_goes_again_once_it_lives(code: int) -> None:
    bench = Bench().cancel().say(error(code))
    assert bench.kinds == []
    assert bench.send_cancels() == [], "IB may still not know it"
    assert bench.looked_up
    bench.say(opened("Submitted"), status("Submitted"))
    assert bench.send_cancels() == [1]
    over(bench)
    assert bench.only(Cancelled).request_id == "r-1"
    assert "failure" not in bench.outcomes
    assert bench.all(CancelFailed) == []


def test_that_it_is_not_found_of_an_order_never_heard_of_is_proof_with_two_rounds() -> None:
    bench = Bench().wait(1).cancel().say(NOT_FOUND)
    assert bench.ledger.doubts() == {"o-1": Doubt(1.0, bytes_lost=False)}
    assert bench.ledger.unanswered() == [], "it holds up no neighbour"


def test_refused_again_when_ib_has_shown_the_order_it_has_failed() -> None:
    bench = Bench().cancel().say(NOT_FOUND, status("PreSubmitted"))
    assert bench.send_cancels() == [1]
    failed = bench.say(NOT_FOUND, status("PreSubmitted")).only(CancelFailed)
    assert (failed.request_id, failed.ib_code) == ("r-1", 10147)
    assert bench.send_cancels() == []


def test_a_notice_as_ib_s_only_word_leaves_open_whether_it_has_the_order() -> None:
    bench = Bench().wait(1).say(error(10311, "direct routing costs more"))
    assert bench.ledger.unanswered() == []
    assert bench.ledger.doubts() == {"o-1": Doubt(1.0, bytes_lost=False)}
    assert bench.say(status("Submitted")).ledger.doubts() == {}


def test_words_that_nobody_knows_are_the_cancels_answer_once_the_order_is_seen_alive() -> None:
    bench = Bench().say(status("Submitted")).cancel().say(error(77777, "what now"))
    assert (bench.all(Unknown), bench.all(CancelFailed)) == ([], [])
    bench.say(opened("Submitted"), status("Submitted"))
    failed = bench.only(CancelFailed)
    assert (failed.request_id, failed.ib_code, failed.reason) == ("r-1", 77777, "what now")
    assert bench.send_cancels() == []
    assert bench.outcomes == ["success"]


def test_words_that_nobody_knows_do_not_keep_a_cancel_from_working() -> None:
    bench = over(Bench().say(status("Submitted")).cancel().say(error(77777)))
    assert bench.only(Cancelled).request_id == "r-1"
    assert bench.all(CancelFailed) == []


def test_after_the_cancel_has_its_answer_such_words_are_about_the_order() -> None:
    bench = Bench().say(status("Submitted")).cancel().say(error(161, "no")).say(error(77777))
    assert bench.only(Unknown).reason == "IB says 77777: text"


# -- more than one cancel ---------------------------------------------------------------------------------


def test_two_cancels_of_one_order_are_answered_together_and_are_no_failure() -> None:
    bench = Bench(tif="GTC").say(status("Submitted")).cancel().cancel(request_id="r-2").say(AT_WORK)
    assert bench.all(CancelFailed) == []
    over(bench)
    cancelled = bench.only(Cancelled)
    assert (cancelled.request_id, cancelled.request_ids) == ("r-1", ("r-1", "r-2"))
    assert bench.outcomes == ["success", "neutral"]


@pytest.mark.parametrize("state", ["PendingCancel", "Cancelled", "ApiCancelled"])
@pytest.mark.parametrize("can_not", ["can not", "cannot"])
def test_that_ib_is_at_it_or_done_is_no_refusal(state: str, can_not: str) -> None:
    bench = Bench().say(status("Submitted")).cancel()
    bench.say(error(10148, f"OrderId 1 that needs to be cancelled {can_not} be cancelled, state: {state}."))
    assert bench.all(CancelFailed) == []


def test_the_cancel_of_a_trip_takes_over_who_asked_before() -> None:
    bench = Bench(tif="GTC").say(status("Submitted")).cancel()
    bench.cancel(request_id=None).say(AT_WORK)
    assert over(bench).only(Cancelled).request_id == "r-1"
    assert "failure" not in bench.outcomes


def test_a_cancel_of_an_order_that_was_told_as_cancelled_goes_to_ib_if_it_lives_after_all() -> None:
    bench = over(Bench(tif="GTC").say(status("Submitted")).cancel())
    bench.cancel(request_id="r-2")
    assert bench.send_cancels() == []
    bench.say(status("Submitted"))
    assert bench.send_cancels() == [1]
    assert [fact.request_id for fact in over(bench).all(Cancelled)] == ["r-1", "r-2"]


def test_a_refusal_answers_each_who_has_asked() -> None:
    bench = Bench().say(status("Submitted")).cancel().cancel(request_id="r-2")
    bench.say(error(10148, "can not be cancelled, state: Filled."), executed("e1"))
    assert [fact.request_id for fact in bench.all(CancelFailed)] == ["r-1", "r-2"]


def test_a_strategy_that_cancels_at_each_event_fills_no_memory() -> None:
    bench = Bench().say(status("Submitted"))
    for number in range(5 * MAX_LATER):
        bench.cancel(request_id=f"r-{number}")
    record = bench.ledger.record("o-1")
    assert record is not None
    assert (record.cancel_request_id, len(record.later_cancels)) == ("r-0", MAX_LATER)


def test_the_refusals_of_a_change_and_of_a_cancel_are_not_mistaken_for_each_other() -> None:
    bench = Bench().say(status("Submitted"))
    bench._keep(bench.ledger.changes.intend("o-1", Change("c-1", 1, {"lmtPrice": 9.5})))
    bench.ledger.changes.on_written("o-1", bench.now)
    bench.cancel().say(error(104, "Cannot modify a filled order."), error(10148, "state: Filled."))
    assert (bench.only(ReplaceFailed).ib_code, bench.only(CancelFailed).ib_code) == (104, 10148)
    assert bench.outcomes == ["success", "neutral"]


def test_words_that_nobody_knows_are_about_a_cancel_as_long_as_one_has_no_word_of_ib_s() -> None:
    bench = Bench().say(status("Submitted")).cancel().cancel(request_id="r-2").say(error(161, "no"))
    assert len(bench.all(CancelFailed)) == 2
    assert bench.say(error(77777)).all(Unknown) == []
    assert bench.say(error(77777)).only(Unknown).reason == "IB says 77777: text"


# -- no answer, and lists without it ----------------------------------------------------------------------


def test_an_order_that_ib_does_not_find_any_more_is_missing_until_it_is_heard_of() -> None:
    bench = Bench().say(status("Submitted")).wait(60).cancel().say(NOT_FOUND)
    assert bench.only(CancelFailed).ib_code == 10147
    assert bench.ledger.unheard_since(0.0) == {"o-1": Doubt(60.0, bytes_lost=False)}
    bench._keep(bench.ledger.on_lost("o-1"))
    assert "since it was asked to cancel" in bench.only(Unknown).reason
    assert bench.ledger.unheard_since(0.0) == {}
    assert Bench().say(status("Submitted")).ledger.unheard_since(0.0) == {}


@pytest.mark.parametrize("code", [161, 136, 10148, 104])
def test_the_same_after_any_refusal(code: int) -> None:
    bench = Bench().say(status("Submitted")).wait(60).cancel().say(error(code, "state: Filled"))
    assert bench.ledger.unheard_since(0.0) == {"o-1": Doubt(60.0, bytes_lost=False)}


def test_what_a_list_of_all_open_orders_lacks_is_looked_up() -> None:
    bench = Bench().say(status("Submitted")).wait(60)
    bench._keep(bench.ledger.see_listed(since=30.0, now=bench.now))
    assert bench.looked_up
    assert bench.ledger.unheard_since(0.0) == {"o-1": Doubt(30.0, bytes_lost=False)}


def test_what_such_a_list_has_is_not() -> None:
    bench = Bench().wait(31).say(status("Submitted")).wait(29)
    bench._keep(bench.ledger.see_listed(since=30.0, now=bench.now))
    assert not bench.looked_up


def test_a_cancel_without_an_answer_has_the_lists_asked_and_less_and_less_often() -> None:
    bench = Bench().say(status("Submitted")).cancel().wait(4.99)
    assert not bench.looked_up
    asked = []
    for second in range(3600):
        bench.looked_up = False
        if bench.wait(1.0).looked_up:
            asked.append(second)
        # The lists have it as working: out of hours that may go on until the open.
        bench.say(opened("Submitted"), status("Submitted"))
    assert asked[0] <= 1
    assert asked[-1] - asked[-2] == LONGEST_SECS
    assert len(asked) < 25
    assert bench.ledger.unheard_since(0.0) == {}


def test_a_cancel_with_an_answer_has_nothing_asked() -> None:
    bench = over(Bench().say(status("Submitted")).cancel())
    assert not bench.wait(600).looked_up


def test_a_cancel_that_a_fill_was_faster_than_is_answered_also_when_ib_says_no_word() -> None:
    bench = Bench().say(status("Submitted")).cancel().say(executed("e1")).wait(4.9)
    assert bench.all(CancelFailed) == []
    failed = bench.wait(0.1).only(CancelFailed)
    assert (failed.request_id, failed.reason) == ("r-1", "the order was filled first")
    bench.say(error(10148, "can not be cancelled, state: Filled.")).wait(600)
    assert bench.only(CancelFailed)


@pytest.mark.parametrize("state", ["Filled", "PendingSubmit"])
def test_a_cancel_that_was_answered_is_not_answered_again_when_the_breaker_asks_for_it_once_more(state: str) -> None:
    bench = Bench().say(status("Submitted")).cancel()
    bench.say(error(10148, f"can not be cancelled, state: {state}."), executed("e1")).cancel().cancel()
    assert bench.only(CancelFailed).request_id == "r-1"
    bench.cancel(request_id="r-2").cancel(request_id="r-2")
    assert [fact.request_id for fact in bench.all(CancelFailed)] == ["r-1", "r-2"]


def test_a_cancel_that_is_asked_for_again_after_the_fill_is_answered_once_though_ib_refuses_it_later() -> None:
    bench = Bench().say(status("Submitted")).cancel().say(executed("e1")).cancel()
    bench.say(error(10148, "can not be cancelled, state: Filled.")).wait(600)
    assert bench.only(CancelFailed).request_id == "r-1"


def test_a_cancel_that_could_not_leave_before_the_order_was_filled_is_answered() -> None:
    bench = Bench().say(status("Submitted"))
    # Asked for while there is no connection.
    bench._keep(bench.ledger.cancels.on_asked("o-1", "r-1"))
    failed = bench.say(executed("e1")).wait(0.1).only(CancelFailed)
    assert (failed.request_id, failed.reason) == ("r-1", "the order was filled first")
    assert bench.wait(600).only(CancelFailed)


# -- at the stage -----------------------------------------------------------------------------------------


def test_a_cancel_waits_until_a_new_connection_is_reconciled() -> None:
    rig = working()
    rig.silent = {"executions"}
    rig.say(Closed())
    rig.wait(1.0)
    rig.hear(dispatch.CancelOrder(order_id="o-1", request_id="c-1"))
    assert rig.sent(CancelFrame) == []
    rig.say(opened_at_stage("o-1"), RequestEnd("executions"))
    rig.wait(0.2)
    assert [frame.order_id for frame in rig.sent(CancelFrame)] == ["o-1"]


def test_without_a_breaker_a_leg_that_protects_what_its_bracket_has_bought_stays() -> None:
    rig = trading(on_breaker_loss="cancel", on_breaker_loss_secs=5)
    rig.hear(place("o-1", 1, order=RESTING, attached=(Attached(order_id="sl", order=RESTING),)))
    rig.hear(place("o-2", 1, order=RESTING))
    for number, order_id in enumerate(("o-1", "sl", "o-2"), 1):
        rig.say(opened_at_stage(order_id, number), works(number))
    rig.say(filled_at_stage("o-1", 100.0))
    rig.gives_leases = False
    rig.wait(8)
    assert [frame.order_id for frame in rig.sent(CancelFrame)] == ["o-2"]


# -- at the ledger ----------------------------------------------------------------------------------------


def test_a_cancel_that_did_not_leave_is_void_once_the_order_is_over() -> None:
    bench = Bench().say(opened("Submitted"), status("Submitted")).cancel()
    bench.say(executed("e.01", 100))
    assert bench.ledger.cancels.on_unsent("o-1").orders == {}
    assert bench.send_cancels() == []


def test_a_cancel_of_everything_is_one_of_each_order_that_lives() -> None:
    bench = Bench().say(opened("Submitted"), executed("e.01", 100))
    bench.write("o-2")
    assert set(bench.ledger.cancels.on_everything_sent().orders) == {"o-2"}
