"""A global cancel goes again until IB lists none of the orders that it was for."""

from __future__ import annotations

from orderfuse.messages import GlobalCancel
from services.executor.global_cancel import AGAIN_EVERY_SECS, GlobalCancelDebt, OwedCancel


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
