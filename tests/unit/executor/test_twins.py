"""A second order at IB under our reference: alarm, cancel, fills, and what is none."""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse.bus.events import Accepted, CancelFailed, Cancelled, Filled, Unknown
from services.executor.orders.twins import MAX_TWINS
from services.wire.feedback import Working
from tests.unit.executor.bench import OURS, Bench, completed, error, executed, opened, status

B = 777
CANCELED = error(202, "Order Canceled - reason:")


def twinned() -> Bench:
    """A change that came while IB was away has become a second order."""
    bench = Bench(quantity=10).say(status("Submitted", 0, 10))
    bench.told.clear()
    return bench.say(opened("Submitted", perm_id=B, quantity=10), opened("Submitted", quantity=10))


def test_a_second_living_order_makes_the_order_unknown() -> None:
    bench = twinned()
    unknown = bench.only(Unknown)
    assert unknown.twin == B
    assert "permanent id 777" in unknown.reason
    bench.say(opened("Submitted", perm_id=B), status("Submitted", perm_id=B), status("Submitted", 0, 10)).wait(60)
    assert bench.kinds == ["Unknown"], "it is said once, and that the first one works makes it no better"
    assert bench.ledger.knows_perm_id(B), "it is no stranger's"


def test_the_cancel_reaches_both() -> None:
    bench = twinned().cancel().say(status("Cancelled", 0, 10), CANCELED)
    assert bench.all(Cancelled) == []
    assert bench.send_cancels() == [1], "the same number is the other one's too"
    bench.say(status("Cancelled", 0, 10, perm_id=B))
    assert (bench.only(Cancelled).filled, bench.only(Cancelled).request_id) == (0, "r-1")


def test_the_cancel_goes_on_also_when_the_other_one_went_first() -> None:
    bench = twinned().cancel().say(status("Cancelled", 0, 10, perm_id=B))
    assert bench.send_cancels() == [1]
    assert bench.say(status("Cancelled", 0, 10)).only(Cancelled).request_id == "r-1"
    assert bench.send_cancels() == []


def test_of_three_the_cancel_takes_all() -> None:
    bench = twinned().say(opened("Submitted", perm_id=778)).cancel()
    for perm_id in (B, 778):
        bench.say(status("Cancelled", 0, 10, perm_id=perm_id))
        assert bench.send_cancels() == [1]
    assert bench.say(status("Cancelled", 0, 10)).only(Cancelled)


def test_the_cancel_reaches_one_under_another_number() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10))
    bench.say(opened("Submitted", perm_id=B, ib_order_id=5)).cancel().say(status("Cancelled", 0, 10))
    assert bench.send_cancels() == [5]


def test_what_the_other_one_fills_is_told_and_the_end_has_it() -> None:
    bench = twinned().cancel().say(status("Cancelled", 0, 10), CANCELED, executed("e1", 4, perm_id=B))
    fill = bench.only(Filled)
    assert (fill.shares, fill.cum_qty, fill.remaining, fill.done) == (4, 4, 6, False)
    assert bench.kinds[-1] == "Unknown" or bench.ledger.in_doubt() == ["o-1"]
    bench.send_cancels()
    assert bench.say(status("Cancelled", 4, 6, perm_id=B)).only(Cancelled).filled == 4


def test_an_end_waits_for_what_the_other_one_has_filled() -> None:
    bench = twinned().cancel().say(status("Cancelled", 0, 10), CANCELED)
    bench.send_cancels()
    bench.looked_up = False
    bench.say(opened("Cancelled", perm_id=B), status("Cancelled", 4, 6, perm_id=B))
    assert bench.all(Cancelled) == []
    assert bench.looked_up
    assert bench.say(executed("e1", 4, perm_id=B)).only(Cancelled).filled == 4


@pytest.mark.parametrize("code", [202, 201])
def test_an_error_under_the_number_of_both_ends_neither(code: int) -> None:
    bench = twinned().say(error(code, "Order Canceled - reason:")).wait(5)
    assert bench.kinds == ["Unknown"]
    assert bench.looked_up
    bench.say(status("Cancelled", 0, 10, perm_id=B))
    assert bench.kinds == ["Unknown", "Working"]
    assert "failure" not in bench.outcomes


def test_one_that_is_held_lives() -> None:
    bench = twinned().say(status("Inactive", perm_id=B, why_held="child,locate"))
    assert bench.ledger.in_doubt() == ["o-1"]
    assert Bench().say(status("Submitted"), opened("Inactive", perm_id=B)).only(Unknown).twin == B


def test_a_status_of_another_one_under_our_number_has_the_lists_asked_once() -> None:
    bench = Bench().say(status("Submitted"), status("Submitted", perm_id=B))
    assert bench.looked_up
    bench.looked_up = False
    assert not bench.say(status("Submitted", perm_id=B)).looked_up
    assert bench.kinds == ["Accepted", "Working"]


def test_after_each_fill_it_is_unknown_again() -> None:
    bench = twinned().say(executed("e1", 4, perm_id=B), executed("e2", 3))
    assert bench.kinds[-1] == "Unknown"
    assert bench.ledger.in_doubt() == ["o-1"]


def test_both_filled_is_no_end_before_both_are_over() -> None:
    bench = twinned().say(executed("e1", 10), status("Filled", 10, 0))
    assert not bench.only(Filled).done
    bench.say(executed("e2", 10, perm_id=B), status("Filled", 10, 0, perm_id=B))
    assert bench.only(Cancelled).filled == 20, "twice what was asked for, and said"


def test_one_that_shows_after_the_order_was_over_makes_it_unknown() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10)).cancel().say(status("Cancelled", 0, 10))
    assert bench.only(Cancelled)
    bench.say(opened("Submitted", perm_id=B))
    assert bench.only(Unknown).twin == B
    bench.cancel(request_id="r-2")
    bench.say(status("Cancelled", 0, 10, perm_id=B))
    assert [fact.request_id for fact in bench.all(Cancelled)] == ["r-1", "r-2"]


def test_when_the_other_one_is_gone_the_order_works_on() -> None:
    bench = twinned().say(status("Cancelled", 0, 10, perm_id=B))
    assert bench.only(Working).status == "Submitted"
    assert bench.ledger.in_doubt() == []


@pytest.mark.parametrize("state", ["Cancelled", "Filled"])
def test_a_cancel_that_ib_refuses_for_the_other_one_says_so(state: str) -> None:
    bench = twinned().cancel().say(status("Cancelled", 0, 10), CANCELED)
    bench.send_cancels()
    bench.say(error(10148, f"OrderId 1 that needs to be cancelled can not be cancelled, state: {state}."))
    assert "another order lives at IB under its reference" in bench.only(CancelFailed).reason
    assert bench.ledger.in_doubt() == ["o-1"]


def test_it_is_known_over_a_restart() -> None:
    again = Bench(journal=twinned().say(executed("e1", 4, perm_id=B)).journal)
    assert again.ledger.in_doubt() == ["o-1"]
    again.say(opened("Submitted", quantity=10), status("Submitted", 0, 10), opened("Submitted", perm_id=B, quantity=10))
    again.wait(60)
    assert not again.looked_up, "the numbers of the first one are its own"
    again.cancel().say(status("Cancelled", 0, 10))
    again.send_cancels()
    assert again.say(status("Cancelled", 4, 6, perm_id=B)).only(Cancelled).filled == 4


@pytest.mark.parametrize(
    "about",
    [
        {"ib_order_id": 0, "client_id": 0},
        {"ib_order_id": -3, "client_id": 0},
        {"client_id": OURS + 1},
        {"order_ref": "of-another-session"},
    ],
)
def test_copies_by_hand_and_numbers_given_out_again_are_none(about: dict[str, Any]) -> None:
    bench = Bench().say(status("Submitted"))
    bench.say(opened("Submitted", perm_id=B, **about), executed("e1", perm_id=B, **about))
    assert bench.kinds == ["Accepted", "Working"]


def test_one_that_was_over_when_it_was_first_seen_is_none() -> None:
    bench = Bench().say(status("Submitted"), opened("Cancelled", perm_id=B), completed("Cancelled", perm_id=B))
    assert bench.kinds == ["Accepted", "Working"]


def test_the_first_to_be_shown_is_the_order_itself() -> None:
    bench = Bench(quantity=10).say(opened("Submitted", perm_id=B, quantity=10))
    assert bench.only(Accepted).perm_id == B
    assert bench.say(opened("Submitted", quantity=10)).only(Unknown).twin > 0


def test_one_that_only_the_list_of_what_is_over_shows_is_over() -> None:
    bench = twinned().say(completed("Cancelled", perm_id=B, quantities=(10, 10)), status("Submitted", 0, 10))
    assert bench.kinds[-1] == "Working"
    assert bench.ledger.in_doubt() == []


def test_a_cancel_is_not_sent_for_ever_after_what_lives_on_under_the_reference() -> None:
    bench = twinned().cancel()
    for _ in range(MAX_TWINS + 2):
        bench.say(status("Submitted", 0, 10, perm_id=B), status("Cancelled", 0, 10, perm_id=B))
        if not bench.send_cancels():
            break
    assert bench.only(CancelFailed).request_id == "r-1"
    assert bench.send_cancels() == []
