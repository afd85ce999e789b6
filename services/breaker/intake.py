"""What strategies send: submits and cancels."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from orderfuse.codec import DecodeError
from orderfuse.ibfields import InvalidFields, check_contract, check_order
from orderfuse.messages import RESERVED_STRATEGIES, Cancel, RequestPassedCode, Submit
from services.breaker import brackets, cancelling
from services.breaker.answers import Answers
from services.breaker.core import Core
from services.breaker.dead_man import SILENT_REASON, DeadMan
from services.breaker.last_failures import Failed
from services.breaker.orders import OrderRecord, digest_of, new_record
from services.breaker.remembered import RememberedCancels, Share
from services.breaker.scopes import SECOND_NS, SYSTEM, Refusal, strategy_scope

# A cancel that is lost on the way can be asked for again; in between one message is enough.
CANCEL_AGAIN_NS = SECOND_NS


@dataclass(slots=True)
class _Pace:
    """What one strategy sent lately."""

    recent_ns: deque[int]
    failure_counted_ns: int | None = None


@dataclass(slots=True)
class Intake:
    """Takes what strategies send and has it answered, or queues the order for its turn."""

    core: Core
    answers: Answers
    allow_order_fields: frozenset[str]
    dead_man: DeadMan
    dropped: dict[str, int] = field(default_factory=dict)
    remembered: RememberedCancels = field(default_factory=RememberedCancels)
    resends: int = 0
    _paces: dict[str, _Pace] = field(default_factory=dict)

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
            self._drop("refused_too_often")
            return
        try:
            record = self._checked(submit, sender)
            legs = brackets.checked_legs(submit, record, self.allow_order_fields, self._was_used)
        except InvalidFields as error:
            self.answers.invalid(submit, str(error), sender)
            return
        wrong_clock = self.core.too_far_ahead(submit.sent_ns)
        # Asked before anything of the order is there: the journal may not answer.
        refusal = self._refusal(record, submit) if wrong_clock is None else None
        record.attached = [leg.order_id for leg in legs]
        self.core.orders.update({each.order_id: each for each in (record, *legs)})
        if wrong_clock is not None:
            if not self.answers.refuse_clock(record, wrong_clock):
                self._drop("clock_ahead")
                for each in (record, *legs):
                    del self.core.orders[each.order_id]
        elif refusal is not None:
            self.answers.block(record, refusal)
        else:
            self.core.queues.add(record)

    def _was_used(self, order_id: str) -> bool:
        return self.core.find(order_id) is not None or self.answers.refusals.find(order_id) is not None

    def _can_answer(self, strategy_id: str, sender: str) -> bool:
        payer = self.core.scopes.payer(strategy_id, sender)
        return self.answers.refusals.can_answer(payer, strategy_id, self.core.now())

    def _drop(self, cause: str) -> None:
        self.dropped[cause] = self.dropped.get(cause, 0) + 1

    def _checked(self, submit: Submit, sender: str) -> OrderRecord:
        return new_record(
            submit,
            check_contract(submit.contract),
            check_order(submit.order, allow=self.allow_order_fields),
            sender,
            arrived_ns=self.core.now(),
            age_at_arrival_ns=max(0, self.core.wall_ns() - submit.sent_ns),
            ahead_at_arrival_ns=self.core.ahead_ns(submit.sent_ns),
            arrived_wall_ns=self.core.wall_ns(),
        )

    def _on_resend(self, submit: Submit, known: OrderRecord, sender: str) -> None:
        if not (known.digest or known.parent):
            # Perhaps the very same order, of before a journal was lost: nobody can tell, so nobody is to blame.
            reason = f"order_id {submit.order_id!r} was at IB already when a journal was lost; what it was is not known"
            self.answers.invalid(submit, reason, sender, conflict=True)
        elif known.digest != digest_of(submit):
            self.answers.other_content(submit, sender)
        elif known.state == "queued":
            self.resends += 1
        else:
            self.answers.again(known)

    def _refusal(self, record: OrderRecord, submit: Submit) -> Refusal | None:
        """What keeps an order out before its turn comes: limits of its strategy, and a cancel that was faster."""
        strategy_id, settings, now = record.strategy_id, self.core.settings, self.core.now()
        scopes, scope = self.core.scopes, strategy_scope(strategy_id)
        if self.answers.marks.may_have_been_refused(
            strategy_id, submit.sent_ns, nameless=not scopes.has_passed(strategy_id)
        ):
            return Refusal("rate_limit", "a breaker that is gone may have refused it: send it under a new id", scope)
        if not self.answers.refusals.has_room(scopes.payer(strategy_id, record.sender), strategy_id, now):
            return Refusal("queue_full", "too many orders were refused lately; wait a while", scope)
        if scopes.open_for(strategy_id, record.sender) is None:
            reason = f"there are {settings.max_strategies} strategies already (breaker.max_strategies)"
            return Refusal("too_many_strategies", reason, SYSTEM)
        if self.remembered.take((strategy_id, record.order_id)):
            self.core.batch.remembered_cancels[strategy_id, record.order_id] = None
            return Refusal("cancelled", "its cancel came before it", scope)
        if self.dead_man.is_silent(strategy_id):
            return Refusal("cancelled", SILENT_REASON, scope)
        if not self.keeps_pace(strategy_id):
            return Refusal("rate_limit", f"more than {settings.max_orders_per_second} orders in a second", scope)
        if self.core.queues.is_full(strategy_id):
            return Refusal("queue_full", self.queue_is_full(), scope)
        return None

    def queue_is_full(self) -> str:
        """What is said where a strategy has as much waiting as it may."""
        return f"{self.core.settings.queue_limit} orders of this strategy wait already (breaker.queue_limit)"

    def keeps_pace(self, strategy_id: str) -> bool:
        """Whether this order is within the rate. The first excess of each second is a failure."""
        now, limit = self.core.now(), self.core.settings.max_orders_per_second
        if strategy_id not in self._paces:
            # Strategies can be forgotten, so what is remembered of them must be too.
            self._paces = {name: p for name, p in self._paces.items() if name in self.core.scopes.strategies}
            self._paces[strategy_id] = _Pace(deque(maxlen=limit))
        pace = self._paces[strategy_id]
        if len(pace.recent_ns) < limit or now - pace.recent_ns[0] >= SECOND_NS:
            pace.recent_ns.append(now)
            return True
        if pace.failure_counted_ns is None or now - pace.failure_counted_ns >= SECOND_NS:
            pace.failure_counted_ns = now
            text = f"more than {limit} orders in a second (breaker.max_orders_per_second)"
            self.core.scopes.strategy_failure(strategy_id, Failed(text, "rate_limit"))
        return False

    def on_nonsense(self, error: DecodeError, sender: str) -> None:
        """Count what could not be read, and answer where an id can be."""
        self._drop(error.cause)
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
            self._end_waiting(record, Refusal("cancelled", "cancelled while it waited", record.scope))
        elif record.cancel_wanted and 0 <= self.core.now() - record.cancel_asked_ns < CANCEL_AGAIN_NS:
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
        self.answers.refusals.poll(self.core.now())
        for key in self.remembered.expired(self.core.now()):
            self.core.batch.remembered_cancels[key] = None

    def end_queued(self, strategy_id: str, refusal: Refusal) -> None:
        """None of a strategy's orders that wait will be sent."""
        for item in self.core.queues.of(strategy_id):
            if isinstance(item, OrderRecord):
                self._end_waiting(item, refusal)

    def _end_waiting(self, record: OrderRecord, refusal: Refusal) -> None:
        self.answers.block(record, refusal)
        self.core.queues.remove(record)

    def cancel_automatically(self, scope: str, *, protective_too: bool) -> list[str]:
        """Cancel the orders of a scope that are beyond the breaker; returns their ids.

        A protective order stays unless a person says otherwise: a crash must not remove a stop.
        """
        chosen = [
            record
            for record in self.core.orders.values()
            if record.state in ("out", "working", "unknown")
            and scope in (SYSTEM, strategy_scope(record.strategy_id))
            and (protective_too or not (record.protect or brackets.stays_at_an_automatic_cancel(self.core, record)))
        ]
        for record in chosen:
            self.core.ask_to_cancel(record, None)
        return [record.order_id for record in chosen]

    def _remember(self, cancel: Cancel, sender: str) -> None:
        key = (cancel.strategy_id, cancel.order_id)
        scopes, strategy_id = self.core.scopes, cancel.strategy_id
        payer = scopes.payer(strategy_id, sender)
        share = Share(strategy_id if scopes.has_passed(strategy_id) else payer, payer)
        full = self.remembered.refuses(key, share)
        if full:
            self.answers.refuse(cancel, "queue_full", full, sender)
            return
        until = self.remembered.add(key, share, self.core.now())
        if until is not None:
            self.core.batch.remembered_cancels[key] = until
        reason = "no such order yet; it will be blocked if it comes"
        self.answers.pass_on(cancel, "remembered", reason, sender, first=until is not None)
