"""What an error of IB's makes of an order: which of our operations it answers, and what follows. Pure."""

from __future__ import annotations

from orderfuse.bus.events import Unknown
from services.executor.orders import cancels, changes, twins
from services.executor.orders.ends import Ending
from services.executor.orders.order_at_ib import OrderAtIb, short, words_of
from services.executor.orders.order_states import see_end
from services.executor.orders.outcomes import CANCEL, MODIFY, CodeRule, Meaning, Operation, for_order
from services.executor.orders.records import Effects
from services.gateway.reports import ErrorReport

# IB's word that an order to sell short is held until shares are found: its Inactive is no rejection.
HELD_CODE = 404
# An answer to an order that names no state: only what it is about.
CANCELLED_CODE = 202

_ABOUT_CANCELS = frozenset({Meaning.CANCEL_FAILED, Meaning.CANCELLING})


def on_error(order: OrderAtIb, report: ErrorReport, now: float, effects: Effects) -> CodeRule:
    """`error` with this order's id. Returns what its code means."""
    operation = _operation(order, report)
    rule = for_order(report.code, report.text, operation)
    order.locating = order.locating or report.code == HELD_CODE
    if rule.meaning is Meaning.REDUCED:
        order.record.reduced = True
        effects.keep(order.record)
    elif operation == "modify":
        changes.on_error(order, report, rule, now, effects)
    elif operation == "cancel" and (rule.meaning in _ABOUT_CANCELS or _is_unclear(order, rule)):
        _on_error_of_cancel(order, report, rule, now, effects)
    else:
        _on_error_of_order(order, report, rule, now, effects)
    if not _is_told(order, report, effects):
        effects.notes.append(f"{order.record.order_id}: IB says {report.code} {report.text}")
    return rule


def _is_told(order: OrderAtIb, report: ErrorReport, effects: Effects) -> bool:
    """Whether a fact has IB's words with it, or the end that is told in a moment: who tells facts logs them."""
    if order.ending is not None and order.ending.text == report.text:
        return True
    said = short(report.text)
    return any(said in getattr(fact, "reason", "") for fact, _ in effects.facts)


def _operation(order: OrderAtIb, said: ErrorReport) -> Operation:
    """What of ours an error answers. A fill may be faster than the refusal of a cancel, which wants its answer."""
    record, code = order.record, said.code
    # Some codes are IB's answer to either: what it says of a change, it says of the one that is under way.
    of_a_cancel = record.cancel_left and code in CANCEL and code not in MODIFY
    if record.change is not None and code != CANCELLED_CODE and not of_a_cancel:
        return "modify"
    if record.cancel_sent and record.ended != "cancelled":
        return "cancel"
    if record.revision and (code in MODIFY or said == order.change_said):
        return "modify"  # Its answer has been told; said once more, it is no news.
    return "cancel" if record.cancel_left else "new"


def _is_unclear(order: OrderAtIb, rule: CodeRule) -> bool:
    """Whether this may be about the cancel that is under way as well as about the order."""
    return not rule.known and (order.record.cancel_sent or order.cancels.out > 0)


def _on_error_of_order(order: OrderAtIb, report: ErrorReport, rule: CodeRule, now: float, effects: Effects) -> None:
    record = order.record
    match rule.meaning:
        case Meaning.REJECTED | Meaning.MARGIN | Meaning.MALFORMED | Meaning.CANCELLED if record.living_twins:
            # An error names the number, which both have: only the status of either says whose end it is.
            effects.look_up = True
        case Meaning.REJECTED | Meaning.MARGIN | Meaning.MALFORMED:
            end = Ending("rejected", now, report.text, explained=True, code=report.code, outcome=rule.outcome)
            see_end(order, end, now, effects)
        case Meaning.CANCELLED:
            see_end(order, Ending("cancelled", now, report.text, explained=True), now, effects)
        case Meaning.DOUBT:
            effects.look_up = True
            if not record.ended and not order.doubtful:
                order.doubtful = True
                fact = Unknown(**order.ids, reason=words_of(report))
                effects.tell(record, fact, order.count_failure(rule.outcome))
        case _:
            pass


def _on_error_of_cancel(order: OrderAtIb, report: ErrorReport, rule: CodeRule, now: float, effects: Effects) -> None:
    """IB does not cancel: it says why, or in words that nobody knows, or before it knows the order at all."""
    record = order.record
    order.cancels.on_word()
    if not record.cancel_sent or record.ended == "cancelled":
        return  # Its answer has been told; said once more, or of an earlier one, it is no news.
    effects.look_up = True
    if record.living_twins and order.ending is not None:
        cancels.fail(order, report.code, f"{twins.why(record)}: {report.text}", effects)
    elif rule.meaning is Meaning.CANCELLING:
        return  # An earlier one is at work; its end is the answer to both.
    elif not record.ended and (not rule.known or not record.accepted):
        order.cancels.hold(report, resends=rule.known)
        order.ask(now)
    else:
        order.ask(now)
        cancels.fail(order, report.code, report.text, effects)
