"""A ledger in virtual time, and IB's reports in short: what the tests of the executor's judgement share."""

from __future__ import annotations

from typing import Any

from services.executor.batch import Keep
from services.executor.journal import Journal
from services.executor.orders.ledger import Ledger
from services.executor.orders.records import Effects, OrderRecord
from services.gateway.reports import (
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
    OrderReport,
    StatusReport,
)

OURS, PERM = 7, 9001


class Bench:
    """A ledger with one order written at second 0, and everything that it has told."""

    def __init__(self, quantity: float = 100, *, journal: Journal | None = None, **record: Any) -> None:
        self.journal = journal or Journal(None, OURS)
        self.ledger = Ledger(self.journal, OURS)
        self.now = 0.0
        self.told: list[tuple[Any, Any]] = []
        self.notes: list[str] = []
        self.alarms: list[str] = []
        self.looked_up = False
        if journal is None:
            self.write("o-1", quantity, **record)
            self.told.clear()
        else:
            self.ledger.restore(journal.open_orders())

    def write(self, order_id: str, quantity: float = 100, **record: Any) -> None:
        ib_order_id = self.journal.highest_ib_order_id + 1
        made = OrderRecord(order_id, "s1", ib_order_id, quantity, **record)
        self.journal.save(Keep(intents=[made]), 0)
        self.ledger.intend(made)
        self._keep(self.ledger.on_written(order_id, self.now))

    def say(self, *reports: OrderReport) -> Bench:
        for report in reports:
            self._keep(self.ledger.on_report(report, self.now))
        return self

    def wait(self, secs: float) -> Bench:
        self.now += secs
        self._keep(self.ledger.poll(self.now))
        return self

    def cancel(self, order_id: str = "o-1", request_id: str | None = "r-1") -> Bench:
        """A cancel is asked for, and leaves at once."""
        self._keep(self.ledger.cancels.on_asked(order_id, request_id))
        self.send_cancels()
        return self

    def send_cancels(self) -> list[int]:
        """Whatever is to be cancelled leaves for IB: the numbers of IB's that it is for."""
        wanted = self.ledger.cancels.to_send()
        for order_id in wanted:
            self._keep(self.ledger.cancels.on_sent(order_id, self.now))
        return list(wanted.values())

    def _keep(self, effects: Effects) -> None:
        self.told += effects.facts
        self.notes += effects.notes
        self.alarms += effects.alarms
        self.looked_up = self.looked_up or effects.look_up
        keep = Keep(orders=effects.orders, executions=effects.executions, fills=effects.fills, facts=effects.facts)
        self.journal.save(keep, 0)

    @property
    def kinds(self) -> list[str]:
        return [type(fact).__name__ for fact, _ in self.told]

    @property
    def outcomes(self) -> list[str]:
        return [outcome for _, outcome in self.told if outcome]

    def all(self, kind: type[Any]) -> list[Any]:
        return [fact for fact, _ in self.told if isinstance(fact, kind)]

    def only(self, kind: type[Any]) -> Any:
        (fact,) = self.all(kind)
        return fact


# How IB names the order o-1: in a status, and where it gives its reference too.
NAMED: dict[str, Any] = {"ib_order_id": 1, "perm_id": PERM, "client_id": OURS}
REFERRED: dict[str, Any] = {**NAMED, "order_ref": "o-1", "account": "DU0000000"}


def status(name: str, filled: float = 0, remaining: float = 100, **more: Any) -> StatusReport:
    return StatusReport(status=name, filled=filled, remaining=remaining, **{**NAMED, **more})


def opened(name: str, **more: Any) -> OpenOrderReport:
    return OpenOrderReport(status=name, **{**REFERRED, "quantity": 100, **more})


def executed(exec_id: str, shares: float = 100, price: float = 10, **more: Any) -> ExecutionReport:
    fields: dict[str, Any] = {**REFERRED, "sec_type": "STK", **more}
    return ExecutionReport(exec_id=exec_id, shares=shares, price=price, **fields)


def completed(name: str, text: str = "", **more: Any) -> CompletedOrderReport:
    fields: dict[str, Any] = {"perm_id": PERM, "order_ref": "o-1", "account": "DU0000000", **more}
    return CompletedOrderReport(status=name, completed_status=text, **fields)


def error(code: int, text: str = "text", ib_order_id: int = 1) -> ErrorReport:
    return ErrorReport(ib_order_id, code, text)


def paid(exec_id: str) -> CommissionReport:
    return CommissionReport(exec_id, 1.0, "USD", None)
