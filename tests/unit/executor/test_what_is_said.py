"""What the executor writes to its log of what IB says: whatever nobody else says, and nothing else."""

from __future__ import annotations

from orderfuse.bus.events import Cancelled, Rejected, Unknown
from tests.unit.executor.bench import Bench, error, opened, status


def test_words_that_go_out_with_a_fact_are_said_by_whoever_tells_it() -> None:
    rejected = Bench().say(error(201, "no money"))
    assert rejected.only(Rejected).reason == "no money"
    in_doubt = Bench().say(status("Submitted"), error(77777, "what now"))
    assert in_doubt.only(Unknown).reason == "IB says 77777: what now"
    assert rejected.notes == in_doubt.notes == []


def test_words_that_wait_for_the_end_that_they_explain_are_said_with_it() -> None:
    bench = Bench().say(status("Submitted"), error(202, "Order Canceled - reason: margin"))
    assert (bench.kinds, bench.notes) == (["Accepted", "Working"], [])
    bench.wait(2)
    assert bench.only(Cancelled).reason == "Order Canceled - reason: margin"
    assert bench.notes == []


def test_words_that_lead_to_no_fact_are_said_here() -> None:
    bench = Bench().say(status("Submitted"), error(399, "only at the open"))
    assert bench.notes == ["o-1: IB says 399 only at the open"]
    again = Bench().say(error(201, "no money"), error(201, "no money, once more"))
    assert again.notes == ["o-1: IB says 201 no money, once more"], "its end has been told"


def test_the_words_of_an_end_that_was_none_are_said_here() -> None:
    bench = Bench().say(status("Submitted"), error(202, "Order Canceled - reason: margin"))
    bench.say(status("Submitted"))
    assert bench.all(Cancelled) == []
    assert bench.notes == ["o-1: IB had said that it was over: Order Canceled - reason: margin"]


def test_of_two_texts_for_one_end_the_one_that_is_not_told_is_said_here() -> None:
    bench = Bench().say(status("Submitted"), error(202, "Order Canceled - reason: margin"))
    bench.say(error(201, "no money"))
    assert bench.only(Rejected).reason == "no money"
    assert bench.notes == ["o-1: IB says of its end, too: Order Canceled - reason: margin"]


def test_what_becomes_of_an_order_is_said_by_whoever_tells_the_fact() -> None:
    bench = Bench(quantity=10).say(status("Submitted", 0, 10), opened("Submitted", perm_id=777, quantity=10))
    assert bench.only(Unknown).twin == 777
    lost = Bench().say(status("Submitted"))
    lost._keep(lost.ledger.on_lost("o-1"))
    assert lost.only(Unknown).reason == "IB lists it no longer; it may have ended on an earlier day"
    settled = Bench().say(status("Submitted"))
    settled._keep(settled.ledger.on_resolved_by_hand("o-1"))
    assert bench.notes == bench.alarms == lost.notes == settled.notes == []
