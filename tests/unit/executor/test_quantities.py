"""IB's own numbers beside the sum of its executions: what does not fit is looked up before an end is told."""

from __future__ import annotations

import pytest

from orderfuse.bus.events import Cancelled, Filled, Rejected, ReplaceFailed, Unknown
from services.executor.orders.quantities import LOOK_AGAIN_SECS
from services.executor.orders.records import Change
from tests.unit.executor.bench import Bench, completed, error, executed, opened, status

CANCELED = error(202, "Order Canceled - reason:")


def short_of_four(*, cancel: bool = True) -> Bench:
    """IB says that 4 are filled, and its execution is lost."""
    bench = Bench(quantity=10).say(status("Submitted", 0, 10))
    if cancel:
        bench.cancel()
    return bench.say(status("Submitted", 4, 6))


def test_a_cancelled_order_is_not_told_before_its_fills_are_known() -> None:
    bench = short_of_four().say(status("Cancelled", 4, 6), CANCELED)
    assert bench.all(Cancelled) == []
    assert not bench.wait(1.99).looked_up
    assert bench.wait(0.01).looked_up
    bench.say(executed("e1", 4))
    cancelled = bench.only(Cancelled)
    assert (cancelled.filled, cancelled.remaining, cancelled.request_id) == (4, 6, "r-1")
    assert bench.kinds[-2:] == ["Filled", "Cancelled"]


def test_what_ib_s_lists_do_not_explain_is_unknown_and_is_told_when_they_do() -> None:
    bench = short_of_four().say(status("Cancelled", 4, 6), CANCELED).wait(2)
    assert list(bench.ledger.fills_sought()) == ["o-1"]
    bench._keep(bench.ledger.on_lost("o-1"))
    assert bench.only(Unknown).reason == "IB says that 4 are filled, and lists executions of 0"
    assert bench.ledger.fills_sought() == {}
    bench.say(executed("e1", 4))
    assert bench.only(Cancelled).filled == 4


def test_what_is_unknown_for_want_of_fills_is_asked_for_now_and_then() -> None:
    bench = short_of_four(cancel=False).wait(2)
    bench._keep(bench.ledger.on_lost("o-1"))
    bench.looked_up = False
    assert not bench.wait(LOOK_AGAIN_SECS - 0.1).looked_up
    assert bench.wait(0.1).looked_up
    bench.say(executed("e1", 4), status("Submitted", 4, 6))
    bench.looked_up = False
    assert not bench.wait(2 * LOOK_AGAIN_SECS).looked_up


@pytest.mark.parametrize("numbers", [(4, 6), (10, 0), (12, 0)])
def test_a_working_order_whose_numbers_do_not_fit_is_looked_up_once(numbers: tuple[float, float]) -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10), status("Submitted", *numbers)).wait(2)
    assert bench.looked_up
    bench.looked_up = False
    bench.say(status("Submitted", *numbers)).wait(30)
    assert not bench.looked_up
    bench._keep(bench.ledger.on_lost("o-1"))
    assert bench.kinds[-1] == "Unknown"
    bench.say(opened("Submitted", quantity=10), status("Submitted", *numbers))
    assert bench.kinds[-1] == "Unknown", "that it works is not what is open about it"


def test_a_fill_that_comes_a_moment_after_its_status_is_nothing() -> None:
    bench = short_of_four(cancel=False).wait(1.9).say(executed("e1", 4)).wait(60)
    assert not bench.looked_up
    assert bench.kinds == ["Accepted", "Working", "Filled"]


def test_an_execution_that_no_status_has_is_looked_up_and_the_list_s_status_settles_it() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10), executed("e1", 4)).wait(2)
    assert bench.looked_up
    bench.say(opened("Submitted", quantity=10), status("Submitted", 4, 6))
    assert bench.ledger.fills_sought() == {}
    assert bench.all(Unknown) == []


def test_a_late_status_of_before_the_fill_ends_nothing_with_too_little() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10), executed("e1", 4), status("Submitted", 4, 6)).cancel()
    bench.say(status("Submitted", 0, 10), CANCELED).wait(1)
    assert bench.all(Cancelled) == []
    assert bench.say(status("Cancelled", 4, 6)).only(Cancelled).filled == 4


def test_what_remains_is_looked_up_when_it_does_not_add_up() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 7)).wait(2)
    assert bench.looked_up
    bench.looked_up = False
    bench.say(opened("Submitted", quantity=7), status("Submitted", 0, 7)).wait(60)
    assert not bench.looked_up
    assert bench.all(Unknown) == []
    bench.say(executed("e1", 7))
    assert bench.only(Filled).done


def test_the_list_of_what_is_over_says_how_much_was_filled() -> None:
    bench = Bench(journal=Bench(quantity=10).say(status("Submitted", 0, 10)).journal)
    bench.say(completed("Cancelled", "Cancelled by Trader", quantities=(6.0, 10.0)))
    assert bench.all(Cancelled) == []
    bench.say(executed("e1", 4))
    assert bench.only(Cancelled).filled == 4


def test_a_list_that_says_nothing_of_fills_keeps_nothing_back() -> None:
    bench = Bench(journal=Bench(quantity=10).say(status("Submitted", 0, 10), executed("e1", 4)).journal)
    assert bench.say(completed("Cancelled", quantities=(6.0, 6.0))).only(Cancelled).filled == 4


def test_a_rejection_with_fills_that_are_not_known_waits_for_them() -> None:
    bench = short_of_four(cancel=False).say(error(201, "no"))
    assert bench.all(Rejected) == []
    assert bench.say(executed("e1", 4)).only(Rejected).reason == "no"


def test_combos_are_compared_by_their_own_executions() -> None:
    bench = Bench(quantity=2, combo=True).say(status("Submitted", 0, 2))
    bench.say(executed("leg.01", 4), executed("combo.01", 1, sec_type="BAG"), status("Submitted", 1, 1)).wait(60)
    assert not bench.looked_up


def test_fractions_fit() -> None:
    bench = Bench(quantity=1).say(*(executed(f"e{n}.01", 0.1) for n in range(3)), status("Submitted", 0.3, 0.7))
    assert not bench.wait(60).looked_up


@pytest.mark.parametrize("numbers", [(float("nan"), 10), (-4, 14), (0, float("inf")), (4, float("nan"))])
def test_what_is_no_quantity_says_nothing(numbers: tuple[float, float]) -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10), status("Submitted", *numbers)).wait(60)
    assert not bench.looked_up
    bench.cancel().say(status("Cancelled", *numbers), CANCELED)
    assert (bench.only(Cancelled).filled, bench.only(Cancelled).remaining) == (0, 10)


def test_a_change_of_an_order_whose_fills_are_missing_stays_open() -> None:
    bench = short_of_four(cancel=False)
    bench._keep(bench.ledger.changes.intend("o-1", Change("c-1", 1, {"lmtPrice": 9.5})))
    bench.wait(2)._keep(bench.ledger.on_lost("o-1"))
    assert bench.only(Unknown)
    assert bench.all(ReplaceFailed) == []
    gone = Bench(quantity=10).say(status("Submitted", 0, 10))
    gone._keep(gone.ledger.changes.intend("o-1", Change("c-1", 1, {"lmtPrice": 9.5})))
    gone._keep(gone.ledger.on_lost("o-1"))
    assert gone.only(ReplaceFailed).reason == "IB lists the order no longer"


def test_an_order_whose_size_nobody_knows_has_that_of_the_list_of_what_is_over() -> None:
    bench = Bench(quantity=0).cancel().say(completed("Cancelled", quantities=(1.0, 1.0)))
    assert (bench.only(Cancelled).filled, bench.only(Cancelled).remaining) == (0, 1)
