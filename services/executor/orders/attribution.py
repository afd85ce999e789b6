"""Finds the order that a report of IB's is about, and what it means for that order and its kin. Pure.

Orders of others are ignored: an order is ours if its `orderRef` or its permanent id is.
"""

from __future__ import annotations

from orderfuse.bus.events import Accepted
from orderfuse.text import cut
from services.executor.orders import order_reports, twins
from services.executor.orders.cancels_under_way import CancelsUnderWay
from services.executor.orders.doubts import Doubt
from services.executor.orders.memory import Memory
from services.executor.orders.order_at_ib import OrderAtIb, short
from services.executor.orders.order_ends import try_end
from services.executor.orders.order_errors import on_error
from services.executor.orders.outcomes import NO_SUCH_ORDER, Meaning, may_be_read_only
from services.executor.orders.records import Effects
from services.gateway.codes.system_codes import for_system
from services.gateway.reports import (
    AboutOrder,
    CommissionReport,
    ErrorReport,
    ExecutionReport,
    OrderReport,
    StatusReport,
)
from services.wire.feedback import Tripped

# Commissions that came before their execution: never seen, but cheap to survive.
MAX_EARLY_COMMISSIONS = 1000
# Each code that nobody knows is told once; a gateway that made up more of them would fill the memory.
MAX_CODES_TOLD = 1000


class Attribution:
    """Takes IB's reports.

    Args:
        memory: the orders.
        cancels: hears that an order has to be cancelled because a leg of its bracket was refused.
    """

    def __init__(self, memory: Memory, cancels: CancelsUnderWay) -> None:
        self._memory = memory
        self._cancels = cancels
        self._early_commissions: dict[str, CommissionReport] = {}
        self._codes_told: set[int] = set()
        # IB's id of the last order that was refused with 321 in another language, if nothing else came since.
        self._foreign_321 = 0

    def on_report(self, report: OrderReport) -> Effects:
        """Take one report of IB."""
        effects = Effects()
        match report:
            case CommissionReport():
                self._on_commission(report, effects)
            case ErrorReport():
                self._on_error(report, effects)
            case _:
                self._on_report_about_order(report, effects)
        if any(isinstance(fact, Accepted) for fact, _ in effects.facts):
            self._foreign_321 = 0
        for execution in effects.executions:
            self._memory.note_execution(execution)
            early = self._early_commissions.pop(execution.exec_id, None)
            if early:
                self._on_commission(early, effects)
        return effects

    def see_kin(self, order: OrderAtIb, before: str, effects: Effects) -> None:
        """What has become of an order may concern those that go together with it. `before`: how it had ended."""
        memory = self._memory
        if before != "rejected":
            parent_id = memory.brackets.see_refused_leg(order, effects)
            if parent_id:
                effects.orders.update(self._cancels.on_asked(parent_id, None).orders)
        for order_id in memory.kin.see(order, effects):
            relative = memory.orders[order_id]
            try_end(relative, memory.marks.now, effects)
            memory.marks.see(relative)
        memory.marks.see(order)

    def _on_report_about_order(self, report: AboutOrder, effects: Effects) -> None:
        memory, now = self._memory, self._memory.marks.now
        order = memory.whose(report)
        if order is None or order.record.adopting:
            effects.held.append((report, order.record.order_id if order else ""))
        elif memory.has_perm_id(order, report.perm_id, effects):
            memory.learn_number(order, report, effects)
            if not isinstance(report, ExecutionReport):
                # An execution is listed all day, also of an order that is gone.
                order.heard_at = now
            self._answered(order, effects)
            before = order.record.ended
            order_reports.on_report(order, report, now, effects)
            self.see_kin(order, before, effects)
        else:
            self._on_other(order, report, effects)

    def _on_other(self, order: OrderAtIb, report: AboutOrder, effects: Effects) -> None:
        """Something is said under this order's reference, or number, of an order with another permanent id."""
        record = order.record
        known = len(record.twins)
        twin = twins.find(record, report, self._memory.client_id)
        if twin is None:
            if isinstance(report, StatusReport) and order.is_news(report.perm_id):
                # It may be the first word of a second order of ours: only IB's list says whose reference it has.
                effects.look_up = True
            effects.notes.append(
                f"{record.order_id} has the permanent id {record.perm_id}: a report with {report.perm_id} is ignored"
            )
            return
        if len(record.twins) > known:
            self._memory.note_twin(twin.perm_id, record.order_id)
        before = record.ended
        order_reports.on_report_of_twin(order, twin, report, self._memory.marks.now, effects)
        self.see_kin(order, before, effects)

    def _on_commission(self, report: CommissionReport, effects: Effects) -> None:
        order = self._memory.with_execution(report.exec_id)
        if order:
            order_reports.on_commission(order, report, effects)
            return
        if len(self._early_commissions) >= MAX_EARLY_COMMISSIONS:
            self._early_commissions.pop(next(iter(self._early_commissions)))
        self._early_commissions[report.exec_id] = report

    def _on_error(self, report: ErrorReport, effects: Effects) -> None:
        marks = self._memory.marks
        order = self._memory.with_number(report.req_id) if report.req_id > 0 else None
        if order:
            self._answered(order, effects)
            record, before = order.record, order.record.ended
            if report.code in NO_SUCH_ORDER and record.cancel_sent and not record.accepted:
                record.denied = True
                effects.keep(record)
            rule = on_error(order, report, marks.now, effects)
            if rule.meaning is Meaning.DOUBT or order.cancels.refusal is report:
                marks.doubts[record.order_id] = Doubt(marks.now, rule.bytes_lost)
            elif rule.meaning in (Meaning.NOTICE, Meaning.REDUCED) and not record.accepted:
                # IB has read it, and has not shown it yet: where that was its last word, its lists must tell.
                marks.doubts.setdefault(record.order_id, Doubt(marks.now, bytes_lost=False))
            self.see_kin(order, before, effects)
            self._see_validation(report, effects)
        else:
            rule = for_system(report.code, report.text)
        if rule.trip:
            effects.facts.append((Tripped(ib_code=report.code, reason=short(report.text)), None))
        if not rule.known and report.code not in self._codes_told and len(self._codes_told) < MAX_CODES_TOLD:
            self._codes_told.add(report.code)
            effects.alarms.append(f"IB's code {report.code} is in no table: {short(report.text)}")

    def _see_validation(self, report: ErrorReport, effects: Effects) -> None:
        """A read-only API refuses every order with 321, in the language of its TWS: two orders in a row are enough."""
        if not may_be_read_only(report.code, report.text):
            self._foreign_321 = 0
        elif self._foreign_321 in (0, report.req_id):
            self._foreign_321 = report.req_id
        else:
            self._foreign_321 = 0
            text = f"two orders in a row were refused with 321, is the API read-only there? {short(report.text)}"
            effects.facts.append((Tripped(ib_code=report.code, reason=cut(text)), None))

    def _answered(self, order: OrderAtIb, effects: Effects) -> None:
        self._memory.marks.unanswered.pop(order.record.order_id, None)
        if not order.record.answered:
            order.record.answered = True
            effects.keep(order.record)
