"""Which ends of IB's are ordinary, and what is told of them (BREAKER, ordinary ends)."""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse.bus.events import Cancelled, Filled, Rejected, ReplaceFailed
from services.executor.orders.ledger import GROUP_ENDS_SECS
from services.executor.orders.records import Change
from tests.orders import record_of
from tests.unit.executor.bench import PERM, Bench, completed, error, executed, opened, status

NO_REASON = "Order Canceled - reason:"


def over(bench: Bench, text: str = NO_REASON, **about: Any) -> Bench:
    """IB ends it as it always does: the status, and then its 202."""
    number = about.get("ib_order_id", 1)
    filled = about.pop("filled", 0)
    return bench.say(status("Cancelled", filled, 100 - filled, **about), error(202, text, number))


def pair(**record: Any) -> Bench:
    """Two resting orders of one OCA group: o-1 and o-2."""
    bench = Bench(oca_group="exit", **record)
    bench.write("o-2", oca_group="exit")
    bench.say(status("Submitted"), status("Submitted", **SECOND))
    bench.told.clear()
    return bench.wait(10)


SECOND: dict[str, Any] = {"ib_order_id": 2, "perm_id": PERM + 2}


# -- OCA --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [100, 40])
def test_the_rest_of_a_group_goes_when_one_of_it_is_filled(shares: float) -> None:
    bench = pair(tif="GTC").say(executed("e1", shares, **SECOND, order_ref="o-2"))
    over(bench)
    assert bench.only(Cancelled).reason == "another order of its OCA group was filled"
    assert bench.outcomes[-1] == "neutral"
    assert "failure" not in bench.outcomes


def test_the_fill_may_be_told_after_the_end_that_it_brings() -> None:
    bench = over(pair(tif="GTC")).wait(1.9)
    assert bench.kinds == [], "it is not known yet whether this is a failure"
    bench.say(executed("e1", **SECOND, order_ref="o-2"))
    assert "Cancelled" in bench.kinds
    assert "failure" not in bench.outcomes


def test_without_a_fill_of_the_group_it_is_a_failure() -> None:
    bench = over(pair(tif="GTC")).wait(2)
    assert bench.only(Cancelled).order_id == "o-1"
    assert bench.outcomes == ["failure"]


def test_the_reason_of_it_may_be_named() -> None:
    bench = pair(tif="GTC").say(executed("e1", **SECOND, order_ref="o-2"))
    over(bench, "Order Canceled - reason:OCA group cancelled").wait(2)
    assert bench.only(Cancelled).reason == "Order Canceled - reason:OCA group cancelled"
    assert "failure" not in bench.outcomes


def test_that_the_group_is_over_is_known_after_a_restart_and_to_who_comes_later() -> None:
    before = pair(tif="GTC").say(executed("e1", **SECOND, order_ref="o-2"))
    again = over(Bench(journal=before.journal))
    assert again.outcomes == ["neutral"]
    before.write("o-3", oca_group="exit", tif="GTC")
    third: dict[str, Any] = {"ib_order_id": 3, "perm_id": PERM + 3}
    over(before.say(status("Submitted", **third)), **third)
    assert before.outcomes[-1] == "neutral"


def test_a_name_that_is_used_again_is_another_group() -> None:
    bench = pair(tif="GTC").say(executed("e1", **SECOND, order_ref="o-2")).wait(GROUP_ENDS_SECS)
    bench.write("o-3", oca_group="exit", tif="GTC")
    third: dict[str, Any] = {"ib_order_id": 3, "perm_id": PERM + 3}
    over(bench.say(status("Submitted", **third)), **third).wait(2)
    assert bench.outcomes[-1] == "failure"


def test_a_group_of_another_name_is_none_of_its_business() -> None:
    bench = Bench(oca_group="exit", tif="GTC")
    bench.write("o-2", oca_group="entry")
    bench.say(status("Submitted"), executed("e1", **SECOND, order_ref="o-2")).wait(5)
    assert over(bench).wait(2).outcomes[-1] == "failure"


# -- what ends in its time --------------------------------------------------------------------------------


@pytest.mark.parametrize("tif", ["", "DAY", "OPG", "GTD"])
def test_an_order_that_ends_in_its_time_is_no_failure(tif: str) -> None:
    bench = over(Bench(tif=tif).say(status("Submitted")).wait(2))
    assert bench.outcomes == ["success", "neutral"]
    assert (bench.only(Cancelled).filled, bench.only(Cancelled).remaining) == (0, 100)


@pytest.mark.parametrize("tif", ["", "DAY", "OPG", "GTD"])
def test_a_broker_that_drops_it_on_arrival_has_failed(tif: str) -> None:
    bench = over(Bench(tif=tif).say(status("Submitted")).wait(1.99)).wait(10)
    assert bench.outcomes == ["success", "failure"]
    assert over(Bench(tif=tif)).outcomes == ["failure"], "it had never been shown"


@pytest.mark.parametrize("tif", ["GTC", "DAY"])
def test_with_a_reason_that_nobody_here_asked_for_it_is_a_failure(tif: str) -> None:
    bench = over(Bench(tif=tif).say(status("Submitted")).wait(60), NO_REASON + "the venue says no")
    assert bench.outcomes == ["success", "failure"]


def test_a_reason_is_seen_in_another_language_too() -> None:
    chinese = "\u59d4\u6258\u5355\u5df2\u53d6\u6d88 \u539f\u56e0\uff1a"
    assert over(Bench().say(status("Submitted")).wait(60), chinese).outcomes == ["success", "neutral"]
    assert over(Bench().say(status("Submitted")).wait(60), chinese + "\u4ef7").outcomes == ["success", "failure"]


@pytest.mark.parametrize("tif", ["IOC", "FOK"])
def test_what_is_filled_at_once_or_not_ends_at_once(tif: str) -> None:
    assert over(Bench(tif=tif).say(status("PreSubmitted"))).outcomes == ["neutral"]
    assert over(Bench(tif=tif).say(status("PreSubmitted")), NO_REASON + "no").outcomes == ["failure"]


def test_one_that_is_good_till_cancelled_ends_by_nobody() -> None:
    assert over(Bench(tif="GTC").say(status("Submitted")).wait(9999)).outcomes == ["success", "failure"]


def test_what_ended_at_the_close_while_the_executor_was_away_is_ordinary() -> None:
    again = Bench(journal=Bench().say(status("Submitted")).journal)
    assert again.say(completed("Cancelled", "Cancelled by Trader")).outcomes == ["neutral"]


# -- our own doing ----------------------------------------------------------------------------------------


def test_an_end_that_follows_a_cancel_of_ours_is_ordinary_whatever_was_said_between() -> None:
    for said in (error(10147), error(10148, "can not be cancelled, state: Filled."), error(161), error(77777)):
        bench = Bench(tif="GTC").say(status("Submitted")).cancel().say(said)
        over(bench, NO_REASON + "too late").wait(2)
        assert "failure" not in bench.outcomes, said
        assert bench.only(Cancelled).filled == 0


def test_our_cancel_of_an_order_that_is_being_changed_is_no_failure() -> None:
    bench = Bench(tif="GTC").say(status("Submitted"))
    bench._keep(bench.ledger.changes.intend("o-1", Change("c-1", 1, {"lmtPrice": 9.5})))
    bench.ledger.changes.on_written("o-1", bench.now)
    over(bench.cancel())
    assert bench.only(Cancelled).request_id == "r-1"
    assert bench.outcomes == ["success", "neutral"]
    bench._keep(bench.ledger.changes.on_failed("o-1", "the order is over"))
    assert bench.only(ReplaceFailed).ib_code == 0, "the 202 was about the order"
    assert "failure" not in bench.outcomes


def test_inactive_after_a_cancel_of_ours_is_no_failure_and_a_refusal_of_ib_s_is() -> None:
    bench = Bench(tif="GTC").say(status("PreSubmitted")).cancel().say(status("Inactive")).wait(1)
    assert bench.only(Rejected)
    assert bench.outcomes == ["neutral"]
    assert Bench().say(status("PreSubmitted")).cancel().say(error(201)).outcomes == ["failure"]


# -- what is lowered to what is filled --------------------------------------------------------------------


def test_lowered_by_a_replace_to_what_is_filled() -> None:
    bench = Bench(tif="GTC").say(status("Submitted"), executed("e1", 60), status("Submitted", 60, 40))
    bench.say(opened("Filled", quantity=60), status("Filled", 60, 0))
    assert bench.only(Cancelled).remaining == 0
    assert bench.outcomes == ["success", "neutral"]


def test_lowered_by_a_replace_that_ib_has_not_answered() -> None:
    bench = Bench(quantity=10, tif="GTC").say(status("Submitted", 0, 10), executed("e1", 4), status("Submitted", 4, 6))
    bench._keep(bench.ledger.changes.intend("o-1", Change("c-1", 1, {"totalQuantity": 4.0})))
    bench.say(status("Cancelled", 4, 0), error(202, NO_REASON))
    assert bench.only(Cancelled).remaining == 0
    assert "failure" not in bench.outcomes


def test_one_that_goes_inactive_with_its_group_is_no_failure() -> None:
    bench = pair(tif="GTC").say(executed("e1", **SECOND, order_ref="o-2"), status("Inactive")).wait(1)
    assert bench.only(Rejected).order_id == "o-1"
    assert "failure" not in bench.outcomes


def test_larger_at_ib_than_what_was_filled_it_lives() -> None:
    bench = Bench(quantity=10, tif="GTC").say(status("Submitted", 0, 10), executed("e1", 10))
    assert bench.only(Filled).done
    bench.say(opened("Submitted", quantity=20), status("Submitted", 10, 10))
    assert bench.told[-1][0].lives
    bench.say(executed("e2", 10))
    assert bench.all(Filled)[-1].done


def test_cut_by_ib_to_what_is_filled() -> None:
    bench = Bench(tif="GTC").say(status("Submitted"), executed("e1", 60), status("Submitted", 60, 40))
    bench.say(error(481, "The size was reduced"))
    assert over(bench, filled=60).outcomes == ["success", "neutral"]


def test_an_order_of_cash_is_over_when_ib_says_so_with_less_than_was_told() -> None:
    bench = Bench(quantity=10, tif="GTC").say(status("Submitted", 0, 10), executed("e1", 9.73))
    bench.say(status("Filled", 9.73, 0))
    cancelled = bench.only(Cancelled)
    assert (cancelled.filled, cancelled.remaining) == (9.73, 0)
    assert "failure" not in bench.outcomes


# -- held orders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["locate", "child,locate", "locate, trigger", "Locate"])
def test_an_order_that_waits_for_shares_lives_whatever_else_it_waits_for(why: str) -> None:
    bench = Bench().say(status("Inactive", why_held=why)).wait(5)
    assert bench.kinds[0] == "Accepted"
    assert "Rejected" not in bench.kinds


def test_inactive_after_ib_s_word_that_shares_are_located_is_no_rejection() -> None:
    bench = Bench().say(error(404, "Order held while securities are located."), status("Inactive")).wait(5)
    assert "Rejected" not in bench.kinds


def test_inactive_without_locate_is_rejected() -> None:
    assert Bench().say(status("Inactive", why_held="child,trigger")).wait(1).kinds == ["Rejected"]


# -- when it is told --------------------------------------------------------------------------------------


def test_the_end_waits_for_its_status_when_the_error_comes_first() -> None:
    bench = Bench().say(status("Submitted"), executed("e1", 40), status("Submitted", 40, 60)).cancel()
    bench.say(error(202, NO_REASON))
    assert "Cancelled" not in bench.kinds
    bench.say(status("Cancelled", 40, 60))
    assert bench.only(Cancelled).filled == 40


def test_the_error_alone_ends_it_a_second_later() -> None:
    bench = Bench().say(status("Submitted")).cancel().say(error(202, NO_REASON)).wait(0.99)
    assert "Cancelled" not in bench.kinds
    assert "Cancelled" in bench.wait(0.01).kinds


def test_ib_s_own_word_that_it_was_cancelled_stands_against_a_list_that_has_it_as_inactive() -> None:
    bench = Bench(tif="GTC").say(status("Submitted"), error(202, NO_REASON), completed("Inactive", "Inactive"))
    assert bench.only(Cancelled)


def test_one_that_lives_after_all_is_told_to_live_also_with_the_status_that_it_had() -> None:
    bench = Bench().say(status("Submitted"), error(201))
    assert bench.kinds[-1] == "Rejected"
    assert bench.say(status("Submitted")).kinds[-1] == "Working"


@pytest.mark.parametrize("code", [201, 104, 110, 77777])
def test_the_refusal_of_a_change_said_twice_is_about_the_change_both_times(code: int) -> None:
    bench = Bench(tif="GTC").say(status("Submitted"))
    bench._keep(bench.ledger.changes.intend("o-1", Change("c-1", 1, {"lmtPrice": 9.5})))
    bench.ledger.changes.on_written("o-1", bench.now)
    bench.say(error(code))
    if code == 77777:
        bench._keep(bench.ledger.changes.on_failed("o-1", "IB lists the order unchanged"))
    bench.say(error(code))
    assert bench.only(ReplaceFailed).ib_code == code
    assert bench.kinds[-1] == "ReplaceFailed"
    assert record_of(bench.ledger, "o-1").ended == ""
