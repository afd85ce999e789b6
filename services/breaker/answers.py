"""Our own answers to what strategies send: blocked, expired, invalid, duplicate, and yes or no to a request. Pure.

What an order or a request can make grow by its answer is decided here: the first answers of a program are kept on
disk, and more of them for a while in memory.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.events import (
    BlockCode,
    Blocked,
    Duplicate,
    Expired,
    Invalid,
    OrderEvent,
    RequestPassed,
    RequestPassedCode,
    RequestRefused,
    RequestRefusedCode,
)
from orderfuse.bus.orders import Cancel, Replace, Submit
from services.breaker import brackets
from services.breaker.batch import AnsweredRequest
from services.breaker.circuits.scopes import Refusal, strategy_scope
from services.breaker.core import Core
from services.breaker.orders import OrderRecord, digest_of
from services.breaker.refusals import Budget, Marks, Refusals, Refused

# Answers of the journal that are at hand for resent requests; older ones are read from there.
MAX_RECENT_REQUESTS = 10_000
# An id that is too long to be valid is still echoed up to here, so that its sender finds the answer.
MAX_ECHOED_ID = 200
# How long a cancel that is not kept is answered as it was; a client has long given up by then.
CANCEL_TTL_MS = 60_000
# Refusals that are not kept on disk, however few (PROTOCOL, events).
NOT_KEPT = frozenset({"rate_limit", "queue_full", "too_many_strategies"})

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


@dataclass(slots=True)
class Answers:
    """Tells strategies what became of what they sent, where the breaker itself decides."""

    core: Core
    marks: Marks
    refusals: Refusals = field(default_factory=Refusals)
    _budget: Budget = field(default_factory=Budget)
    _requests: OrderedDict[str, AnsweredRequest] = field(default_factory=OrderedDict)

    # -- orders --------------------------------------------------------------------------------------------

    def block(self, record: OrderRecord, refusal: Refusal) -> None:
        """Answer an order with our own no."""
        circuit = self.core.scopes.find(refusal.scope) or self.core.scopes.system
        state = circuit.get_state()
        blocked = Blocked(
            order_id=record.order_id,
            strategy_id=record.strategy_id,
            reason=refusal.reason,
            code=refusal.code,
            scope=refusal.scope,
            state=state["state"],
            retry_at=state["retry_at"],
            failures=state["failures"],
            failure_count=state["failure_count"],
        )
        self._end(record, blocked)

    def expire(self, record: OrderRecord) -> None:
        """Answer an order that is too old."""
        age_ms = record.age_ns(self.core.now) // 1_000_000
        self._end(record, Expired(order_id=record.order_id, strategy_id=record.strategy_id, age_ms=age_ms))

    def refuse_clock(self, record: OrderRecord, reason: str) -> bool:
        """Answer an order whose stamp is too far ahead, or don't, which is returned.

        Later the same bytes would be right, so the answer has to be on disk for as long as that takes.
        """
        if not self._may_keep(record.strategy_id, record.sender):
            return False
        self.core.end(record, Invalid(order_id=record.order_id, strategy_id=record.strategy_id, reason=reason))
        for leg in brackets.waiting_legs_of(self.core, record):
            self.core.end(leg, Invalid(order_id=leg.order_id, strategy_id=leg.strategy_id, reason=reason))
        return True

    def _end(self, record: OrderRecord, event: OrderEvent) -> None:
        code = event.code if isinstance(event, Blocked) else ""
        keep = code not in NOT_KEPT and self._keeps(record.strategy_id, record.sender)
        for each in (record, *brackets.waiting_legs_of(self.core, record)):
            said = self.core.end(each, brackets.for_leg(each, event), keep=keep)
            if not keep:
                self._remember(
                    each.order_id,
                    record.sender,
                    each.strategy_id,
                    each.digest,
                    said,
                    record.ttl_ms,
                    record.ahead_at_arrival_ns,
                )

    def invalid(self, submit: Submit, reason: str, sender: str, *, conflict: bool = False) -> None:
        """Answer a message that is none. Nothing is kept of it: the id is as free, or as taken, as before."""
        event = Invalid(order_id=submit.order_id, strategy_id=submit.strategy_id, reason=reason, conflict=conflict)
        self._tell(event, sender)

    def other_content(self, submit: Submit, sender: str) -> None:
        """The id was used for another order: nobody knows what the strategy believes, so a person has to look."""
        scopes = self.core.scopes
        self.core.ask_for_circuit(submit.strategy_id)
        has_circuit = scopes.open_for(submit.strategy_id, sender) is not None
        reason = f"order_id {submit.order_id!r} was already used with other content"
        self.invalid(submit, reason, sender, conflict=True)
        if has_circuit:
            reason = f"order_id {submit.order_id} was used twice with different content"
            scopes.trip(strategy_scope(submit.strategy_id), reason, latch=True)

    def again(self, known: OrderRecord) -> None:
        """Answer an order that has its answer: with that, and with the latest that was told of it."""
        # Its end, too: a commission may have come behind it.
        events = [event for event in (known.first_event, known.end, known.last_event) if event is not None]
        self._again(known.order_id, known.strategy_id, events, known=known.has_passed())

    def again_refused(self, submit: Submit, refused: Refused, sender: str) -> None:
        """Answer an order that was refused, and of which nothing is on disk."""
        if refused.digest == digest_of(submit):
            self._again(submit.order_id, submit.strategy_id, [refused.event()], known=False)
        else:
            self.other_content(submit, sender)

    def _again(self, order_id: str, strategy_id: str, events: list[dict[str, Any]], *, known: bool) -> None:
        publisher = self.core.publisher
        publisher.order_event(Duplicate(order_id=order_id, strategy_id=strategy_id), known=known, keep=False)
        for number, event in enumerate(events):
            if event not in events[:number]:
                publisher.event_again(strategy_id, event, known=known)

    # -- requests ------------------------------------------------------------------------------------------

    def was_answered(self, request: Cancel | Replace, sender: str) -> bool:
        """Give a resent request the answer that it got; another one under the same id gets a no of its own."""
        request_id = request.request_id
        answered = self.answer_to(request_id)
        if answered is None:
            return False
        if (answered.order_id, answered.strategy_id) == (request.order_id, request.strategy_id):
            self._tell_request(answered, again=True, keep=False)
        else:
            reason = f"request_id {request_id!r} was already used for another order; nothing was done"
            ids = (request_id, request.order_id, request.strategy_id)
            no = AnsweredRequest(*ids, False, "request_id_used", reason)
            self._tell_request(no, again=False, keep=self._keeps(request.strategy_id, sender))
        return True

    def pass_on(
        self, request: Cancel | Replace, code: RequestPassedCode, reason: str, sender: str, *, first: bool = True
    ) -> None:
        """Answer a request with yes. `first`: it is the one that does something, and so is kept."""
        self._answer(
            request, code, reason, sender, accepted=True, keep=first or self._keeps(request.strategy_id, sender)
        )

    def refuse(self, request: Cancel | Replace, code: RequestRefusedCode | BlockCode, reason: str, sender: str) -> None:
        """Answer a request with no."""
        keep = code not in NOT_KEPT and self._may_keep(request.strategy_id, sender)
        self._answer(request, code, reason, sender, accepted=False, keep=keep)

    def _answer(
        self, request: Cancel | Replace, code: str, reason: str, sender: str, *, accepted: bool, keep: bool
    ) -> None:
        answer = AnsweredRequest(request.request_id, request.order_id, request.strategy_id, accepted, code, reason)
        if keep:
            self.core.batch.requests[request.request_id] = answer
            self._requests[request.request_id] = answer
            if len(self._requests) > MAX_RECENT_REQUESTS:
                self._requests.popitem(last=False)
        else:
            ttl_ms = request.ttl_ms if isinstance(request, Replace) else CANCEL_TTL_MS
            key, strategy_id = _key_of(request.request_id), request.strategy_id
            ahead_ns = self.core.ahead_ns(request.sent_ns)
            if ahead_ns > self.marks.skew_ns:
                if isinstance(request, Replace):
                    # Its copies stay young for longer than anything off the disk is remembered: as with an order, it is
                    # answered for good or not at all.
                    self.core.drop("clock_ahead")
                    return
                # A cancel that comes again much later does no harm.
                ahead_ns = self.marks.skew_ns
            self._remember(key, sender, strategy_id, b"", asdict(answer), ttl_ms, ahead_ns)
        self._tell_request(answer, again=False, keep=keep)

    def answer_to(self, request_id: str) -> AnsweredRequest | None:
        """The answer that this request got, if it came before."""
        refused = self.refusals.find(_key_of(request_id))
        if refused is not None:
            return AnsweredRequest(**refused.event())
        return self._requests.get(request_id) or self.core.history.find_request(request_id)

    def _tell_request(self, answer: AnsweredRequest, *, again: bool, keep: bool) -> None:
        kind = RequestPassed if answer.accepted else RequestRefused
        event = kind(
            order_id=answer.order_id,
            strategy_id=answer.strategy_id,
            request_id=answer.request_id,
            code=answer.code,
            reason=answer.reason,
            again=again,
        )
        self.core.publisher.order_event(event, keep=keep and self._has_place(answer.strategy_id))

    # -- nonsense ------------------------------------------------------------------------------------------

    def nonsense(self, error: DecodeError, sender: str) -> None:
        """Answer what is no message, where an id can be read."""
        order_id, strategy_id = error.fields.get("order_id"), error.fields.get("strategy_id")
        if not isinstance(order_id, str) or not order_id:
            return
        valid = isinstance(strategy_id, str) and len(strategy_id) <= 32 and _ID.match(strategy_id)
        order_id, strategy_id = order_id[:MAX_ECHOED_ID], str(strategy_id) if valid else ""
        request_id = error.fields.get("request_id")
        event: OrderEvent
        if error.fields.get("kind") in ("cancel", "replace") and isinstance(request_id, str):
            event = RequestRefused(
                order_id=order_id,
                strategy_id=strategy_id,
                request_id=request_id[:MAX_ECHOED_ID],
                code="invalid",
                reason=error.reason,
            )
        else:
            event = Invalid(order_id=order_id, strategy_id=strategy_id, reason=error.reason)
        self._tell(event, sender)

    # -- what is kept --------------------------------------------------------------------------------------

    def _tell(self, event: OrderEvent, sender: str) -> None:
        self.core.publisher.order_event(event, keep=self._keeps(event.strategy_id, sender))

    def _keeps(self, strategy_id: str, sender: str) -> bool:
        """Whether an answer to this strategy goes to disk: of one that has no circuit, none does."""
        return self._has_place(strategy_id) and self._may_keep(strategy_id, sender)

    def _has_place(self, strategy_id: str) -> bool:
        return strategy_id in self.core.scopes.strategies

    def _may_keep(self, strategy_id: str, sender: str) -> bool:
        """Whether one more answer to this program goes to disk."""
        return self._budget.spend(self.core.scopes.payer(strategy_id, sender), self.core.now)

    def _remember(
        self,
        key: str,
        sender: str,
        strategy_id: str,
        digest: bytes,
        said: Mapping[str, Any],
        ttl_ms: int,
        ahead_ns: int,
    ) -> None:
        """Refuse it again for as long as a copy of it may be under way; the disk knows that there was something."""
        core, now = self.core, self.core.now
        payer = core.scopes.payer(strategy_id, sender)
        refused = Refused(payer, strategy_id, digest, msgspec.json.encode(said))
        # A stamp may be ahead of the clock: then its copies are young for longer than their time to live.
        until_ns = now + ttl_ms * 1_000_000 + ahead_ns
        self.refusals.add(key, refused, until_ns, now)
        name = strategy_id if core.scopes.has_passed(strategy_id) else ""
        marked_ns = self.marks.add(name, core.wall_ns, ahead_ns)
        if marked_ns is not None:
            core.batch.refused_marks[name] = marked_ns

    def on_first_pass(self, strategy_id: str) -> None:
        """An order of this strategy passes for the first time: what was refused of it before stays refused."""
        marked_ns = self.marks.name(strategy_id)
        if marked_ns is not None:
            self.core.batch.refused_marks[strategy_id] = marked_ns


def _key_of(request_id: str) -> str:
    """No order has a `~` in its id."""
    return f"~{request_id}"
