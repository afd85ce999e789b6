"""The judgement itself: what must not be is complained of, and an ordinary end is not."""

from __future__ import annotations

from typing import Any

from tests.campaigns.crash import cancels, oracle
from tests.campaigns.crash.counted import Counted, Fact

SECOND_NS = 1_000_000_000


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "supersedes": None, **fields}


def passed(request_id: str) -> dict[str, Any]:
    return event("request_passed", request_id=request_id)


def of_cancels(*events: dict[str, Any], lives: bool = False) -> list[str]:
    asked = {"c-1": "o-1", "c-2": "o-1"}
    return cancels.complaints("o-1", asked, list(events), lives=lives, breaker_lost=False)


def test_two_cancels_that_are_answered_by_one_end_are_as_they_must_be() -> None:
    end = event("cancelled", request_id="c-1", request_ids=("c-1", "c-2"))
    assert of_cancels(passed("c-1"), passed("c-2"), end) == []


def test_a_cancel_without_an_answer_of_the_breaker_is_complained_of() -> None:
    assert any("c-2 was answered 0 times by the breaker" in text for text in of_cancels(passed("c-1")))


def test_a_cancel_that_failed_and_did_not_fail_is_complained_of() -> None:
    failed = event("cancel_failed", request_id="c-2", ib_code=10147, reason="OrderId 1 is not found.")
    end = event("cancelled", request_id="c-1", request_ids=("c-1", "c-2"))
    found = of_cancels(passed("c-1"), passed("c-2"), failed, end)
    assert any("c-2 was answered 2 times by IB" in text for text in found)


def test_an_order_that_works_on_after_its_cancel_without_a_word_is_complained_of() -> None:
    both = passed("c-1"), passed("c-2")
    failed = event("cancel_failed", request_id="c-1", ib_code=10147, reason="OrderId 1 is not found.")
    assert any("works although" in text for text in of_cancels(*both, lives=True))
    assert of_cancels(*both, failed, lives=True) == []


def test_a_cancel_that_failed_because_an_earlier_one_works_is_complained_of() -> None:
    reason = "OrderId 1 that needs to be cancelled can not be cancelled, state: PendingCancel."
    failed = [event("cancel_failed", request_id=at, ib_code=10148, reason=reason) for at in ("c-1", "c-2")]
    found = of_cancels(passed("c-1"), passed("c-2"), *failed, event("cancelled", request_id=None))
    assert len(found) == 2


def told_cancelled(*, filled: float, remaining: float) -> list[str]:
    told = [event("passed"), event("accepted"), event("filled", exec_id="e", cum_qty=1.0, done=False)]
    told.append(event("cancelled", filled=filled, remaining=remaining))
    heard = oracle.Heard(["o-1"], {}, {}, {"o-1": told}, unknown=set(), working=set())
    book = oracle.Book({"o-1": "Cancelled"}, {"o-1": 3.0}, {"o-1": 1.0}, {"o-1": {1}}, {"o-1": {"e": 1.0}})
    wire = [{"fields": {"orderRef": "o-1", "orderId": 1, "lmtPrice": "1.0"}}]
    return oracle.complaints(heard, book, wire)


def test_an_end_that_is_told_with_other_numbers_than_the_gateways_is_complained_of() -> None:
    assert told_cancelled(filled=1.0, remaining=2.0) == []
    assert len(told_cancelled(filled=0.0, remaining=3.0)) == 1
    assert len(told_cancelled(filled=1.0, remaining=0.0)) == 1


def counted(*facts: tuple[int, str, str | None]) -> Counted:
    return Counted({Fact("j", seq, at * SECOND_NS, "o-1", kind, 0, out) for seq, (at, kind, out) in enumerate(facts)})


def test_an_end_that_counts_as_a_failure_is_complained_of_and_a_neutral_one_is_not() -> None:
    assert counted((1, "accepted", None), (9, "cancelled", "neutral")).complaints(set(), []) == []
    failed = counted((1, "accepted", None), (9, "cancelled", "failure"))
    assert len(failed.complaints(set(), [])) == 1
    assert len(failed.complaints({"o-1"}, [8 * SECOND_NS])) == 1, "it had been accepted for long when the day ended"


def test_a_day_order_that_was_accepted_right_before_the_close_may_count() -> None:
    failed = counted((7, "accepted", None), (9, "cancelled", "failure"))
    assert failed.complaints({"o-1"}, [8 * SECOND_NS]) == []
    failed.executor_started_ns = 8 * SECOND_NS
    assert len(failed.complaints({"o-1"}, [8 * SECOND_NS])) == 1, "an executor that has started since takes it for old"
    failed.executor_started_ns = 0
    assert len(failed.complaints(set(), [8 * SECOND_NS])) == 1, "an order of another kind does not end at the close"


def test_an_order_without_an_answer_counts_as_it_must() -> None:
    assert counted((1, "unknown", "failure")).complaints(set(), []) == []


def test_an_end_that_a_circuit_names_as_a_failure_is_complained_of() -> None:
    told = {("system", "o-1", 0, "cancelled: Order Canceled - reason:"), ("system", "", 0, "unknown: no answer in 5 s")}
    assert len(Counted(failures=told).complaints(set(), [])) == 1
