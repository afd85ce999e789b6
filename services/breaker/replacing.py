"""Replaces: changing an order that works at IB. They wait and are judged like submits, in the same queue. Pure.

Whatever becomes of a replace, the order as IB has it lives on: nobody is told that it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orderfuse.ibfields import TERMS, InvalidFields, check_order
from orderfuse.messages import (
    RESERVED_STRATEGIES,
    BlockCode,
    Message,
    Outcome,
    Place,
    Replace,
    Replaced,
    ReplaceFailed,
    ReplaceOrder,
    RequestRefusedCode,
    Working,
)
from orderfuse.plain import shown
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.dead_man import SILENT_REASON
from services.breaker.intake import Intake
from services.breaker.last_failures import Failed
from services.breaker.orders import Change, OrderRecord, new_change
from services.breaker.queues import WaitingReplace
from services.breaker.scopes import SECOND_NS, strategy_scope

CodeAndReason = tuple[RequestRefusedCode | BlockCode, str]
# A fence that no executor ever has: a question with it is answered and never carried out.
NO_FENCE = -1


@dataclass(slots=True)
class Replacer:
    """Takes replaces, judges them at their turn, and hands them over.

    `_waiting`: those in the queues, by order; an order has one at most.
    """

    core: Core
    intake: Intake
    _waiting: dict[str, WaitingReplace] = field(default_factory=dict)

    def on_replace(self, replace: Replace, sender: str) -> None:
        """A strategy wants a working order changed."""
        waiting = self._waiting.get(replace.order_id)
        if waiting is not None and waiting.replace.request_id == replace.request_id:
            return
        if self.intake.answers.was_answered(replace, sender):
            return
        refusal = self._refusal(replace)
        if refusal is not None:
            self.intake.answers.refuse(replace, *refusal, sender)
            return
        age_ns = max(0, self.core.wall_ns() - replace.sent_ns)
        waiting = WaitingReplace(
            replace,
            check_order(replace.order, allow=self.intake.allow_order_fields),
            self.core.now() - age_ns + replace.ttl_ms * 1_000_000,
            sender,
        )
        self._waiting[replace.order_id] = waiting
        self.core.queues.add(waiting)

    def _refusal(self, replace: Replace) -> CodeAndReason | None:
        record = self.core.find(replace.order_id)
        if record is None:
            return "unknown_order", f"there is no order {replace.order_id}"
        if record.strategy_id != replace.strategy_id:
            return "not_yours", f"the order belongs to strategy {record.strategy_id}"
        if record.state != "working":
            why: dict[str, CodeAndReason] = {
                "done": ("done", "the order has its end already"),
                "queued": ("queued", "the order has not been sent on: cancel it and submit anew"),
            }
            return why.get(record.state, ("not_confirmed", "IB has not confirmed the order that it would change"))
        if record.strategy_id in RESERVED_STRATEGIES:
            return "not_yours", "nobody knows whose order it is: it can only be cancelled"
        if self.intake.dead_man.is_silent(record.strategy_id):
            return "cancelled", SILENT_REASON
        if record.cancel_wanted:
            return "cancelling", "the order is being cancelled"
        if record.change is not None or replace.order_id in self._waiting:
            return "busy", "another replace of this order is under way"
        if replace.revision <= record.revision:
            return "revision", f"revision is {replace.revision}, the last one was {record.revision}"
        return self._complaint(replace, record)

    def _complaint(self, replace: Replace, record: OrderRecord) -> CodeAndReason | None:
        wrong_clock = self.core.too_far_ahead(replace.sent_ns)
        if wrong_clock is not None:
            return "invalid", wrong_clock
        try:
            order = check_order(replace.order, allow=self.intake.allow_order_fields)
        except InvalidFields as error:
            return "invalid", str(error)
        for name in ("action", "orderType"):
            # IB refuses both (329), or takes them for another order.
            if order.get(name) != record.order.get(name):
                return "invalid", f"order.{name} is {shown(order.get(name))}, it stays {record.order.get(name)!r}"
        if all(order.get(name) == record.order.get(name) for name in TERMS):
            # IB's list would look the same before and after: nobody could say truly whether it was done.
            return "invalid", f"none of {', '.join(TERMS)} changes, so the change could not be told from none"
        if self.core.queues.is_full(record.strategy_id):
            return "queue_full", self.intake.queue_is_full()
        if not self.intake.keeps_pace(record.strategy_id):
            limit = self.core.settings.max_orders_per_second
            return "rate_limit", f"more than {limit} orders in a second"
        return None

    def refuse_waiting(self, strategy_id: str, reason: str) -> None:
        """None of a strategy's replaces that wait will be sent."""
        for waiting in self.core.queues.of(strategy_id):
            if isinstance(waiting, WaitingReplace):
                self._refuse(waiting, "cancelled", reason)
                self.core.queues.remove(waiting)

    def expire(self, waiting: WaitingReplace) -> None:
        """Answer a replace that is too old."""
        self._refuse(waiting, "expired", f"too old at its turn (ttl_ms {waiting.replace.ttl_ms})")

    def judge(self, waiting: WaitingReplace) -> bool:
        """Its turn has come: whether it is answered now, or waits on for a place in the window."""
        core, replace = self.core, waiting.replace
        record = core.orders.get(replace.order_id)
        if record is None or record.state != "working" or record.cancel_wanted:
            self._refuse(waiting, "done", "the order has ended, or is being cancelled")
            return True
        if core.now() > waiting.expires_ns():
            self.expire(waiting)
            return True
        lowers = only_lowers(record.order, waiting.order)
        core.scopes.open_for(record.strategy_id)
        if not core.has_room() and (lowers or core.scopes.would_admit(record.strategy_id)):
            return False
        change = new_change(record, replace.request_id, replace.revision, waiting.order, counts=not lowers)
        # What only takes risk away needs no leave of the circuits.
        refusal = None if lowers else core.scopes.admit(change)
        if refusal is not None:
            self._refuse(waiting, refusal.code, refusal.reason)
        else:
            self._pass(record, change, waiting)
        return True

    def _refuse(self, waiting: WaitingReplace, code: RequestRefusedCode | BlockCode, reason: str) -> None:
        del self._waiting[waiting.replace.order_id]
        self.intake.answers.refuse(waiting.replace, code, reason, waiting.sender)

    def _pass(self, record: OrderRecord, change: Change, waiting: WaitingReplace) -> None:
        core = self.core
        del self._waiting[record.order_id]
        record.revision, record.change = change.revision, change
        core.out.add(change.order_id)
        self.intake.answers.pass_on(waiting.replace, "sent", "", waiting.sender)
        core.save(record)
        fence = core.fence_of(strategy_scope(record.strategy_id))
        core.send(_message(record, change, fence, (waiting.expires_ns() - core.now()) // 1_000_000))
        core.at(core.now() + ACK_DEADLINE_NS, lambda: self._give_up(record, change))

    def _give_up(self, record: OrderRecord, change: Change) -> None:
        """No answer in time counts as a failure. The order works on; which of its terms hold is looked up."""
        if record.change is change:
            self.core.out.discard(change.order_id)
            text = f"a replace had no answer in {ACK_DEADLINE_NS // SECOND_NS} s"
            _settle(self.core, change, "failure", Failed(text, None, record.order_id))
            self.core.save(record)


def only_lowers(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the new order is the old one with a lower quantity and nothing else changed."""
    rest_is_same = {**old, "totalQuantity": 0} == {**new, "totalQuantity": 0}
    return rest_is_same and float(new["totalQuantity"]) < float(old["totalQuantity"])


def answer(core: Core, record: OrderRecord, fact: Replaced | ReplaceFailed, outcome: Outcome | None) -> None:
    """IB, or the executor for it, has answered a replace."""
    change = record.change
    if change is None and isinstance(fact, ReplaceFailed) and core.history.find_request(fact.request_id):
        # An executor that was asked a second time has said no a second time. Of a request that is not known here, its
        # journal was set back, nobody has heard yet.
        return
    if change is not None and change.request_id == fact.request_id:
        core.out.discard(change.order_id)
        record.change = None
        if isinstance(fact, Replaced):
            record.order = change.order
        code = fact.ib_code if isinstance(fact, ReplaceFailed) else None
        reason = fact.reason if isinstance(fact, ReplaceFailed) else ""
        _settle(core, change, outcome or "neutral", Failed(f"replace: {reason}", code or None, record.order_id))
    core.tell(record, fact)


def doubt(core: Core, record: OrderRecord, fact: Working, outcome: Outcome | None) -> None:
    """IB has answered a replace in words that nobody knows: it counts as what they are, and is looked up."""
    change = record.change
    if change is not None and change.request_id == fact.doubts:
        core.out.discard(change.order_id)
        _settle(core, change, outcome or "neutral", Failed(f"replace: {fact.said}", None, record.order_id))
        core.save(record)


def ask_again(core: Core) -> None:
    """Ask an executor that has joined what became of the replaces before; none is carried out by this."""
    for record in core.orders.values():
        if record.change is not None:
            core.send(_message(record, record.change, NO_FENCE, 1))


def must_arrive(message: Message) -> bool:
    """Whether something has to be decided anew if this could not be handed over.

    A question about a replace of before only asks: that it did not arrive says nothing of the change.
    """
    return isinstance(message, Place) or (isinstance(message, ReplaceOrder) and message.fence != NO_FENCE)


def fail(core: Core, record: OrderRecord, reason: str) -> None:
    """A replace could not be handed over."""
    if record.change is not None:
        ids: dict[str, Any] = {"order_id": record.order_id, "strategy_id": record.strategy_id}
        answer(core, record, ReplaceFailed(**ids, request_id=record.change.request_id, reason=reason), "neutral")


def _settle(core: Core, change: Change, outcome: Outcome, failed: Failed) -> None:
    if change.counts:
        core.scopes.settle(change, outcome, failed)


def _message(record: OrderRecord, change: Change, fence: int, ttl_left_ms: int) -> ReplaceOrder:
    return ReplaceOrder(
        order_id=record.order_id,
        strategy_id=record.strategy_id,
        account=record.account,
        contract=record.contract,
        order=change.order,
        request_id=change.request_id,
        revision=change.revision,
        fence=fence,
        scope=strategy_scope(record.strategy_id),
        ttl_left_ms=ttl_left_ms,
    )
