"""Open orders of others in the account: how long one stands, and what a person has accepted of it."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.control import MAX_TOLD
from services.executor.account.foreign_orders import MAX_SEEN, ForeignOrders
from services.executor.inputs import Told
from services.gateway.reports import OpenOrderReport
from services.wire import dispatch
from tests.unit.executor.rig import Rig
from tests.unit.executor.test_stage import foreign, trading

# Until the next list of all open orders has come.
NEXT_LIST_SECS = 31


def listing(*reports: OpenOrderReport, **settings: Any) -> Rig:
    """Taken in by a breaker, with an IB that lists these orders of others."""
    rig = trading(**settings)
    lists(rig, *reports)
    return rig


def lists(rig: Rig, *reports: OpenOrderReport) -> None:
    """From now on IB lists these, and has done so once."""
    rig.answers["open_orders"] = list(reports)
    rig.wait(NEXT_LIST_SECS, 0.25)


def standing(rig: Rig) -> list[tuple[int, float]]:
    return [(order.perm_id, order.quantity) for order in rig.status.foreign]


def accept(rig: Rig, number: int = 1) -> None:
    """A person takes whatever stands as it is."""
    rig.hear(dispatch.Accept(number=number, foreign=rig.status.foreign, reason="mine", who="me"))
    rig.wait(0.2)


def test_what_is_over_and_what_is_in_another_account_is_nobodys_open_order() -> None:
    ended = [foreign(number, status=word) for number, word in enumerate(("Filled", "Cancelled", "ApiCancelled"), 80)]
    assert standing(listing(*ended, foreign(90, account="DU2"), foreign(77))) == [(77, 100.0)]


def test_an_order_that_is_changed_is_told_as_it_is_now_and_logged_once() -> None:
    rig = listing(foreign())
    lists(rig, foreign(quantity=50.0))
    assert standing(rig) == [(77, 50.0)]
    assert len([line for line in rig.lines if "not an order of orderfuse" in line]) == 1


def test_a_list_that_has_it_again_makes_it_stand_for_two_lists_more() -> None:
    rig = listing(foreign())
    lists(rig)
    lists(rig, foreign())
    lists(rig)
    assert standing(rig) == [(77, 100.0)]


def test_an_accepted_order_is_told_no_more_and_is_accepted_over_a_restart() -> None:
    rig = listing(foreign())
    accept(rig)
    lists(rig, foreign())
    assert rig.status.foreign == ()
    again = Rig(journal=rig.journal)
    again.answers["open_orders"] = [foreign()]
    again.connect()
    assert again.status.foreign == ()


def test_an_accepted_order_with_other_terms_is_told_anew_and_its_acceptance_is_over() -> None:
    rig = listing(foreign())
    accept(rig)
    lists(rig, foreign(quantity=500.0))
    assert standing(rig) == [(77, 500.0)]
    assert rig.journal.accepted_orders() == []
    accept(rig, 2)
    lists(rig, foreign(quantity=500.0))
    assert rig.status.foreign == ()
    assert [order.quantity for order in rig.journal.accepted_orders()] == [500.0]


def test_what_is_accepted_anew_before_the_next_list_stays_accepted() -> None:
    rig = listing(foreign())
    accept(rig)
    rig.say(foreign(quantity=500.0))
    accept(rig, 2)
    lists(rig, foreign(quantity=500.0))
    assert rig.status.foreign == ()
    assert [order.quantity for order in rig.journal.accepted_orders()] == [500.0]


def test_an_accepted_order_that_has_gone_is_told_anew_should_it_come_back() -> None:
    rig = listing(foreign())
    accept(rig)
    lists(rig)
    lists(rig)
    assert rig.journal.accepted_orders() == []
    lists(rig, foreign())
    assert standing(rig) == [(77, 100.0)]


def test_an_order_that_was_changed_while_a_person_looked_is_not_accepted() -> None:
    rig = listing(foreign())
    seen = rig.status.foreign
    lists(rig, foreign(quantity=50.0))
    rig.hear(dispatch.Accept(number=1, foreign=seen, reason="mine", who="me"))
    rig.wait(0.2)
    assert standing(rig) == [(77, 50.0)]
    assert not rig.journal.has_accepted(1)


def test_what_is_accepted_twice_under_one_number_is_accepted_once() -> None:
    rig = listing(foreign())
    message = dispatch.Accept(number=1, foreign=rig.status.foreign, reason="mine", who="me")
    rig.hear(message)
    lists(rig, foreign(quantity=50.0))
    lists(rig, foreign())
    rig.hear(message)
    rig.wait(0.2)
    assert standing(rig) == [(77, 100.0)], "it has been another one since"


def test_what_is_accepted_twice_under_one_number_before_it_is_saved_is_saved_once() -> None:
    rig = listing(foreign())
    message = dispatch.Accept(number=1, foreign=rig.status.foreign, reason="mine", who="me")
    batches = [rig.stage.step(Told(message), rig._now()) for _ in range(2)]
    assert [len(batch.keep.by_hand) for batch in batches] == [1, 0]


def test_what_a_person_would_accept_while_nothing_can_be_saved_is_not_done_later() -> None:
    rig = listing(foreign())
    rig.disk_is_full = True
    rig.hear(dispatch.Fence(fence=2))
    rig.wait(0.2)
    accept(rig)
    assert "what a person would accept is dropped: the disk is full" in rig.lines
    rig.disk_is_full = False
    rig.wait(3.0)
    assert standing(rig) == [(77, 100.0)], "they were told that it is not done"
    accept(rig, number=2)
    assert standing(rig) == []


def test_of_very_many_the_first_stand_and_no_more_are_kept_than_an_account_can_have() -> None:
    orders = ForeignOrders()
    for number in range(1, MAX_SEEN + 2):
        orders.on_order(foreign(number))
    assert len(orders.take_new()) == MAX_SEEN
    assert [order.perm_id for order in orders.told] == list(range(1, MAX_TOLD + 1))


def test_the_end_of_a_list_that_nobody_asked_for_shows_nothing_as_gone() -> None:
    orders = ForeignOrders()
    orders.on_order(foreign())
    orders.on_list_begun()
    assert [orders.on_list_end() for _ in range(3)] == [([], [])] * 3
    assert [order.perm_id for order in orders.told] == [77]
