"""What strategies send: submits, cancels, and what is no message at all."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from orderfuse.codec import DecodeError
from orderfuse.ibfields import InvalidFields, check_contract, check_order
from orderfuse.messages import (
    RESERVED_STRATEGIES,
    BlockCode,
    Blocked,
    Cancel,
    Duplicate,
    Expired,
    Invalid,
    OrderEvent,
    Replace,
    RequestPassed,
    RequestPassedCode,
    RequestRefused,
    RequestRefusedCode,
    Submit,
)
from services.breaker import brackets
from services.breaker.batch import AnsweredRequest
from services.breaker.core import Core
from services.breaker.dead_man import SILENT_REASON, DeadMan
from services.breaker.orders import OrderRecord, digest_of, new_record
from services.breaker.remembered import RememberedCancels
from services.breaker.scopes import SECOND_NS, SYSTEM, Refusal, strategy_scope

# Answers kept in memory for resent requests; older ones are read from the journal.
MAX_RECENT_REQUESTS = 10_000
# An id that is too long to be valid is still echoed up to here, so that its sender finds the answer.
MAX_ECHOED_ID = 200

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(slots=True)
class _Pace:
    """What one strategy sent lately."""

    recent_ns: deque[int]
    failure_counted_ns: int | None = None


@dataclass(slots=True)
class Intake:
    """Takes what strategies send and answers, or queues the order for its turn."""

    core: Core
    allow_order_fields: frozenset[str]
    dead_man: DeadMan
    dropped: dict[str, int] = field(default_factory=dict)
    remembered: RememberedCancels = field(default_factory=RememberedCancels)
    resends: int = 0
    _new: list[OrderRecord] = field(default_factory=list)
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _requests: OrderedDict[str, AnsweredRequest] = field(default_factory=OrderedDict)

    # -- submit --------------------------------------------------------------------------------------------

    def on_submit(self, submit: Submit) -> None:
        """An order arrives, for the first time or again."""
        if submit.strategy_id in RESERVED_STRATEGIES:
            self._invalid(submit, f"strategy_id is {submit.strategy_id!r}, which is kept for orderfuse itself")
            return
        known = self.core.find(submit.order_id)
        if known is not None:
            self._on_resend(submit, known)
            return
        try:
            record = self._checked(submit)
            legs = brackets.checked_legs(self.core, submit, record, self.allow_order_fields)
        except InvalidFields as error:
            self._invalid(submit, str(error))
            return
        record.attached = [leg.order_id for leg in legs]
        self.core.orders.update({leg.order_id: leg for leg in legs})
        wrong_clock = self.core.too_far_ahead(submit.sent_ns)
        if wrong_clock is not None:
            # Kept, unlike what is wrong in itself: the same bytes sent again a moment later would be right.
            self._end(record, Invalid(order_id=record.order_id, strategy_id=record.strategy_id, reason=wrong_clock))
            return
        refusal = self._refusal(record)
        self.core.orders[record.order_id] = record
        if refusal is not None:
            self.block(record, refusal)
        else:
            self.core.queues.add(record)
            self._new.append(record)

    def _checked(self, submit: Submit) -> OrderRecord:
        return new_record(
            submit,
            check_contract(submit.contract),
            check_order(submit.order, allow=self.allow_order_fields),
            arrived_ns=self.core.now(),
            age_at_arrival_ns=max(0, self.core.wall_ns() - submit.sent_ns),
        )

    def _on_resend(self, submit: Submit, known: OrderRecord) -> None:
        if not (known.digest or known.parent):
            # Perhaps the very same order, of before a journal was lost: nobody can tell, so nobody is to blame.
            reason = f"order_id {submit.order_id!r} was at IB already when a journal was lost; what it was is not known"
            self._invalid(submit, reason, conflict=True)
        elif known.digest != digest_of(submit):
            reason = f"order_id {submit.order_id!r} was already used with other content"
            self._invalid(submit, reason, conflict=True)
            self.core.scopes.trip(
                strategy_scope(submit.strategy_id),
                f"order_id {submit.order_id} was used twice with different content",
                latch=True,
            )
        elif known.state == "queued":
            self.resends += 1
        else:
            self._duplicate(known)

    def _duplicate(self, known: OrderRecord) -> None:
        bulletin = self.core.bulletin
        bulletin.order_event(Duplicate(order_id=known.order_id, strategy_id=known.strategy_id))
        # Its end, too: a commission may have come behind it.
        told = [event for event in (known.first_event, known.end, known.last_event) if event is not None]
        for number, event in enumerate(told):
            if event not in told[:number]:
                bulletin.event_again(known, event)

    def _refusal(self, record: OrderRecord) -> Refusal | None:
        """What keeps an order out before its turn comes: limits of its strategy, and a cancel that was faster."""
        strategy_id, settings = record.strategy_id, self.core.settings
        if self.core.scopes.open_for(strategy_id) is None:
            reason = f"there are {settings.max_strategies} strategies already (breaker.max_strategies)"
            return Refusal("too_many_strategies", reason, SYSTEM)
        if self.remembered.take((strategy_id, record.order_id)):
            self.core.batch.remembered_cancels[strategy_id, record.order_id] = None
            return Refusal("cancelled", "its cancel came before it", strategy_scope(strategy_id))
        if self.dead_man.is_silent(strategy_id):
            return Refusal("cancelled", SILENT_REASON, strategy_scope(strategy_id))
        if not self.keeps_pace(strategy_id):
            reason = f"more than {settings.max_orders_per_second} orders in a second"
            return Refusal("rate_limit", reason, strategy_scope(strategy_id))
        if self.core.queues.is_full(strategy_id):
            reason = f"{settings.queue_limit} orders of this strategy wait already (breaker.queue_limit)"
            return Refusal("queue_full", reason, strategy_scope(strategy_id))
        return None

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
            self.core.scopes.strategy_failure(strategy_id)
        return False

    def watch_waiting(self) -> None:
        """See to it that new orders which have to wait are answered when they are too old.

        Most orders are answered at once. A timer for each of those would be kept for its whole time to live.
        """
        for record in self._new:
            if record.state == "queued":
                self._watch(record.order_id, record.expires_ns())
        self._new.clear()

    def _watch(self, order_id: str, expires_ns: int) -> None:
        # One nanosecond later: at exactly its time to live an order may still be sent.
        self.core.at(expires_ns + 1, lambda: self._expire_if_queued(order_id))

    def _expire_if_queued(self, order_id: str) -> None:
        record = self.core.orders.get(order_id)
        if record is not None and record.state == "queued":
            self.core.queues.remove(record)
            self.expire(record)

    # -- answers -------------------------------------------------------------------------------------------

    def block(self, record: OrderRecord, refusal: Refusal) -> None:
        """Answer an order with our own no. It is out of the queue already."""
        circuit = self.core.scopes.find(refusal.scope) or self.core.scopes.system
        state = circuit.get_state()
        self._end(
            record,
            Blocked(
                order_id=record.order_id,
                strategy_id=record.strategy_id,
                reason=refusal.reason,
                code=refusal.code,
                scope=refusal.scope,
                state=state["state"],
                retry_at=state["retry_at"],
                failures=state["failures"],
                failure_count=state["failure_count"],
            ),
        )

    def expire(self, record: OrderRecord) -> None:
        """Answer an order that is too old. It is out of the queue already."""
        age_ms = record.age_ns(self.core.now()) // 1_000_000
        self._end(record, Expired(order_id=record.order_id, strategy_id=record.strategy_id, age_ms=age_ms))

    def _end(self, record: OrderRecord, event: OrderEvent) -> None:
        self.core.end(record, event)
        brackets.end_legs(self.core, record, event)

    def _invalid(self, message: Submit, reason: str, *, conflict: bool = False) -> None:
        """Answer a message that is none. Nothing is kept: the id is as free, or as taken, as before."""
        self.core.bulletin.order_event(
            Invalid(order_id=message.order_id, strategy_id=message.strategy_id, reason=reason, conflict=conflict)
        )

    def on_nonsense(self, error: DecodeError) -> None:
        """Count what could not be read, and answer where an id can be."""
        self.dropped[error.cause] = self.dropped.get(error.cause, 0) + 1
        order_id, strategy_id = error.fields.get("order_id"), error.fields.get("strategy_id")
        if not isinstance(order_id, str) or not order_id:
            return
        valid = isinstance(strategy_id, str) and len(strategy_id) <= 32 and _ID.match(strategy_id)
        strategy_id = str(strategy_id) if valid else ""
        request_id = error.fields.get("request_id")
        if error.fields.get("kind") in ("cancel", "replace") and isinstance(request_id, str):
            self.core.bulletin.order_event(
                RequestRefused(
                    order_id=order_id[:MAX_ECHOED_ID],
                    strategy_id=strategy_id,
                    request_id=request_id[:MAX_ECHOED_ID],
                    code="invalid",
                    reason=error.reason,
                )
            )
        else:
            self.core.bulletin.order_event(
                Invalid(order_id=order_id[:MAX_ECHOED_ID], strategy_id=strategy_id, reason=error.reason)
            )

    # -- cancel, replace -----------------------------------------------------------------------------------

    def on_cancel(self, cancel: Cancel) -> None:
        """A strategy wants an order gone. This always passes, whatever the circuits say."""
        if self.was_answered(cancel):
            return
        record = self.core.find(cancel.order_id)
        if record is None:
            self._remember(cancel)
        elif record.strategy_id != cancel.strategy_id:
            self.refuse(cancel, "not_yours", f"the order belongs to strategy {record.strategy_id}")
        elif record.state == "done":
            self.refuse(cancel, "done", "the order has its end already")
        elif record.state == "queued" and record.parent:
            self.refuse(cancel, "attached", f"it waits together with its parent: cancel {record.parent}")
        elif record.state == "queued":
            self.pass_on(cancel, "queued", "the order had not been sent on")
            self.core.queues.remove(record)
            self.block(record, Refusal("cancelled", "cancelled while it waited", strategy_scope(record.strategy_id)))
        else:
            here = self.core.executor.joined
            self.pass_on(cancel, "sent" if here else "kept", "" if here else "goes first when the executor is back")
            self.core.ask_to_cancel(record, cancel.request_id)

    def poll(self) -> None:
        """Forget cancels whose order never came."""
        for key in self.remembered.expired(self.core.now()):
            self.core.batch.remembered_cancels[key] = None

    def end_queued(self, strategy_id: str, reason: str) -> None:
        """None of a strategy's orders that wait will be sent."""
        for record in [record for record in self.core.queues if record.strategy_id == strategy_id]:
            self.core.queues.remove(record)
            self.block(record, Refusal("cancelled", reason, strategy_scope(strategy_id)))

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

    def _remember(self, cancel: Cancel) -> None:
        key = (cancel.strategy_id, cancel.order_id)
        full = self.remembered.refuses(key, self.core.scopes.strategies)
        if full:
            self.refuse(cancel, "queue_full", full)
            return
        until = self.remembered.add(key, self.core.now())
        if until is not None:
            self.core.batch.remembered_cancels[key] = until
        self.pass_on(cancel, "remembered", "no such order yet; it will be blocked if it comes")

    def was_answered(self, request: Cancel | Replace) -> bool:
        """Give a resent request the answer that it got; another one under the same id gets a no of its own."""
        request_id = request.request_id
        answered = self._requests.get(request_id) or self.core.history.find_request(request_id)
        if answered is None:
            return False
        if (answered.order_id, answered.strategy_id) == (request.order_id, request.strategy_id):
            self._answer(answered, again=True)
        else:
            reason = f"request_id {request_id!r} was already used for another order; nothing was done"
            self._answer(
                AnsweredRequest(request_id, request.order_id, request.strategy_id, False, "request_id_used", reason),
                again=False,
            )
        return True

    def pass_on(self, request: Cancel | Replace, code: RequestPassedCode, reason: str) -> None:
        """Answer a request with yes."""
        self._answer_first(request, code, reason, accepted=True)

    def refuse(self, request: Cancel | Replace, code: RequestRefusedCode | BlockCode, reason: str) -> None:
        """Answer a request with no."""
        self._answer_first(request, code, reason, accepted=False)

    def _answer_first(self, request: Cancel | Replace, code: str, reason: str, *, accepted: bool) -> None:
        answer = AnsweredRequest(request.request_id, request.order_id, request.strategy_id, accepted, code, reason)
        self.core.batch.requests[request.request_id] = answer
        self._requests[request.request_id] = answer
        if len(self._requests) > MAX_RECENT_REQUESTS:
            self._requests.popitem(last=False)
        self._answer(answer, again=False)

    def _answer(self, answer: AnsweredRequest, *, again: bool) -> None:
        kind = RequestPassed if answer.accepted else RequestRefused
        self.core.bulletin.order_event(
            kind(
                order_id=answer.order_id,
                strategy_id=answer.strategy_id,
                request_id=answer.request_id,
                code=answer.code,
                reason=answer.reason,
                again=again,
            )
        )
