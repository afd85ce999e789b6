"""The orders in memory, and how one is found: by its id, IB's permanent id, IB's number, or an execution. Pure.

What has left the memory is asked back from the journal (`History`).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.executor.orders.brackets import Brackets
from services.executor.orders.kin import Kin
from services.executor.orders.marks import Marks
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.records import Effects, Execution, History, OrderRecord, split_exec_id
from services.gateway.reports import AboutOrder, CompletedOrderReport, ExecutionReport, OpenOrderReport, StatusReport


class Memory:
    """All orders of this executor that it need not ask the journal for.

    Args:
        history: where orders are found that are not in memory.
        client_id: our API client id; IB's order ids mean something only together with it.
    """

    def __init__(self, history: History, client_id: int) -> None:
        self.client_id = client_id
        self.orders: dict[str, OrderAtIb] = {}
        self.marks = Marks()
        self.kin = Kin(self.orders)
        self.brackets = Brackets(self.orders, self.kin)
        self._history = history
        self._by_perm: dict[int, str] = {}
        self._by_ib_id: dict[int, str] = {}
        # By the execution's id without its revision.
        self._by_exec: dict[str, str] = {}

    # -- finding ------------------------------------------------------------------------------------------

    def find(self, order_id: str) -> OrderAtIb | None:
        """The order with this id of ours."""
        return self.orders.get(order_id) or self._from_history(order_id=order_id)

    def with_perm_id(self, perm_id: int) -> OrderAtIb | None:
        """The order with this permanent id, or with a second order that has it."""
        return self.orders.get(self._by_perm.get(perm_id, "")) or self._from_history(perm_id=perm_id)

    def with_number(self, ib_order_id: int) -> OrderAtIb | None:
        """The order that we have given this number."""
        return self.orders.get(self._by_ib_id.get(ib_order_id, "")) or self._from_history(ib_order_id=ib_order_id)

    def with_execution(self, exec_id: str) -> OrderAtIb | None:
        """The order of this execution, whichever its revision."""
        order_id = self._by_exec.get(split_exec_id(exec_id)[0])
        if order_id is None:
            stored = self._history.find_execution(exec_id)
            order_id = stored.order_id if stored else None
        return self.find(order_id) if order_id else None

    def whose(self, report: AboutOrder) -> OrderAtIb | None:
        """The order that a report is about.

        IB's order id comes last, and only with our client id: gateways have given it to another order.
        """
        order_ref = "" if isinstance(report, StatusReport) else report.order_ref
        order = self.find(order_ref) if order_ref else None
        if order is None and report.perm_id:
            order = self.with_perm_id(report.perm_id)
        if order is None and not order_ref and not isinstance(report, CompletedOrderReport):
            ours = report.client_id == self.client_id and report.ib_order_id > 0
            order = self.with_number(report.ib_order_id) if ours else None
        return order

    def _from_history(self, *, order_id: str = "", perm_id: int = 0, ib_order_id: int = 0) -> OrderAtIb | None:
        record = self._history.find_order(order_id=order_id, perm_id=perm_id, ib_order_id=ib_order_id)
        if record is None:
            return None
        if record.parent:
            # What becomes of a leg depends on it, and in the middle of a step no disk is asked.
            self.find(record.parent)
        return self.orders.get(record.order_id) or self.add(record, self._history.find_executions(record.order_id))

    # -- keeping ------------------------------------------------------------------------------------------

    def restore(self, record: OrderRecord) -> None:
        """Take an order that has not ended from the journal, at the start; its parent may have ended."""
        if record.parent:
            self.find(record.parent)
        if record.order_id not in self.orders:
            self.add(record, self._history.find_executions(record.order_id))

    def add(self, record: OrderRecord, executions: Sequence[Execution] = ()) -> OrderAtIb:
        """Take an order into memory, with the executions that the journal has of it."""
        assert record.order_id not in self.orders, f"{record.order_id} is in memory already"
        order = OrderAtIb(record)
        self.orders[record.order_id] = order
        if record.ib_order_id > 0:
            self._by_ib_id[record.ib_order_id] = record.order_id
        for perm_id in (record.perm_id, *(twin.perm_id for twin in record.twins)):
            if perm_id:
                self._by_perm[perm_id] = record.order_id
        for execution in executions:
            order.restore(execution)
            self.note_execution(execution)
        # Anew after a restart, if that found it so.
        order.doubtful = bool(record.living_twins)
        self.kin.add(record)
        self.marks.see(order)
        return order

    def forget(self, order_id: str) -> None:
        """An order that is over leaves the memory; the journal has it."""
        order = self.orders.pop(order_id)
        record = order.record
        self.marks.forget(order_id)
        self._by_ib_id.pop(record.ib_order_id, None)
        for perm_id in (record.perm_id, *(twin.perm_id for twin in record.twins)):
            self._by_perm.pop(perm_id, None)
        self.kin.forget(record)
        for base in order.executions:
            self._by_exec.pop(base, None)

    # -- what IB says of them -----------------------------------------------------------------------------

    def note_execution(self, execution: Execution) -> None:
        """An order has this execution."""
        self._by_exec[split_exec_id(execution.exec_id)[0]] = execution.order_id

    def note_twin(self, perm_id: int, order_id: str) -> None:
        """A second order lives under the reference of this one."""
        self._by_perm[perm_id] = order_id

    def has_perm_id(self, order: OrderAtIb, perm_id: int, effects: Effects) -> bool:
        """Learn the permanent id; whether a report with it is about this order."""
        record = order.record
        if perm_id and not record.perm_id:
            record.perm_id = perm_id
            self._by_perm[perm_id] = record.order_id
            effects.keep(record)
        return not perm_id or record.perm_id == perm_id

    def learn_number(self, order: OrderAtIb, report: AboutOrder, effects: Effects) -> None:
        """Learn IB's order id of an order that was found in its lists."""
        record = order.record
        told = report.ib_order_id if isinstance(report, OpenOrderReport | ExecutionReport) else 0
        if record.ib_order_id <= 0 < told:
            record.ib_order_id = told
            self._by_ib_id[told] = record.order_id
            effects.keep(record)
            self.marks.see(order)
