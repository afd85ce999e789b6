"""Replaces: changing an order that works at IB. They wait and are judged like submits, in the same queue. Pure.

Whatever becomes of a replace, the order as IB has it lives on: nobody is told that it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orderfuse.bus.events import Replaced, ReplaceFailed
from orderfuse.bus.fields import Message
from orderfuse.bus.orders import Replace
from orderfuse.ibfields.checks import InvalidFields, check_order
from services.breaker.answers import Answers
from services.breaker.circuits.scopes import SECOND_NS, Refusal, strategy_scope
from services.breaker.control.last_failures import Failed
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.gates import Fault, Gates, NewTerms, no_at_arrival, too_old
from services.breaker.orders import Change, OrderRecord
from services.breaker.queues import WaitingReplace
from services.wire.dispatch import Place, ReplaceOrder
from services.wire.feedback import Outcome, Working

# A fence that no executor ever has: a question with it is answered and never carried out.
NO_FENCE = -1


@dataclass(slots=True)
class Replacer:
    """Takes replaces, and answers them or hands them over at their turn."""

    core: Core
    answers: Answers
    gates: Gates

    def on_replace(self, replace: Replace, sender: str) -> None:
        """A strategy wants a working order changed."""
        waiting = self.gates.changes_waiting.get(replace.order_id)
        if waiting is not None and waiting.replace.request_id == replace.request_id:
            return
        if self.answers.was_answered(replace, sender):
            return
        try:
            terms = check_order(replace.order, allow=self.gates.allow)
        except InvalidFields as error:
            self.answers.refuse(replace, "invalid", str(error), sender)
            return
        no = no_at_arrival(self.gates, NewTerms(replace, sender, self.core.find(replace.order_id), terms))
        if no is not None:
            self.answers.refuse(replace, no.code, no.reason, sender)
            return
        age_ns = max(0, self.core.wall_ns - replace.sent_ns)
        self._wait(WaitingReplace(replace, terms, self.core.now - age_ns + replace.ttl_ms * 1_000_000, sender))

    def refuse_waiting(self, strategy_id: str, reason: str) -> None:
        """None of a strategy's replaces that wait will be sent."""
        for waiting in self.core.queues.of(strategy_id):
            if isinstance(waiting, WaitingReplace):
                self.refuse(waiting, Refusal("cancelled", reason, strategy_scope(strategy_id)))

    def expire_waiting(self, order_id: str) -> None:
        """The replace of this order that waits, if it does, is too old."""
        waiting = self.gates.changes_waiting.get(order_id)
        if waiting is not None:
            self.refuse(waiting, too_old(waiting))

    def refuse(self, waiting: WaitingReplace, no: Refusal | Fault) -> None:
        """It will not be sent; the order as IB has it lives on."""
        self._wait_no_longer(waiting)
        self.answers.refuse(waiting.replace, no.code, no.reason, waiting.sender)

    def hand_over(self, record: OrderRecord, change: Change, waiting: WaitingReplace) -> None:
        """Nothing has kept it from going on."""
        core = self.core
        self._wait_no_longer(waiting)
        record.revision, record.change = change.revision, change
        core.enter_window(Deadline(Due.ANSWER_TO_CHANGE, change.order_id), core.now + ACK_DEADLINE_NS)
        self.answers.pass_on(waiting.replace, "sent", "", waiting.sender)
        core.save(record)
        fence = core.fence_of(strategy_scope(record.strategy_id))
        core.send(_message(record, change, fence, (waiting.expires_ns() - core.now) // 1_000_000))

    def _wait(self, waiting: WaitingReplace) -> None:
        self.gates.changes_waiting[waiting.order_id] = waiting
        self.core.queues.add(waiting)

    def _wait_no_longer(self, waiting: WaitingReplace) -> None:
        del self.gates.changes_waiting[waiting.order_id]
        self.core.queues.remove(waiting)

    def give_up(self, change_id: str) -> None:
        """No answer in time counts as a failure. The order works on; which of its terms hold is looked up."""
        record = self.core.orders.get(change_id.partition("~")[0])
        change = record.change if record is not None else None
        if record is not None and change is not None and change.order_id == change_id:
            text = f"a replace had no answer in {ACK_DEADLINE_NS // SECOND_NS} s"
            _judge(self.core, change, "failure", Failed(text, None, record.order_id))
            self.core.save(record)


def answer(core: Core, record: OrderRecord, fact: Replaced | ReplaceFailed, outcome: Outcome | None) -> None:
    """IB, or the executor for it, has answered a replace."""
    change = record.change
    if change is None and isinstance(fact, ReplaceFailed) and core.history.find_request(fact.request_id):
        # An executor that was asked a second time has said no a second time. Of a request that is not known here, its
        # journal was set back, nobody has heard yet.
        return
    if change is not None and change.request_id == fact.request_id:
        record.change = None
        if isinstance(fact, Replaced):
            record.order = change.order
        code = fact.ib_code if isinstance(fact, ReplaceFailed) else None
        reason = fact.reason if isinstance(fact, ReplaceFailed) else ""
        _judge(core, change, outcome or "neutral", Failed(f"replace: {reason}", code or None, record.order_id))
    core.tell(record, fact)


def doubt(core: Core, record: OrderRecord, fact: Working, outcome: Outcome | None) -> None:
    """IB has answered a replace in words that nobody knows: it counts as what they are, and is looked up."""
    change = record.change
    if change is not None and change.request_id == fact.doubts:
        _judge(core, change, outcome or "neutral", Failed(f"replace: {fact.said}", None, record.order_id))
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


def _judge(core: Core, change: Change, outcome: Outcome, failed: Failed) -> None:
    """What became of a change is known, or nobody waits for that any more: its place is free, and it counts."""
    core.leave_window(change.order_id)
    if change.counts:
        core.outcomes.record(change, outcome, failed)


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
