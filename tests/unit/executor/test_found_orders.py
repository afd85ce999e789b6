"""Orders at IB that the journal does not know: what is held back, and what is made of it once all is listed."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.events import Accepted, Cancelled, Filled, Replaced, ReplaceFailed, Unknown
from orderfuse.bus.fields import ADOPTED
from services.executor.orders.found_orders import MAX_HELD, FoundOrders, expected
from services.executor.orders.records import Change, OrderRecord
from services.gateway.reports import CompletedOrderReport, ErrorReport, ExecutionReport, OpenOrderReport, StatusReport
from services.wire.dispatch import Expect, ExpectedChange
from services.wire.feedback import Adopted
from tests.unit.executor.bench import OURS, Bench
from tests.unit.executor.rig import ACCOUNT, Rig


def open_order(order_ref: str = "f-1", *, client_id: int = OURS, **fields: Any) -> OpenOrderReport:
    told: dict[str, Any] = {"ib_order_id": 41, "perm_id": 900, "account": "DU1", "status": "Submitted", "quantity": 10}
    contract = {"secType": "STK", "symbol": "AAPL", "conId": 265598}
    told |= {"terms": {"tif": "GTC", "lmtPrice": 9.5}, "contract": contract, "action": "BUY", "order_type": "LMT"}
    return OpenOrderReport(client_id=client_id, order_ref=order_ref, **{**told, **fields})


def status(filled: float, remaining: float, word: str = "Submitted") -> StatusReport:
    return StatusReport(41, word, filled, remaining, 900, OURS)


def execution(exec_id: str, shares: float, order_ref: str = "f-1", **fields: Any) -> ExecutionReport:
    told: dict[str, Any] = {"ib_order_id": 41, "perm_id": 900, "client_id": OURS, "account": "DU1", "sec_type": "STK"}
    told |= {"con_id": 265598, "symbol": "AAPL", "side": "BOT", "price": 9.5}
    return ExecutionReport(order_ref=order_ref, exec_id=exec_id, shares=shares, **{**told, **fields})


def completed(word: str, total: float, filled: float) -> CompletedOrderReport:
    return CompletedOrderReport(900, "f-1", "DU1", word, word, {}, (total, total + filled))


def held(*reports: Any) -> FoundOrders:
    found_orders = FoundOrders(OURS)
    for report in reports:
        found_orders.hold(report)
    return found_orders


def test_what_is_not_of_our_client_id_or_alphabet_is_none_of_ours() -> None:
    for report in (
        open_order(client_id=OURS + 1),
        open_order(""),
        open_order("has a space"),
        open_order("x" * 41),
        open_order("naïve"),
        status(0, 10),
        completed("Filled", 0, 10),
    ):
        assert not held().hold(report)
    assert held(open_order("a-1")).ids() == ["a-1"]


def test_a_status_and_an_end_belong_to_the_order_with_their_permanent_id() -> None:
    found_orders = held(open_order(), status(4, 6), execution("a.01", 4))
    assert found_orders.hold(completed("Cancelled", 6, 4))
    assert len(found_orders.of("f-1").reports) == 4


def test_once_listed_an_id_is_known_also_while_ib_is_asked_anew() -> None:
    found_orders = held(open_order())
    found_orders.on_round_begun()
    assert found_orders.ids() == []
    assert found_orders.knows("f-1")
    assert not found_orders.knows("f-2")


def test_what_ib_calls_filled_beyond_its_executions_was_filled_before() -> None:
    found = held(open_order(), status(7, 3), execution("a.01", 2), execution("b.01", 1)).of("f-1")
    assert found.filled_before(combo=False) == 4
    corrected = held(open_order(), status(7, 3), execution("a.01", 2), execution("a.02", 5)).of("f-1")
    assert corrected.filled_before(combo=False) == 2, "a correction takes the place of what it corrects"
    ended = held(execution("a.01", 2), completed("Cancelled", 3, 7)).of("f-1")
    assert ended.filled_before(combo=False) == 5


def test_the_record_of_an_order_that_nobody_knows() -> None:
    found = held(open_order(), status(4, 6)).of("f-1")
    record = found.record(now_ns=5)
    assert (record.strategy_id, record.ib_order_id, record.perm_id, record.quantity) == (ADOPTED, 41, 900, 10)
    told = found.told(record)
    assert isinstance(told, Adopted)
    assert told.contract == {"secType": "STK", "symbol": "AAPL", "conId": 265598}
    assert told.order == {"totalQuantity": 10, "action": "BUY", "orderType": "LMT", "lmtPrice": 9.5}


def test_what_the_breaker_says_of_an_order_makes_a_record_that_waits_for_ibs_lists() -> None:
    message = Expect(
        order_id="f-1", strategy_id="s1", ib_order_id=41, perm_id=900, quantity=10.0, tif="GTC", combo=False,
        protect=True, placed_ns=3, accepted=True, parent="", legs=2,
        change=ExpectedChange(request_id="r-1", revision=2, terms={"lmtPrice": 9.6}),
    )  # fmt: skip
    record = expected(message)
    assert record == OrderRecord(
        "f-1", "s1", 41, 10.0, tif="GTC", placed_ns=3, perm_id=900, answered=True, accepted=True,
        protect=True, legs=2, adopting=True, revision=2, change=Change("r-1", 2, {"lmtPrice": 9.6}),
    )  # fmt: skip


# Together with the ledger.


class Finder(Bench):
    """A bench whose order is sought at IB."""

    def __init__(self, **record: Any) -> None:
        super().__init__()
        self.found_orders = FoundOrders(OURS)
        made = OrderRecord("f-1", "s1", 0, 10.0, adopting=True, **record)
        self._keep(self.ledger.expect(made))
        self.told.clear()

    def lists(self, *reports: Any) -> list[Any]:
        """A complete round; returns the facts."""
        for report in reports:
            for each, order_id in self.ledger.on_report(report, self.now).held:
                self.found_orders.hold(each, order_id)
        assert self.told == [], "nothing is told before the lists are complete"
        found = self.found_orders.of("f-1")
        self._keep(self.ledger.adopt("f-1", found))
        self.say(*found.in_order)
        return [fact for fact, _ in self.told]


def test_an_order_that_works_is_told_with_what_was_filled_before_and_can_be_cancelled() -> None:
    bench = Finder(accepted=True)
    told, *_ = bench.lists(open_order(), status(4, 6))
    assert isinstance(told, Accepted)
    assert (told.filled_before, told.ib_order_id, told.perm_id) == (4, 41, 900)
    assert bench.ledger.totals("f-1")[0] == 4
    bench._keep(bench.ledger.cancels.on_asked("f-1", "r-1"))
    assert list(bench.ledger.cancels.to_send().values()) == [41]


def test_an_order_that_is_still_looked_for_is_told_to_a_breaker_that_knows_nothing() -> None:
    bench = Finder(accepted=True)

    def doubtful() -> bool:
        return next(told.doubtful for told in bench.ledger.told_open() if told.order_id == "f-1")

    assert doubtful(), "nobody knows yet whether it works"
    bench.lists(open_order())
    assert not doubtful()


def test_a_change_that_ib_does_not_show_is_still_to_be_answered() -> None:
    bench = Finder(accepted=True, revision=2, change=Change("r-1", 2, {"lmtPrice": 9.6}))
    bench.lists(open_order())
    assert not any(isinstance(fact, Replaced | ReplaceFailed) for fact, _ in bench.told)
    assert list(bench.ledger.changes.in_doubt()) == ["f-1"]


def test_a_cancel_of_an_order_whose_number_is_not_known_yet_waits_for_it() -> None:
    bench = Finder()
    bench._keep(bench.ledger.cancels.on_asked("f-1", "r-1"))
    assert bench.ledger.cancels.to_send() == {}
    bench.lists(open_order())
    assert list(bench.ledger.cancels.to_send().values()) == [41]


def test_an_order_that_was_filled_is_told_as_that() -> None:
    bench = Finder(accepted=True)
    told = bench.lists(execution("a.01", 4), execution("b.01", 6), completed("Filled", 0, 10))
    assert [type(fact) for fact in told] == [Filled, Filled]
    assert (told[-1].cum_qty, told[-1].done) == (10, True)


def test_an_order_that_was_cancelled_with_a_part_filled_on_an_earlier_day_is_told_truly() -> None:
    bench = Finder(accepted=True)
    told = bench.lists(execution("b.01", 1), completed("Cancelled", 5, 5))
    assert [type(fact) for fact in told] == [Filled, Cancelled]
    assert (told[0].cum_qty, told[1].filled, told[1].remaining) == (5, 5, 5)


def test_an_order_of_which_nothing_is_listed_stays_in_doubt_or_is_unheard_of() -> None:
    bench = Finder()
    assert bench.lists() == []
    assert "f-1" in bench.ledger.doubts()
    known = Finder(accepted=True)
    assert known.lists() == []
    assert list(known.ledger.unheard_since(1.0)) == ["f-1"]


# An order that IB lists no longer.


def test_an_execution_is_no_word_of_an_order_that_is_gone() -> None:
    bench = Bench()
    bench.say(OpenOrderReport(1, 7, OURS, "o-1", "DU1", "Submitted", 100))
    bench.now = 10.0
    bench.say(ExecutionReport(1, 7, OURS, "o-1", "DU1", "a.01", 40, 9.5, "STK"))
    assert list(bench.ledger.unheard_since(10.0)) == ["o-1"], "it is listed all day"
    bench.say(StatusReport(1, "Submitted", 40, 60, 7, OURS))
    assert list(bench.ledger.unheard_since(10.0)) == []


def test_an_order_that_trades_while_it_is_unknown_is_unknown_once_more_if_ib_still_lists_it_nowhere() -> None:
    bench = Bench()
    bench.say(OpenOrderReport(1, 7, OURS, "o-1", "DU1", "Submitted", 100))
    bench._keep(bench.ledger.on_lost("o-1"))
    bench.say(ExecutionReport(1, 7, OURS, "o-1", "DU1", "a.01", 40, 9.5, "STK"))
    assert list(bench.ledger.unheard_since(1.0)) == ["o-1"]
    bench._keep(bench.ledger.on_lost("o-1"))
    kinds = [type(fact) for fact, _ in bench.told]
    assert kinds.count(Unknown) == 2


# As the lists name it that it is not open in.


def test_an_order_that_is_over_is_made_of_its_executions_and_of_what_ib_says_of_its_end() -> None:
    sold = execution("a.01", 6, side="SLD")
    cancelled = held(sold, completed("Cancelled", 4, 6)).of("f-1")
    assert cancelled.record(5).quantity == 10
    filled = held(sold, completed("Filled", 0, 10)).of("f-1")
    record = filled.record(5)
    assert (record.quantity, record.tif) == (10, ""), "what was filled on earlier days too"
    told = filled.told(record)
    assert told.contract == {"secType": "STK", "symbol": "AAPL", "conId": 265598}
    assert told.order == {"totalQuantity": 10, "action": "SELL"}


def test_of_an_execution_the_highest_revision_counts_in_whatever_order_ib_lists_them() -> None:
    found = held(execution("a.02", 5), execution("a.01", 2)).of("f-1")
    assert [each.shares for each in found.executions] == [5]


def test_an_error_is_about_no_order_that_is_held() -> None:
    assert not held(open_order()).hold(ErrorReport(41, 201, "no"))


def test_an_order_without_a_permanent_id_is_held_and_no_status_is_taken_for_its_own() -> None:
    found_orders = held(open_order(perm_id=0))
    assert found_orders.ids() == ["f-1"]
    assert not found_orders.hold(StatusReport(41, "Submitted", 0, 10, 0, OURS))


def test_of_very_many_no_more_are_held_than_an_account_can_have() -> None:
    found_orders = FoundOrders(OURS)
    reports = [open_order(f"f-{number}", perm_id=number) for number in range(1, MAX_HELD + 2)]
    assert [found_orders.hold(report) for report in reports] == [True] * MAX_HELD + [False]
    assert not found_orders.knows(reports[-1].order_ref)
    assert found_orders.hold(reports[0]), "more of one that is held"


def test_what_only_ib_knows_is_taken_on_from_the_start_where_nobody_else_could_know_it() -> None:
    rig = Rig(alone=True)
    rig.answers["open_orders"] = [open_order(account=ACCOUNT)]
    rig.connect()
    assert rig.kinds("f-1")[0] == "Adopted"


def test_what_only_ib_knows_waits_until_the_breaker_has_said_what_it_knows() -> None:
    rig = Rig(alone=False)
    rig.answers["open_orders"] = [open_order(account=ACCOUNT)]
    rig.connect()
    assert rig.kinds("f-1") == []
    rig.join()
    assert rig.kinds("f-1")[0] == "Adopted"
