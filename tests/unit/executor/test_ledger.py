"""The ledger in virtual time: IB's reports in every order in which they may come."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.bus.events import Accepted, CancelFailed, Cancelled, Filled, Rejected, ReplaceFailed, Unknown
from orderfuse.text import MAX_REASON
from services.executor.batch import Keep
from services.executor.journal import Journal
from services.executor.orders.attribution import MAX_CODES_TOLD, MAX_EARLY_COMMISSIONS
from services.executor.orders.ledger import KEEP_ENDED_SECS
from services.executor.orders.records import Change, Execution
from services.gateway.reports import (
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
)
from services.wire.feedback import Tripped, Working
from tests.orders import record_of
from tests.unit.executor.bench import PERM, Bench, completed, error, executed, opened, paid, status

# -- fills ------------------------------------------------------------------------------------------------


def test_a_market_order_is_accepted_filled_and_paid_once_each() -> None:
    bench = Bench().say(
        opened("PreSubmitted"),
        status("PreSubmitted"),
        executed("a.01"),
        opened("Filled"),
        status("Filled", 100, 0),
        opened("Filled"),
        paid("a.01"),
        paid("a.01"),
        executed("a.01"),
        status("Filled", 100, 0),
    )
    assert bench.kinds == ["Accepted", "Filled", "Commission"]
    assert bench.outcomes == ["success"]
    filled = bench.only(Filled)
    assert (filled.cum_qty, filled.avg_price, filled.remaining, filled.done) == (100, 10, 0, True)


def test_a_fill_without_any_status_before_it_is_accepted_first() -> None:
    assert Bench().say(executed("a.01")).kinds == ["Accepted", "Filled"]


def test_partial_fills_add_up_and_the_last_one_is_done() -> None:
    bench = Bench().say(
        status("Submitted"), executed("a.01", 30, 10), executed("b.01", 20, 11), executed("c.01", 50, 12)
    )
    fills = [fact for fact, _ in bench.told if isinstance(fact, Filled)]
    assert [fill.cum_qty for fill in fills] == [30, 50, 100]
    assert [fill.remaining for fill in fills] == [70, 50, 0]
    assert [fill.done for fill in fills] == [False, False, True]
    assert fills[-1].avg_price == pytest.approx((300 + 220 + 600) / 100)


def test_fractions_that_binary_numbers_cannot_say_still_add_up_to_done() -> None:
    bench = Bench(quantity=0.3).say(executed("a.01", 0.1), executed("b.01", 0.2))
    assert bench.told[-1][0].done
    assert bench.told[-1][0].remaining == 0


def test_a_correction_replaces_what_it_corrects() -> None:
    bench = Bench().say(executed("a.01", 100, 10), executed("a.02", 60, 11))
    fill = bench.told[-1][0]
    assert (fill.corrects, fill.cum_qty, fill.avg_price, fill.remaining, fill.done) == ("a.01", 60, 11, 40, False)
    # The first version once more, as a reconnect brings it, changes nothing; the rest still fills it.
    bench.say(executed("a.01", 100, 10), executed("b.01", 40, 11))
    assert bench.kinds == ["Accepted", "Filled", "Filled", "Filled"]
    assert bench.told[-1][0].done


def test_a_fill_that_comes_after_the_cancel_wins() -> None:
    bench = Bench().say(status("Submitted"))
    bench.ledger.cancels.on_asked("o-1", "r-1")
    bench.say(status("Cancelled"), error(202, "Order Canceled - reason:"), executed("a.01"), status("Filled", 100, 0))
    assert bench.kinds == ["Accepted", "Working", "Cancelled", "Filled"]
    assert bench.told[-1][0].done
    assert record_of(bench.ledger, "o-1").ended == "filled"


def test_the_legs_of_a_combo_do_not_fill_it() -> None:
    bench = Bench(quantity=2, combo=True)
    bench.say(executed("leg1.01", 2), executed("leg2.01", 4), executed("combo.01", 2, sec_type="BAG"))
    assert bench.only(Filled).exec_id == "combo.01"
    assert bench.only(Filled).done
    assert "Commission" in bench.say(paid("leg1.01")).kinds


def test_a_commission_that_comes_before_its_execution_is_told_after_it() -> None:
    bench = Bench().say(paid("a.01"), executed("a.01"))
    assert bench.kinds == ["Accepted", "Filled", "Commission"]
    for number in range(2 * MAX_EARLY_COMMISSIONS):
        bench.say(paid(f"strange-{number}.01"))
    assert len(bench.ledger._attribution._early_commissions) == MAX_EARLY_COMMISSIONS


def test_filled_without_its_fills_is_looked_up_once() -> None:
    bench = Bench().say(status("Filled", 100, 0))
    assert bench.outcomes == ["success"]
    assert not bench.wait(1.9).looked_up
    assert bench.wait(0.1).looked_up
    bench.looked_up = False
    bench.say(completed("Filled", "Filled Size: 100")).wait(10)
    assert not bench.looked_up


# -- working ----------------------------------------------------------------------------------------------


def test_submitted_is_a_success_and_presubmitted_only_after_two_seconds() -> None:
    assert Bench().say(status("Submitted")).outcomes == ["success"]
    bench = Bench().say(status("PreSubmitted"))
    assert bench.wait(1.999).outcomes == []
    assert bench.wait(0.001).outcomes == ["success"]
    assert bench.wait(60).outcomes == ["success"]


def test_the_two_seconds_run_on_over_another_status_in_which_an_order_rests() -> None:
    bench = Bench().say(status("PreSubmitted")).wait(1).say(status("Inactive", why_held="locate"))
    bench.wait(0.5).say(status("PreSubmitted"))
    assert bench.wait(0.499).outcomes == []
    assert bench.wait(0.001).outcomes == ["success"]


def test_an_error_within_the_two_seconds_makes_presubmitted_a_failure() -> None:
    bench = Bench().say(status("PreSubmitted")).wait(1.5).say(error(201)).wait(5)
    assert bench.kinds == ["Accepted", "Rejected"]
    assert bench.outcomes == ["failure"]


def test_a_status_is_told_when_it_changes_and_only_then() -> None:
    bench = Bench().say(*[status("PreSubmitted")] * 3, *[status("Submitted")] * 3)
    assert bench.kinds == ["Accepted", "Working"]


def test_an_order_held_to_locate_shares_lives_and_is_a_success_in_the_end() -> None:
    held = status("Inactive", why_held="locate")
    bench = Bench().say(error(404), opened("Inactive"), held, opened("Inactive")).wait(1.5)
    assert bench.kinds == ["Accepted"]
    assert bench.wait(0.5).outcomes == ["success"]


@pytest.mark.parametrize("code", [399, 404, 481, 10311, 10329, 10349, 2109, 2137])
def test_a_notice_about_an_order_ends_nothing(code: int) -> None:
    bench = Bench().say(error(code), status("Submitted"), error(code), executed("a.01"))
    assert bench.kinds == ["Accepted", "Working", "Filled"]
    assert bench.outcomes == ["success"]


# -- rejections, in every order ---------------------------------------------------------------------------

REJECTION = (error(201, "Order rejected - reason: no"), opened("Inactive"), status("Inactive"))


@pytest.mark.parametrize("reports", list(itertools.permutations(REJECTION)))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_rejection_is_told_once_with_its_text_in_every_order(reports: Any, count: int) -> None:
    bench = Bench().say(*reports[:count]).wait(1.0).wait(10)
    assert bench.kinds == ["Rejected"]
    assert bench.outcomes == ["failure"]
    if REJECTION[0] in reports[:count]:
        assert bench.only(Rejected).ib_code == 201
        assert bench.only(Rejected).reason == "Order rejected - reason: no"


def test_inactive_waits_a_second_for_its_text() -> None:
    bench = Bench().say(status("Inactive")).wait(0.999)
    assert bench.kinds == []
    bench.wait(0.001)
    assert bench.only(Rejected).reason == "Inactive, and IB gave no reason"


def test_an_order_that_becomes_active_again_within_the_second_is_not_rejected() -> None:
    bench = Bench().say(status("Inactive")).wait(0.5).say(status("Submitted")).wait(5)
    assert bench.kinds == ["Accepted", "Working"]


def test_a_fill_after_a_rejection_wins() -> None:
    bench = Bench().say(error(201), executed("a.01"))
    assert bench.kinds == ["Rejected", "Accepted", "Filled"]
    assert bench.outcomes == ["failure"]


def test_a_rejection_after_a_success_is_still_a_failure() -> None:
    bench = Bench().say(status("Submitted"), error(201))
    assert bench.outcomes == ["success", "failure"]


@pytest.mark.parametrize("code", [110, 200, 321, 387, 434])
def test_what_ib_calls_malformed_counts_against_the_strategy(code: int) -> None:
    bench = Bench().say(error(code))
    assert bench.kinds == ["Rejected"]
    assert bench.outcomes == ["malformed"]


def test_an_unknown_code_makes_doubt_and_a_look_up_but_no_end() -> None:
    bench = Bench().say(error(54321))
    assert bench.only(Unknown).reason == "IB says 54321: text"
    assert bench.outcomes == ["malformed"], "of the strategy alone: nobody knows what it means"
    assert bench.looked_up
    # What the look-up brings settles it, and the failure stays the order's only outcome.
    bench.say(opened("Submitted"), status("Submitted"))
    assert bench.kinds == ["Unknown", "Accepted", "Working"] or bench.kinds == ["Unknown", "Accepted"]
    assert bench.outcomes == ["malformed"]


def test_a_duplicate_order_id_is_doubt_and_never_an_end() -> None:
    bench = Bench().say(error(103))
    assert isinstance(bench.only(Unknown), Unknown)
    assert record_of(bench.ledger, "o-1").ended == ""


def test_a_working_order_in_doubt_is_told_again_when_its_status_comes() -> None:
    bench = Bench().say(status("Submitted"), error(54321), status("Submitted"))
    assert bench.kinds == ["Accepted", "Working", "Unknown", "Working"]


def test_read_only_and_missing_rights_trip() -> None:
    text = "The API interface is currently in Read-Only mode."
    bench = Bench().say(error(321, text))
    assert bench.only(Tripped).ib_code == 321
    assert bench.only(Rejected).ib_code == 321
    assert Bench().say(error(10015)).only(Tripped).ib_code == 10015
    assert Bench().say(ErrorReport(-1, 1300, "port changed")).only(Tripped).ib_code == 1300


# -- cancels ----------------------------------------------------------------------------------------------


def test_a_cancel_that_was_asked_for_is_neutral_and_names_its_request() -> None:
    bench = Bench().say(status("Submitted"), executed("a.01", 40))
    bench.ledger.cancels.on_asked("o-1", "r-1")
    bench.say(status("Cancelled", 40, 60), error(202, "Order Canceled - reason:"))
    cancelled = bench.only(Cancelled)
    assert (cancelled.request_id, cancelled.filled, cancelled.remaining) == ("r-1", 40, 60)
    assert bench.outcomes == ["success", "neutral"]


@pytest.mark.parametrize("reports", list(itertools.permutations([status("Cancelled"), error(202, "reason: limit")])))
def test_a_cancel_that_nobody_asked_for_is_a_failure_with_its_text(reports: Any) -> None:
    bench = Bench().say(status("Submitted"), *reports).wait(5)
    assert bench.only(Cancelled).reason == "reason: limit"
    assert bench.outcomes == ["success", "failure"]


def test_cancelled_and_then_201_is_a_rejection() -> None:
    bench = Bench().say(status("Cancelled")).wait(0.1).say(error(201)).wait(5)
    assert bench.kinds == ["Rejected"]


def test_an_immediate_or_cancel_order_that_finds_nothing_is_no_failure() -> None:
    bench = Bench(tif="IOC").say(status("Submitted"), status("Cancelled"), error(202, "Order Canceled - reason:"))
    assert bench.outcomes == ["success", "neutral"]
    told = Bench(tif="IOC").say(error(202, "reason: too far through the market")).wait(1)
    assert told.outcomes == ["failure"]


def test_a_failed_cancel_leaves_the_order_as_it_was() -> None:
    bench = Bench().say(status("Submitted"))
    bench.ledger.cancels.on_asked("o-1", "r-1")
    assert bench.ledger.cancels.to_send() == {"o-1": 1}
    bench.ledger.cancels.on_sent("o-1", bench.now)
    assert bench.ledger.cancels.to_send() == {}
    bench.say(error(10148, "can not be cancelled, state: PendingSubmit"))
    failed = bench.only(CancelFailed)
    assert (failed.request_id, failed.ib_code) == ("r-1", 10148)
    assert bench.looked_up
    bench.say(executed("a.01"))
    assert bench.kinds[-1] == "Filled"


def test_a_cancel_of_an_order_that_is_over_or_was_never_here_fails() -> None:
    bench = Bench().say(executed("a.01"))
    bench._keep(bench.ledger.cancels.on_asked("o-1", "r-1"))
    bench._keep(bench.ledger.cancels.on_asked("stranger", "r-2"))
    reasons = [fact.reason for fact, _ in bench.told if isinstance(fact, CancelFailed)]
    assert reasons == ["the order was filled", "the executor does not know this order"]
    assert bench.ledger.cancels.to_send() == {}


def test_a_cancel_that_is_asked_for_again_of_a_cancelled_order_has_not_failed() -> None:
    bench = Bench().say(status("Submitted"))
    bench._keep(bench.ledger.cancels.on_asked("o-1", "r-1"))
    bench.say(status("Cancelled"))
    bench._keep(bench.ledger.cancels.on_asked("o-1", "r-1"))
    assert bench.kinds[-1] == "Cancelled"


# -- whose reports they are -------------------------------------------------------------------------------


def test_reports_about_orders_of_others_are_ignored() -> None:
    bench = Bench().say(
        opened("Submitted", order_ref="manual", perm_id=1, ib_order_id=50),
        opened("Submitted", order_ref="", perm_id=2, client_id=0, ib_order_id=0),
        status("Submitted", perm_id=3, client_id=8),
        executed("x.01", order_ref="other", perm_id=4),
        completed("Cancelled", order_ref="other", perm_id=4),
        error(201, ib_order_id=77),
        paid("x.01"),
    )
    assert bench.told == []


def test_an_order_id_that_ib_gave_to_another_order_is_not_believed() -> None:
    bench = Bench().say(status("Submitted"))
    other: Any = {"perm_id": 777, "order_ref": "of-another"}
    bench.say(status("Filled", 100, 0, perm_id=777), opened("Submitted", **other), executed("a.01", **other))
    assert bench.kinds == ["Accepted", "Working"]


# -- over a reconnect and a restart -----------------------------------------------------------------------


def test_what_is_told_again_after_a_reconnect_makes_no_second_fact() -> None:
    bench = Bench().say(status("Submitted"), executed("a.01", 40), paid("a.01"))
    told = list(bench.told)
    bench.say(opened("Submitted"), status("Submitted", 40, 60), executed("a.01", 40), paid("a.01"))
    assert bench.told == told


@pytest.mark.parametrize(
    ("report", "kind", "outcome"),
    [
        (completed("Cancelled", "Cancelled by Trader"), "Cancelled", "failure"),
        (completed("Inactive", "Rejected by exchange"), "Rejected", "failure"),
        (completed("Cancelled", "Order rejected - reason: no"), "Rejected", "failure"),
    ],
)
def test_what_happened_while_the_executor_was_away_is_found(report: Any, kind: str, outcome: str) -> None:
    first = Bench(tif="GTC").say(status("Submitted"))
    second = Bench(journal=first.journal)
    second.say(report, report)
    assert second.kinds == [kind]
    assert second.outcomes == [outcome]


def test_fills_while_away_are_added_to_those_before_and_told_once() -> None:
    first = Bench().say(status("Submitted"), executed("a.01", 40, 10), paid("a.01"))
    second = Bench(journal=first.journal)
    second.say(executed("a.01", 40, 10), paid("a.01"), executed("b.01", 60, 20), paid("b.01"), completed("Filled"))
    assert second.kinds == ["Filled", "Commission"]
    fill = second.only(Filled)
    assert (fill.cum_qty, fill.avg_price, fill.done) == (100, 16, True)
    third = Bench(journal=second.journal)
    third.say(executed("a.01", 40, 10), executed("b.01", 60, 20), paid("b.01"), completed("Filled"))
    assert third.told == []


def test_a_cancel_asked_for_before_the_restart_is_sent_after_it_and_is_neutral() -> None:
    first = Bench().say(status("Submitted"))
    first._keep(first.ledger.cancels.on_asked("o-1", "r-1"))
    second = Bench(journal=first.journal)
    assert second.ledger.cancels.to_send() == {"o-1": 1}
    second._keep(second.ledger.cancels.on_sent("o-1", second.now))
    second.say(status("Cancelled"))
    assert second.only(Cancelled).request_id == "r-1"
    assert second.outcomes == ["neutral"]


def test_an_ended_order_leaves_the_memory_and_is_still_known() -> None:
    bench = Bench().say(executed("a.01", 100, 10)).wait(KEEP_ENDED_SECS)
    assert bench.ledger.memory.orders == {}
    assert bench.ledger.memory._by_exec == {}
    assert bench.ledger.knows("o-1")
    bench.say(executed("a.01", 100, 10), paid("a.01"), executed("a.02", 100, 11))
    assert bench.kinds == ["Accepted", "Filled", "Commission", "Filled"]
    assert bench.told[-1][0].corrects == "a.01"
    assert bench.wait(KEEP_ENDED_SECS).ledger.memory.orders == {}


def test_the_window_counts_what_is_written_and_unanswered_for_less_than_five_seconds() -> None:
    bench = Bench()
    assert bench.ledger.window_used(4.999) == 1
    assert bench.ledger.window_used(5.0) == 0
    assert bench.ledger.unanswered() == ["o-1"]
    bench.say(error(399))
    assert bench.ledger.window_used(0.1) == 0
    assert bench.ledger.unanswered() == []


@given(st.permutations([executed("a.01", 30), executed("b.01", 70), executed("a.02", 30, 12), executed("b.01", 70)]))
def test_the_totals_are_the_same_in_whatever_order_fills_and_corrections_come(reports: Any) -> None:
    bench = Bench().say(*reports)
    filled, average = bench.ledger.totals("o-1")
    assert filled == 100
    assert average == pytest.approx((30 * 12 + 70 * 10) / 100)
    assert bench.kinds.count("Accepted") == 1
    assert bench.outcomes == ["success"]
    assert bench.only(Accepted)


SCRIPT = [
    *REJECTION,
    status("PreSubmitted"),
    status("Submitted"),
    status("Cancelled"),
    error(202),
    error(10349),
    error(54321),
    executed("a.01", 40),
    executed("b.01", 60),
    completed("Cancelled"),
    paid("a.01"),
]


@given(st.lists(st.one_of(st.sampled_from(SCRIPT), st.floats(0, 3)), max_size=25))
def test_whatever_comes_each_fact_comes_once_and_a_success_never_follows_a_failure(steps: list[Any]) -> None:
    bench = Bench()
    for step in steps:
        if isinstance(step, float):
            bench.wait(step)
        else:
            bench.say(step)
    assert bench.kinds.count("Accepted") <= 1
    fills = [fact.exec_id for fact, _ in bench.told if isinstance(fact, Filled)]
    assert len(fills) == len(set(fills))
    assert set(fills) == {step.exec_id for step in steps if isinstance(step, ExecutionReport)}
    assert bench.outcomes.count("success") <= 1
    assert "success" not in bench.outcomes[1:]
    done = [fact.done for fact, _ in bench.told if isinstance(fact, Filled)]
    assert done == [False] * (len(done) - 1) + [len(done) == 2] if done else True


# -- settled by a person ----------------------------------------------------------------------------------


def settled(bench: Bench) -> Bench:
    bench.wait(6)
    bench._keep(bench.ledger.on_resolved_by_hand("o-1"))
    return bench


def test_an_order_that_a_person_has_settled_is_in_doubt_no_more_and_stays_so_after_a_restart() -> None:
    bench = Bench()
    assert bench.wait(6).ledger.in_doubt() == ["o-1"]
    assert settled(bench).ledger.in_doubt() == []
    assert bench.ledger.unanswered() == []
    assert bench.told == []
    assert Bench(journal=bench.journal).ledger.in_doubt() == []


def test_whatever_ib_says_of_a_settled_order_is_told() -> None:
    assert settled(Bench()).say(status("Submitted")).kinds == ["Accepted", "Working"]
    assert settled(Bench()).say(status("Cancelled")).wait(2).kinds == ["Cancelled"]
    assert "Filled" in settled(Bench()).say(executed("e1")).kinds


def test_what_ib_has_ended_is_not_settled_again() -> None:
    bench = Bench().say(status("Submitted"), executed("e1"))
    bench._keep(bench.ledger.on_resolved_by_hand("o-1"))
    assert record_of(bench.ledger, "o-1").ended == "filled"


def test_ib_s_word_that_it_has_no_such_order_is_no_sign_of_life_of_one_that_worked() -> None:
    first = Bench().say(status("Submitted"))
    again = Bench(journal=first.journal)
    again._keep(again.ledger.cancels.on_asked("o-1", "r-1"))
    again._keep(again.ledger.cancels.on_sent("o-1", again.now))
    again.wait(10).say(error(10147))
    assert list(again.ledger.unheard_since(10)) == ["o-1"]
    assert "not confirmed" in again.ledger.changes.why_not("o-1", since=10)


def test_fills_that_ib_does_not_show_are_sought_until_the_order_is_called_unknown() -> None:
    bench = Bench().say(status("Submitted"), status("Filled", filled=100, remaining=0)).wait(2)
    assert list(bench.ledger.fills_sought()) == ["o-1"]
    bench._keep(bench.ledger.on_lost("o-1"))
    assert bench.kinds[-1] == "Unknown"
    assert bench.ledger.fills_sought() == {}
    bench.say(executed("e1"))
    assert bench.only(Filled).done


# -- changes ----------------------------------------------------------------------------------------------

LISTED = {"totalQuantity": 100, "lmtPrice": 9.0, "auxPrice": 0.0, "tif": "DAY"}


def changing(**terms: Any) -> Bench:
    bench = Bench().say(status("Submitted"), opened("Submitted", terms=LISTED))
    bench.told.clear()
    assert bench.ledger.changes.why_not("o-1", since=0.0) == ""
    bench._keep(bench.ledger.changes.intend("o-1", Change("r-1", 1, terms or {"lmtPrice": 9.5})))
    bench.ledger.changes.on_written("o-1", bench.now)
    return bench


def test_a_change_is_done_when_ib_lists_it_and_not_before() -> None:
    bench = changing().say(opened("Submitted", terms=LISTED))
    assert bench.kinds == []
    assert bench.say(opened("Submitted", terms={**LISTED, "lmtPrice": 9.5})).kinds == ["Replaced"]
    assert bench.outcomes == ["success"]
    assert bench.ledger.changes.in_doubt() == {}


def test_a_change_of_quantity_counts_only_when_ib_has_taken_it() -> None:
    bench = changing(totalQuantity=60)
    bench.say(executed("e1", shares=60, price=9))
    assert bench.only(Filled).remaining == 40
    bench.say(opened("Submitted", terms={**LISTED, "totalQuantity": 60}, quantity=60))
    assert bench.kinds[-1] == "Replaced"


@pytest.mark.parametrize("code", [103, 104, 105, 109, 110, 134, 201, 321, 329, 2102, 10326, 10327])
def test_a_change_that_ib_refuses_leaves_the_order_alone(code: int) -> None:
    bench = changing().say(error(code))
    assert bench.kinds == ["ReplaceFailed"]
    assert bench.only(ReplaceFailed).ib_code == code
    assert record_of(bench.ledger, "o-1").ended == ""
    assert bench.looked_up, "whether it has survived, IB's list tells"


def test_an_unknown_code_on_a_change_decides_nothing() -> None:
    bench = changing().say(error(77777))
    assert bench.only(Working).doubts == "r-1"
    assert bench.outcomes == ["malformed"], "of the strategy alone, and at once"
    assert list(bench.ledger.changes.in_doubt()) == ["o-1"]


ENDINGS = [(status("Cancelled"), "Cancelled"), (executed("e1"), "Filled")]


def over(how: str, **terms: Any) -> CompletedOrderReport:
    quantities = terms.pop("quantities", (0.0, 100.0))
    left = {name: value for name, value in LISTED.items() if name != "totalQuantity"}
    return CompletedOrderReport(PERM, "o-1", "DU0000000", how, "", terms={**left, **terms}, quantities=quantities)


@pytest.mark.parametrize(("end", "how"), ENDINGS)
def test_whether_a_change_came_before_the_end_only_ib_s_list_of_what_is_over_tells(end: Any, how: str) -> None:
    bench = changing().say(end).wait(2)
    assert not {"Replaced", "ReplaceFailed"} & set(bench.kinds)
    assert bench.looked_up
    bench.say(over(how))
    assert bench.only(ReplaceFailed).reason == "the order was over first"


def test_a_change_of_an_order_that_lives_after_all_is_under_way_still() -> None:
    bench = changing().say(status("Cancelled"), error(202, "Order Canceled - reason:"))
    assert list(bench.ledger.changes.of_ended()) == ["o-1"]
    assert bench.ledger.changes.in_doubt() == {}
    bench.wait(2).say(status("Submitted"))
    assert list(bench.ledger.changes.in_doubt()) == ["o-1"]
    assert bench.ledger.unanswered() == ["o-1~1"]
    assert bench.ledger.changes.of_ended() == {}


@pytest.mark.parametrize(("end", "how"), ENDINGS)
def test_a_change_that_made_the_order_end_was_done(end: Any, how: str) -> None:
    bench = changing().say(end).wait(2).say(over(how, lmtPrice=9.5))
    assert "Replaced" in bench.kinds
    assert bench.ledger.changes.of_ended() == {}


def test_a_change_of_quantity_is_seen_in_an_order_that_is_over() -> None:
    bench = changing(totalQuantity=60).say(executed("e1", shares=60))
    bench.say(over("Filled", quantities=(0.0, 60.0)))
    assert [kind for kind in bench.kinds if kind in ("Replaced", "Cancelled")] == ["Replaced", "Cancelled"]
    assert bench.only(Cancelled).remaining == 0
    assert record_of(bench.ledger, "o-1").ended == "cancelled"


def test_lowered_to_what_is_filled_an_order_has_its_end() -> None:
    bench = changing(totalQuantity=60).say(executed("e1", shares=60))
    bench.say(opened("Filled", terms={**LISTED, "totalQuantity": 60}, quantity=60))
    assert [kind for kind in bench.kinds if kind in ("Replaced", "Cancelled")] == ["Replaced", "Cancelled"]
    assert bench.only(Cancelled).filled == 60


@pytest.mark.parametrize(("end", "how"), ENDINGS)
def test_ib_s_own_refusal_answers_the_change_of_an_order_that_has_ended(end: Any, how: str) -> None:
    bench = changing().say(end).wait(2).say(error(104), over(how))
    assert bench.only(ReplaceFailed).ib_code == 104


def test_the_change_of_an_ended_order_is_open_over_a_restart() -> None:
    again = Bench(journal=changing().say(executed("e1")).journal)
    assert list(again.ledger.changes.of_ended()) == ["o-1"]
    again.wait(10_000).say(over("Filled", lmtPrice=9.5))
    assert again.kinds == ["Replaced"]


def test_a_person_s_settlement_answers_the_change_too() -> None:
    bench = changing()
    bench._keep(bench.ledger.on_resolved_by_hand("o-1"))
    assert bench.kinds == ["ReplaceFailed"]


def test_nothing_is_changed_that_ib_has_not_confirmed_on_this_connection() -> None:
    bench = Bench()
    assert "not confirmed" in bench.ledger.changes.why_not("o-1", since=0.0)
    bench.say(status("Submitted"))
    assert bench.ledger.changes.why_not("o-1", since=0.0) == ""
    assert "not confirmed" in bench.ledger.changes.why_not("o-1", since=1.0), "that was another connection"
    assert "never had" in bench.ledger.changes.why_not("nobody", since=0.0)
    bench._keep(bench.ledger.cancels.on_asked("o-1", "c-1"))
    assert "being cancelled" in bench.ledger.changes.why_not("o-1", since=0.0)


def test_a_change_takes_a_place_in_the_window_until_it_is_too_old_to_hold_up_the_line() -> None:
    bench = changing()
    assert bench.ledger.window_used(bench.now) == 1
    assert bench.ledger.window_used(bench.now + 5.0) == 0


def test_a_change_is_known_for_ever_and_pending_over_a_restart() -> None:
    again = Bench(journal=changing().journal)
    assert list(again.ledger.changes.in_doubt()) == ["o-1"]
    assert again.ledger.changes.knows("o-1", 1)
    assert not again.ledger.changes.knows("o-1", 2)


# -- memory -----------------------------------------------------------------------------------------------


def test_nothing_is_forgotten_while_the_journal_does_not_have_it() -> None:
    bench = Bench().say(executed("e1"))
    bench.now += KEEP_ENDED_SECS
    bench.ledger.poll(bench.now, forget=False)
    assert "o-1" in bench.ledger.memory.orders
    bench.ledger.poll(bench.now)
    assert bench.ledger.memory.orders == {}


def test_a_corrected_execution_leaves_nothing_behind() -> None:
    bench = Bench().say(executed("0000e0d5.6596b0d2.01.01"), executed("0000e0d5.6596b0d2.01.02"))
    assert bench.wait(KEEP_ENDED_SECS).ledger.memory._by_exec == {}


def test_ended_orders_are_bounded_whatever_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.orders.ledger.MAX_ENDED", 2)
    bench = Bench().say(executed("e1"))
    for number in range(2, 5):
        bench.write(f"o-{number}")
        ids: Any = {"order_ref": f"o-{number}", "perm_id": PERM + number, "ib_order_id": number}
        bench.say(executed(f"e{number}", **ids))
    bench.wait(1)
    assert sorted(bench.ledger.memory.orders) == ["o-3", "o-4"]
    bench.told.clear()
    assert bench.say(executed("e1")).kinds == [], "the journal still knows that it was told"


# -- brackets ---------------------------------------------------------------------------------------------


def with_legs(journal: Journal | None = None) -> Bench:
    """`o-1` is the parent; the ids at IB of its legs `t` and `s` are 2 and 3."""
    bench = Bench(journal=journal, **({} if journal else {"legs": 2}))
    if journal is None:
        for leg in ("t", "s"):
            bench.write(leg, parent="o-1")
        bench.told.clear()
    return bench


def about(leg: str) -> dict[str, Any]:
    number = {"t": 2, "s": 3}[leg]
    return {"ib_order_id": number, "perm_id": PERM + number}


def works(bench: Bench, *legs: str) -> Bench:
    bench.say(status("Submitted"))
    return bench.say(*(status("Submitted", **about(leg)) for leg in legs))


def cancels(bench: Bench) -> list[str]:
    return list(bench.ledger.cancels.to_send())


def test_a_bracket_takes_one_place_in_the_window() -> None:
    assert with_legs().ledger.window_used(0.0) == 1


def test_a_refused_leg_takes_an_unfilled_parent_along() -> None:
    bench = works(with_legs(), "t").say(error(201, ib_order_id=3))
    assert cancels(bench) == ["o-1"]
    assert "missing" not in bench.only(Rejected).reason


def test_a_refused_leg_of_a_filled_parent_is_named_as_missing_and_what_lives_stays() -> None:
    bench = works(with_legs(), "t").say(executed("e1"), error(201, ib_order_id=3))
    assert cancels(bench) == []
    assert bench.only(Rejected).reason.endswith("this leg of o-1 is missing: 100 are filled without it")
    bench = works(with_legs(), "t").say(executed("e1"), error(201, "no " * 300, ib_order_id=3))
    assert len(bench.only(Rejected).reason) == MAX_REASON
    assert bench.only(Rejected).reason.endswith("this leg of o-1 is missing: 100 are filled without it")


def test_a_parent_with_a_partial_fill_and_a_living_leg_is_not_cancelled_and_without_one_its_rest_is() -> None:
    both = works(with_legs(), "t").say(executed("e1", shares=40), error(201, ib_order_id=3))
    assert cancels(both) == []
    none_left = both.say(error(201, ib_order_id=2))
    assert cancels(none_left) == ["o-1"]


def test_a_leg_that_ends_with_its_bracket_is_no_failure_and_one_that_the_venue_ends_is() -> None:
    bench = works(with_legs(), "t", "s").say(executed("e1"), executed("e2", **about("s"), order_ref="s"))
    bench.say(status("Cancelled", **about("t"))).wait(2)
    assert bench.only(Cancelled).reason == "the bracket of o-1 is over"
    assert "failure" not in bench.outcomes
    other = works(with_legs(), "t", "s").say(executed("e1"))
    other.say(error(202, "Order Canceled - reason:the venue says no", ib_order_id=3)).wait(2)
    assert "failure" in other.outcomes


def test_a_parent_that_is_over_stays_in_memory_as_long_as_a_leg_of_it() -> None:
    bench = works(with_legs(), "t", "s").say(executed("e1")).wait(2 * KEEP_ENDED_SECS)
    assert set(bench.ledger.memory.orders) == {"o-1", "t", "s"}
    again = with_legs(bench.journal)
    assert set(again.ledger.memory.orders) == {"o-1", "t", "s"}, "after a restart too"
    for leg in ("t", "s"):
        again.say(status("Cancelled", **about(leg)), error(202, ib_order_id=about(leg)["ib_order_id"])).wait(3)
    assert again.kinds.count("Cancelled") == 2
    for _ in range(3):
        again.wait(KEEP_ENDED_SECS + 1)
    assert again.ledger.memory.orders == {}


def test_a_leg_that_ib_ends_while_its_bracket_lives_is_a_failure() -> None:
    bench = works(with_legs(), "t", "s").say(executed("e1")).say(status("Cancelled", **about("t"))).wait(1.9)
    assert "Cancelled" not in bench.kinds, "what has become of its kin may follow"
    assert "failure" in bench.wait(0.1).outcomes


def test_after_a_crash_a_bracket_of_which_ib_has_only_a_part_is_cancelled_by_its_parent() -> None:
    before = works(with_legs(), "t")
    again = with_legs(before.journal)
    again.say(opened("Submitted"), opened("Submitted", **about("t"), order_ref="t"))
    assert again.ledger.broken_brackets() == ["o-1"]


def test_legs_that_ib_has_without_their_parent_are_cancelled_themselves() -> None:
    before = with_legs().say(status("PreSubmitted", **about("t")))
    assert with_legs(before.journal).ledger.broken_brackets() == ["t"]


def test_a_bracket_that_ib_has_whole_is_left_alone() -> None:
    assert with_legs(works(with_legs(), "t", "s").journal).ledger.broken_brackets() == []


def unseen() -> Bench:
    """After a crash nothing of the bracket is listed: it may be held back. Its cancel has left."""
    bench = with_legs(with_legs().journal)
    assert bench.ledger.broken_brackets() == ["o-1"]
    bench._keep(bench.ledger.cancels.on_asked("o-1", None))
    bench._keep(bench.ledger.cancels.on_sent("o-1", bench.now))
    return bench


def provable(bench: Bench) -> list[str]:
    return [order_id for order_id in ("o-1", "t", "s") if bench.ledger.is_provable(order_id)]


def test_a_bracket_that_ib_may_hold_back_is_not_called_not_placed_by_lists_alone() -> None:
    assert provable(unseen()) == []
    assert provable(with_legs().say(status("Submitted"))) == ["t", "s"], "all of it is transmitted"


@pytest.mark.parametrize("code", [135, 10147])
def test_ib_s_word_that_it_has_no_such_order_makes_the_parent_provable_and_then_its_legs(code: int) -> None:
    bench = unseen().say(error(code))
    assert bench.kinds == [], "no new doubt"
    assert provable(bench) == ["o-1"]
    bench._keep(bench.ledger.on_reconciled("o-1"))
    assert provable(bench) == ["o-1", "t", "s"]


def test_a_parent_that_was_held_back_ends_as_cancelled_and_its_legs_are_provable() -> None:
    bench = unseen().say(status("Cancelled"))
    assert bench.only(Cancelled).filled == 0
    assert provable(bench) == ["t", "s"]


def test_what_ib_said_over_an_earlier_connection_proves_nothing() -> None:
    bench = unseen().say(error(10147))
    bench._keep(bench.ledger.cancels.on_new_connection())
    assert provable(bench) == []
    assert cancels(bench) == ["o-1"]


def test_a_broken_bracket_whose_parent_has_fills_keeps_the_leg_that_protects_them() -> None:
    before = works(with_legs(), "t").say(executed("e1", shares=40))
    assert with_legs(before.journal).ledger.broken_brackets() == []


# -- read-only in another language ------------------------------------------------------------------------

FOREIGN = "Fehler: nur lesender Zugriff"


def refused_twice(*between: Any) -> Bench:
    bench = Bench()
    bench.write("o-2")
    return bench.say(error(321, FOREIGN), *between, error(321, FOREIGN, ib_order_id=2))


def test_two_orders_in_a_row_that_are_refused_with_321_in_another_language_stop_all() -> None:
    bench = refused_twice()
    assert bench.only(Tripped).ib_code == 321
    bench.write("o-3")
    bench.write("o-4")
    bench.say(error(321, FOREIGN, ib_order_id=3), error(321, FOREIGN, ib_order_id=4))
    assert len(bench.all(Tripped)) == 2, "also after a person's reset"


@pytest.mark.parametrize("between", [error(201, "no", ib_order_id=2), status("Submitted", ib_order_id=2, perm_id=2)])
def test_with_anything_between_them_they_are_the_strategy_s_own(between: Any) -> None:
    assert refused_twice(between).all(Tripped) == []


def test_said_twice_of_one_order_or_in_english_it_is_no_such_thing() -> None:
    assert Bench().say(error(321, FOREIGN), error(321, FOREIGN)).all(Tripped) == []
    bench = Bench()
    bench.write("o-2")
    text = "Error validating request.-'bW' : cause - The size is wrong"
    assert bench.say(error(321, text), error(321, text, ib_order_id=2)).all(Tripped) == []


def test_a_gateway_that_makes_up_codes_fills_neither_memory_nor_log() -> None:
    bench = Bench().say(*(error(50_000 + number) for number in range(2 * MAX_CODES_TOLD)))
    assert len(bench.alarms) == MAX_CODES_TOLD


# -- what is told once ------------------------------------------------------------------------------------


def test_an_order_whose_kin_has_left_the_memory_is_filled_as_any_other() -> None:
    bench = Bench()
    for number, order_id in enumerate(("o-2", "o-3"), 2):
        bench.write(order_id, oca_group="g")
        named: dict[str, Any] = {"ib_order_id": number, "perm_id": 9000 + number, "order_ref": order_id}
        bench.say(opened("Submitted", **named))
    bench.say(executed("a.01", 40, ib_order_id=2, perm_id=9002, order_ref="o-2"))
    bench.say(executed("a.02", 100, ib_order_id=2, perm_id=9002, order_ref="o-2")).wait(KEEP_ENDED_SECS + 1)
    bench.say(executed("b.01", 100, ib_order_id=3, perm_id=9003, order_ref="o-3"))
    assert [fact.order_id for fact in bench.all(Filled) if fact.done] == ["o-2", "o-3"]


def test_of_an_execution_in_the_journal_the_highest_revision_stands_whichever_came_first() -> None:
    bench = Bench().say(opened("Submitted"), status("Submitted"))
    revised = [Execution("e.02", "o-1", 5, 10), Execution("e.01", "o-1", 2, 10)]
    bench.journal.save(Keep(executions=revised), 0)
    (told,) = Bench(journal=bench.journal).ledger.told_open()
    assert told.filled == 5


def test_an_end_in_a_word_that_nobody_knows_is_a_line_of_the_log() -> None:
    bench = Bench().say(opened("Submitted"))
    effects = bench.ledger.on_report(completed("Mislaid", "by IB"), bench.now)
    assert effects.notes == ["o-1: IB completed it with the status 'Mislaid' (by IB)"]
    assert not [fact for fact, _ in effects.facts if not isinstance(fact, Accepted)]
