"""What strategies send: submits and cancels. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.events import RequestPassedCode
from orderfuse.bus.fields import RESERVED_STRATEGIES
from orderfuse.bus.orders import Cancel, Submit
from orderfuse.ibfields.checks import InvalidFields, check_contract, check_order
from services.breaker import brackets, cancelling
from services.breaker.answers import Answers
from services.breaker.circuits.scopes import SECOND_NS, Refusal
from services.breaker.core import Core
from services.breaker.gates import Fault, Gates, NewOrder, no_at_arrival
from services.breaker.orders import OrderRecord, digest_of, new_record
from services.breaker.remembered import Share

# A cancel that is lost on the way can be asked for again; in between one message is enough.
CANCEL_AGAIN_NS = SECOND_NS


@dataclass(slots=True)
class Intake:
    """Takes what strategies send and has it answered, or queues the order for its turn."""

    core: Core
    answers: Answers
    gates: Gates

    # -- submit --------------------------------------------------------------------------------------------

    def on_submit(self, submit: Submit, sender: str) -> None:
        """An order arrives, for the first time or again. `sender`: the program that has sent it."""
        if submit.strategy_id in RESERVED_STRATEGIES:
            reason = f"strategy_id is {submit.strategy_id!r}, which is kept for orderfuse itself"
            self.answers.invalid(submit, reason, sender)
            return
        # First, since what is refused again and again must not cost a look into the journal. Nothing is in both.
        refused = self.answers.refusals.find(submit.order_id)
        if refused is not None:
            self.answers.again_refused(submit, refused, sender)
            return
        known = self.core.find(submit.order_id)
        if known is not None:
            self._on_resend(submit, known, sender)
            return
        if not self._can_answer(submit.strategy_id, sender):
            self.core.drop("refused_too_often")
            return
        try:
            record = self._checked(submit, sender)
            legs = brackets.checked_legs(submit, record, self.gates.allow, self._was_used)
        except InvalidFields as error:
            self.answers.invalid(submit, str(error), sender)
            return
        # The last question to the journal: from here on the order is there.
        self.core.ask_for_circuit(submit.strategy_id)
        no = no_at_arrival(self.gates, NewOrder(submit, sender))
        record.attached = [leg.order_id for leg in legs]
        self.core.orders.update({each.order_id: each for each in (record, *legs)})
        self._answer_or_queue(record, legs, no)

    def _answer_or_queue(self, record: OrderRecord, legs: list[OrderRecord], no: Refusal | Fault | None) -> None:
        match no:
            case None:
                self.core.queues.add(record)
            case Refusal():
                self.answers.block(record, no)
            case Fault(reason=reason):
                # The only one that a valid order can meet when it arrives: its clock.
                if not self.answers.refuse_clock(record, reason):
                    self.core.drop("clock_ahead")
                    for each in (record, *legs):
                        del self.core.orders[each.order_id]

    def _was_used(self, order_id: str) -> bool:
        return self.core.find(order_id) is not None or self.answers.refusals.find(order_id) is not None

    def _can_answer(self, strategy_id: str, sender: str) -> bool:
        payer = self.core.scopes.payer(strategy_id, sender)
        return self.answers.refusals.can_answer(payer, strategy_id, self.core.now)

    def _checked(self, submit: Submit, sender: str) -> OrderRecord:
        return new_record(
            submit,
            check_contract(submit.contract),
            check_order(submit.order, allow=self.gates.allow),
            sender,
            arrived_ns=self.core.now,
            age_at_arrival_ns=max(0, self.core.wall_ns - submit.sent_ns),
            ahead_at_arrival_ns=self.core.ahead_ns(submit.sent_ns),
            arrived_wall_ns=self.core.wall_ns,
        )

    def _on_resend(self, submit: Submit, known: OrderRecord, sender: str) -> None:
        if not (known.digest or known.parent):
            # Perhaps the very same order, of before a journal was lost: nobody can tell, so nobody is to blame.
            reason = f"order_id {submit.order_id!r} was at IB already when a journal was lost; what it was is not known"
            self.answers.invalid(submit, reason, sender, conflict=True)
        elif known.digest != digest_of(submit):
            self.answers.other_content(submit, sender)
        elif known.state != "queued":
            # One that waits has its answer to come.
            self.answers.again(known)

    def on_nonsense(self, error: DecodeError, sender: str) -> None:
        """Count what could not be read, and answer where an id can be."""
        self.core.drop(error.cause)
        self.answers.nonsense(error, sender)

    # -- cancel --------------------------------------------------------------------------------------------

    def on_cancel(self, cancel: Cancel, sender: str) -> None:
        """A strategy wants an order gone. This always passes, whatever the circuits say."""
        if self.answers.was_answered(cancel, sender):
            return
        record = self.core.find(cancel.order_id)
        if record is None and self.answers.refusals.find(cancel.order_id) is not None:
            self.answers.refuse(cancel, "done", "the order has its end already", sender)
        elif record is None:
            self._remember(cancel, sender)
        elif record.strategy_id != cancel.strategy_id:
            self.answers.refuse(cancel, "not_yours", f"the order belongs to strategy {record.strategy_id}", sender)
        elif record.state == "done":
            self.answers.refuse(cancel, "done", "the order has its end already", sender)
        elif record.state == "queued" and record.parent:
            reason = f"it waits together with its parent: cancel {record.parent}"
            self.answers.refuse(cancel, "attached", reason, sender)
        elif record.state == "queued":
            self.answers.pass_on(cancel, "queued", "the order had not been sent on", sender)
            self.answers.block(record, Refusal("cancelled", "cancelled while it waited", record.scope))
        elif record.cancel_wanted and 0 <= self.core.now - record.cancel_asked_ns < CANCEL_AGAIN_NS:
            # IB takes so many messages in a second, and they are everybody's.
            self.answers.pass_on(cancel, "sent", "it is being cancelled already", sender, first=False)
            cancelling.waits(self.core, record, cancel.request_id)
        else:
            code: RequestPassedCode = "sent" if self.core.executor.joined else "kept"
            reason = "" if code == "sent" else "goes first when the executor is back"
            self.answers.pass_on(cancel, code, reason, sender, first=not record.cancel_wanted)
            cancelling.waits(self.core, record, cancel.request_id)
            self.core.ask_to_cancel(record, cancel.request_id)

    def poll(self) -> None:
        """Forget cancels whose order never came, and refusals of which no copy can come."""
        self.answers.refusals.poll(self.core.now)
        for key in self.gates.remembered.expired(self.core.now):
            self.core.batch.remembered_cancels[key] = None

    def end_queued(self, strategy_id: str, refusal: Refusal) -> None:
        """None of a strategy's orders that wait will be sent."""
        for item in self.core.queues.of(strategy_id):
            if isinstance(item, OrderRecord):
                self.answers.block(item, refusal)

    def _remember(self, cancel: Cancel, sender: str) -> None:
        key = (cancel.strategy_id, cancel.order_id)
        scopes, strategy_id = self.core.scopes, cancel.strategy_id
        payer = scopes.payer(strategy_id, sender)
        share = Share(strategy_id if scopes.has_passed(strategy_id) else payer, payer)
        full = self.gates.remembered.refuses(key, share)
        if full:
            self.answers.refuse(cancel, "queue_full", full, sender)
            return
        until = self.gates.remembered.add(key, share, self.core.now)
        if until is not None:
            self.core.batch.remembered_cancels[key] = until
        reason = "no such order yet; it will be blocked if it comes"
        self.answers.pass_on(cancel, "remembered", reason, sender, first=until is not None)
