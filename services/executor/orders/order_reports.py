"""What IB's reports make of an order, in whatever order they come; its errors stand beside (`order_errors`). Pure."""

from __future__ import annotations

from dataclasses import replace

from orderfuse.bus.events import Commission, Filled
from services.executor.orders import changes, twins
from services.executor.orders.ends import CANCELLED_STATUSES, Ending
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.order_ends import end, try_end
from services.executor.orders.order_states import accept, on_working, see_end, see_status
from services.executor.orders.records import DECIMALS, Effects, Execution, Twin, split_exec_id
from services.gateway.reports import (
    AboutOrder,
    CommissionReport,
    CompletedOrderReport,
    ExecutionReport,
    OpenOrderReport,
    StatusReport,
)


def on_report(order: OrderAtIb, report: AboutOrder, now: float, effects: Effects) -> None:
    """IB said something about this order."""
    match report:
        case StatusReport():
            _on_status(order, report, now, effects)
        case OpenOrderReport():
            _on_open_order(order, report, now, effects)
        case ExecutionReport():
            on_execution(order, report, now, effects)
        case CompletedOrderReport():
            _on_completed(order, report, now, effects)


def on_report_of_twin(order: OrderAtIb, twin: Twin, report: AboutOrder, now: float, effects: Effects) -> None:
    """IB said something about another order under the reference of this one."""
    was_over = twin.over
    if isinstance(report, ExecutionReport):
        on_execution(order, report, now, effects, twin)
    else:
        twins.note(twin, report)
    effects.keep(order.record)
    effects.look_up = effects.look_up or order.record.twins_lack_fills
    if twin.over and not was_over:
        twins.chase(order, effects)
    twins.see(order, now, effects)


def on_execution(
    order: OrderAtIb, report: ExecutionReport, now: float, effects: Effects, twin: Twin | None = None
) -> None:
    """`execDetails`: a fill, the correction of one, or either again. `twin`: of which order under our reference."""
    record = order.record
    base, revision = split_exec_id(report.exec_id)
    before = order.executions.get(base)
    if before and revision <= split_exec_id(before.exec_id)[1]:
        return
    if twin is not None and base not in twin.bases:
        twin.bases.append(base)
    # It has just traded, so it is in doubt no more; if it still is, `twins.see` says so again.
    order.doubtful = False
    counts = not record.combo or report.sec_type == "BAG"
    execution = Execution(report.exec_id, record.order_id, report.shares, report.price, counts)
    order.executions[base] = execution
    effects.executions.append(execution)
    if twin is not None:
        twin.executed = round(sum(order.executions[each].shares for each in twin.bases), DECIMALS)
    if counts:
        if record.ended in ("cancelled", "rejected") and order.remaining:
            # A part that was filled before its end: to say that it was accepted would give it a new life.
            record.accepted = True
        accept(order, "Submitted" if order.remaining else "Filled", now, effects)
        _tell_fill(order, execution, before, effects)
        order.compare(now)
        try_end(order, now, effects)
        twins.see(order, now, effects)


def on_commission(order: OrderAtIb, report: CommissionReport, effects: Effects) -> None:
    """`commissionReport` of one of our executions; once for each."""
    base = split_exec_id(report.exec_id)[0]
    execution = order.executions.get(base)
    if execution is None or execution.exec_id != report.exec_id or execution.commission:
        return
    order.executions[base] = replace(execution, commission=True)
    effects.executions.append(order.executions[base])
    fact = Commission(
        **order.ids,
        exec_id=report.exec_id,
        commission=report.commission,
        currency=report.currency,
        realized_pnl=report.realized_pnl,
    )
    effects.tell(order.record, fact)


def _on_status(order: OrderAtIb, report: StatusReport, now: float, effects: Effects) -> None:
    """`orderStatus`."""
    order.numbers.on_said(report.filled, report.remaining)
    order.compare(now)
    held = report.locating or order.locating
    see_status(order, report.status, now, effects, held=held, numbered=True)


def _on_open_order(order: OrderAtIb, report: OpenOrderReport, now: float, effects: Effects) -> None:
    """`openOrder`. It does not say why an Inactive order is held; the status before it did."""
    record = order.record
    changes.see_terms(order, report, effects)
    if 0 < report.quantity < float("inf") and report.quantity != record.quantity:
        # IB may reduce an order (code 481): what remains follows IB.
        record.quantity = report.quantity
        effects.keep(record)
    if report.status == "Filled":
        order.numbers.on_said(record.quantity, 0.0)
    order.compare(now)
    held = order.locating or record.status == "Inactive"
    see_status(order, report.status, now, effects, held=held)


def _on_completed(order: OrderAtIb, report: CompletedOrderReport, now: float, effects: Effects) -> None:
    """The order was over when we asked. Its fills came before this, with the executions."""
    record = order.record
    changes.see_last_terms(order, report, effects)
    if order.is_over:
        return
    order.numbers.on_completed(report.filled, whole=report.status == "Filled")
    if not record.quantity:
        # Found after both journals were lost: only this list says how large it was.
        record.quantity = max(report.quantities, default=0.0)
    order.compare(now)
    text = report.completed_status
    rejected = report.status == "Inactive" or "reject" in text.lower()
    if report.status == "Filled":
        on_working(order, "Filled", now, effects)
    elif rejected:
        ending = Ending("rejected", now, text or "Inactive", explained=True, numbered=True)
        see_end(order, ending, now, effects)
    elif report.status in CANCELLED_STATUSES:
        see_end(order, Ending("cancelled", now, text, explained=True, numbered=True), now, effects)
    else:
        effects.notes.append(f"{record.order_id}: IB completed it with the status {report.status!r} ({text})")


def _tell_fill(order: OrderAtIb, execution: Execution, before: Execution | None, effects: Effects) -> None:
    """Tell a fill, or its correction: `before` is what it corrects."""
    record = order.record
    done = order.remaining == 0 and not record.living_twins
    fact = Filled(
        **order.ids,
        exec_id=execution.exec_id,
        shares=execution.shares,
        price=execution.price,
        cum_qty=order.filled,
        avg_price=order.avg_price,
        remaining=order.remaining,
        done=done,
        corrects=before.exec_id if before else None,
    )
    order.resting_since = None
    effects.tell(record, fact, order.count_success())
    if done:
        end(order, "filled", effects)
    elif record.ended == "filled":
        # A correction took shares away again: not done after all.
        record.end("")
