"""What IB makes of the changes of an order: done, refused, or answered in words that nobody knows. Pure."""

from __future__ import annotations

from orderfuse.bus.events import Replaced, ReplaceFailed
from services.executor.orders.order_at_ib import OrderAtIb, short, words_of
from services.executor.orders.outcomes import CodeRule, Meaning
from services.executor.orders.records import Change, Effects
from services.gateway.reports import CompletedOrderReport, ErrorReport, OpenOrderReport
from services.wire.feedback import Outcome, Working


def see_terms(order: OrderAtIb, report: OpenOrderReport, effects: Effects) -> None:
    """IB lists the order: a change whose terms it has is done."""
    change = order.record.change
    if change is not None and all(report.terms.get(name) == value for name, value in change.terms.items()):
        _succeed(order, change, effects)


def see_last_terms(order: OrderAtIb, report: CompletedOrderReport, effects: Effects) -> None:
    """A change that was under way when the order ended was done before it, or never was."""
    change = order.record.change
    if change is None:
        return
    wanted = dict(change.terms)
    quantity = wanted.pop("totalQuantity", None)
    if (quantity is None or quantity in report.quantities) and wanted == {at: report.terms.get(at) for at in wanted}:
        order.record.quantity = order.record.quantity if quantity is None else quantity
        _succeed(order, change, effects)
    else:
        fail(order, 0, "the order was over first", "neutral", effects)


def fail(order: OrderAtIb, code: int, text: str, outcome: Outcome | None, effects: Effects) -> None:
    """The change that is under way did not happen; the order is what its own reports say."""
    record = order.record
    change, record.change = record.change, None
    doubt, order.change_doubt = order.change_doubt, None
    if doubt is not None:
        # What that counts as was told when it came.
        code, outcome = code or doubt.code, "neutral"
        text = f"{text}; IB had said {doubt.code}: {doubt.text}"
    if change is not None:
        fact = ReplaceFailed(**order.ids, request_id=change.request_id, ib_code=code, reason=short(text))
        effects.tell(record, fact, outcome)


def on_error(order: OrderAtIb, report: ErrorReport, rule: CodeRule, now: float, effects: Effects) -> None:
    """IB's error answers the change that is under way, or is said once more of the last one."""
    order.change_said = report
    change = order.record.change
    match rule.meaning:
        case Meaning.NOTICE | Meaning.CONNECTION | Meaning.DISCONNECTED | Meaning.RESTORED:
            return
        case Meaning.DOUBT if change is not None:
            # Which terms hold is open, the order itself is not: IB's list tells.
            if order.change_doubt is None:
                doubts, said = change.request_id, words_of(report)
                answered = Working(**order.ids, status=order.record.status, doubts=doubts, said=said)
                effects.tell(order.record, answered, rule.outcome)
            order.change_doubt = report
            order.changed_at = now
        case _:
            fail(order, report.code, report.text, rule.outcome or "neutral", effects)
    # Whether the order has survived the refusal, only its status tells.
    effects.look_up = True
    order.ask(now)


def _succeed(order: OrderAtIb, change: Change, effects: Effects) -> None:
    order.record.change = order.change_doubt = None
    effects.tell(order.record, Replaced(**order.ids, request_id=change.request_id), "success")
