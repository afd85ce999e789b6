"""The breaker's side of `dispatch` and `feedback`: one executor, its lease and fence, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from orderfuse.codec import DecodeError
from orderfuse.contractname import order_name
from orderfuse.messages import (
    Accepted,
    Adopted,
    AllCancelled,
    CancelFailed,
    Cancelled,
    CancelOrder,
    Commission,
    Expired,
    Feedback,
    Fenced,
    Filled,
    GatewayStatus,
    Hello,
    Invalid,
    Joined,
    Lease,
    LeaseRequest,
    Message,
    NotPlaced,
    NotWelcome,
    OrderEvent,
    Outcome,
    Rejected,
    Replaced,
    ReplaceFailed,
    ResendFeedback,
    Settle,
    Tripped,
    Unknown,
    Welcome,
    Working,
    Written,
)
from services.breaker import adoption, brackets, cancelling, replacing
from services.breaker.accepting import told_of
from services.breaker.batch import Letter
from services.breaker.conditions import BROKER_DISCONNECTED, BROKER_SILENT, EXECUTOR_SILENT, FOREIGN_ORDERS
from services.breaker.core import PRESUBMITTED_NS, Core
from services.breaker.executor_link import LEASE_MS, LEASE_NS, SILENCE_NS
from services.breaker.orders import OrderRecord
from services.breaker.scopes import SECOND_NS, SYSTEM

# Order ids in one welcome: 300 of 40 bytes stay inside a frame. What is left over is asked at the next one.
MAX_ASKED_ABOUT = 300
# A gap in the feedback is answered with a resend at most so often: one resend fills it.
RESEND_PAUSE_NS = SECOND_NS

# SQLite's largest integer; no journal counts so far.
MAX_FEEDBACK_SEQ = 2**63 - 1

WORKING_STATUSES = frozenset({"Submitted", "Filled"})
# Statuses that prove that IB has the order.
LIVING_STATUSES = WORKING_STATUSES | {"PreSubmitted"}


@dataclass(slots=True)
class ExecutorDesk:
    """Takes what the executor says."""

    core: Core
    dropped: dict[str, int] = field(default_factory=dict)
    _asked_resend_ns: int | None = None

    # -- hello, join, lease --------------------------------------------------------------------------------

    def on_hello(self, peer: bytes, hello: Hello) -> None:
        """A process wants to be the executor."""
        executor, now = self.core.executor, self.core.now()
        if not executor.may_join(hello, now):
            self._reply(peer, NotWelcome(reason="another executor is alive; stop it first"))
            return
        if hello.feedback_first > MAX_FEEDBACK_SEQ:
            self._drop("out_of_range")
            return
        journal = hello.journal_id
        taken = self.core.feedback_taken.get(journal, 0)
        if hello.feedback_last < taken:
            # An old copy would number new facts as old ones, which nobody would take.
            text = f"the executor's journal ends at {hello.feedback_last}, and {taken} of it were taken: an old copy"
            # The lock in its home says that the executor before it is gone.
            executor.last_heard_ns, executor.joined, executor.leased = None, False, False
            self._reply(peer, NotWelcome(reason=text, rename=True))
            return
        self._see_fences(hello.fences)
        unheard_of = journal not in self.core.feedback_taken
        if unheard_of:
            # What an earlier breaker has taken has been told.
            self.core.retold[journal] = self.core.batch.retold[journal] = hello.feedback_taken
        # What its journal no longer has can't be asked for again.
        taken = max(taken, hello.feedback_first - 1)
        self.core.feedback_taken[journal] = taken
        self.core.batch.feedback_taken[journal] = taken
        doubtful = [record.order_id for record in self.core.orders.values() if record.doubtful()]
        executor.welcome(peer, hello, doubtful[:MAX_ASKED_ABOUT], now)
        # The new fence voids what may still be under way to this executor over an earlier connection.
        self.core.raise_fence()
        self._reply(
            peer,
            Welcome(
                fence=self.core.fence,
                doubtful=executor.asked_about,
                feedback_after=taken,
                owed=owed.number if (owed := self.core.owed) and owed.standing == "owed" else 0,
                tell_open=unheard_of,
            ),
        )

    def _see_fences(self, fences: dict[str, int]) -> None:
        """The executor remembers what it was told; what this breaker does not know of it, it has forgotten."""
        core = self.core
        forgotten = {scope: fence for scope, fence in fences.items() if core.has_forgotten(fence)}
        if forgotten:
            # What was told since is not known either, and nobody may take news for something old.
            core.batch.first_seq = core.wall_ns() // 1_000_000
            core.bulletin.jump(core.batch.first_seq)
        core.fence = max([core.fence, *fences.values()])
        for scope, fence in forgotten.items():
            reason = (
                f"this breaker's journal knows nothing of fence {fence} of {scope}, which the executor has taken: "
                "it was lost, or is an old copy, and whether this circuit was OPEN is not known"
            )
            if not core.scopes.trip(scope, reason, latch=True):
                core.scopes.trip(SYSTEM, reason, latch=True)

    def on_joined(self, peer: bytes, joined: Joined) -> None:
        """The executor has taken the fence and says which doubtful orders it knows; the rest it never had."""
        executor = self.core.executor
        if not executor.is_from(peer, joined.executor_id) or executor.joined:
            return
        now = self.core.now()
        executor.serves(now)
        self._confirm(joined.fence)
        known = set(joined.known)
        for order_id in executor.asked_about:
            record = self.core.orders.get(order_id)
            if record is None or not record.doubtful() or order_id in known:
                continue
            # Another journal can't prove anything: the executor before may have written it.
            if record.executor_journal == executor.journal_id:
                self._undelivered(record, "the executor never received it")
        executor.asked_about = []
        adoption.have_looked_up(self.core)
        for order_id in joined.in_doubt:
            settled = self.core.find(order_id)
            # It may have been away when a person settled the order.
            if settled is not None and settled.state == "done":
                self.core.send(Settle(order_id=order_id))
        replacing.ask_again(self.core)
        self.core.send_owed()
        self.core.conditions.end(EXECUTOR_SILENT, now)
        if not self._see_gateway(executor.gateway):
            self._send_wanted_cancels()

    def on_lease_request(self, peer: bytes, request: LeaseRequest) -> None:
        """The executor lives, and asks for leave to place orders."""
        executor, now = self.core.executor, self.core.now()
        if not executor.is_from(peer, request.executor_id) or not executor.joined:
            self._reply(peer, NotWelcome(reason="say hello first"))
            return
        executor.serves(now)
        executor.leased = True
        # The executor counts from its own, earlier request: its lease ends before this.
        executor.lease_ends_ns = now + LEASE_NS
        self._reply(
            peer,
            Lease(
                nonce=request.nonce,
                fence=self.core.fence,
                lease_ms=LEASE_MS,
                feedback_taken=self.core.taken_feedback(),
            ),
        )
        self.core.conditions.end(EXECUTOR_SILENT, now)
        self._see_gateway(request.gateway)

    def on_fenced(self, peer: bytes, fenced: Fenced) -> bool:
        """The executor has taken a fence; whether it is the executor."""
        if not self.core.executor.is_from(peer, fenced.executor_id):
            return False
        self._confirm(fenced.fence)
        return True

    def poll(self) -> None:
        """Notice that the executor has fallen silent."""
        executor, now = self.core.executor, self.core.now()
        if executor.is_silent(now):
            executor.joined = False
            reason = f"no word from the executor for {SILENCE_NS // SECOND_NS} s"
            self.core.conditions.begin(EXECUTOR_SILENT, reason, now)

    def on_undeliverable(self, order_id: str, reason: str) -> None:
        """The order could not be handed over."""
        # Until the executor asks again, the next order would go the same way.
        self.core.executor.leased = False
        record = self.core.orders.get(order_id)
        if record is not None and record.state == "out":
            self._undelivered(record, reason)
        elif record is not None:
            replacing.fail(self.core, record, reason)

    def on_missed(self, peer: bytes) -> None:
        """A fence or a cancel did not reach the executor: it has to say hello again, which tells it everything."""
        executor = self.core.executor
        if peer == executor.peer:
            executor.joined = executor.leased = False

    def _confirm(self, fence: int) -> None:
        """The executor has taken a fence; one that was never raised here confirms nothing."""
        if fence <= self.core.fence:
            self.core.executor.confirmed_fence = max(self.core.executor.confirmed_fence, fence)

    def _see_gateway(self, gateway: GatewayStatus | None) -> bool:
        """Take what the executor says of its gateway; whether the cancels that waited for it were sent."""
        executor = self.core.executor
        executor.gateway = gateway
        where = f"{gateway.host}:{gateway.port}" if gateway else "the gateway"
        was_silent = self.core.conditions.holds(BROKER_SILENT)
        if gateway is not None and gateway.silent:
            reason = f"{where} does not answer"
            self.core.conditions.begin(BROKER_SILENT, reason, self.core.now(), expected=not executor.was_usable)
            if gateway.connected:
                return False
        elif was_silent:
            self.core.conditions.end(BROKER_SILENT, self.core.now())
        if gateway is None or not gateway.usable:
            detail = gateway.detail if gateway else ""
            reason = f"no usable connection to {where}" + (f" ({detail})" if detail else "")
            expected = not executor.was_usable or (gateway is not None and gateway.planned)
            self.core.conditions.begin(BROKER_DISCONNECTED, reason, self.core.now(), expected=expected)
            return False
        first = not executor.was_usable
        executor.was_usable = True
        self._see_foreign_orders(gateway)
        if not first and not was_silent and not self.core.conditions.holds(BROKER_DISCONNECTED):
            return False
        self.core.conditions.end(BROKER_DISCONNECTED, self.core.now())
        self._send_wanted_cancels()
        return True

    def _see_foreign_orders(self, gateway: GatewayStatus) -> None:
        """Only of a usable gateway: before IB has listed everything, that nothing is told of means nothing."""
        if gateway.foreign_trips:
            orders = "; ".join(order_name(told_of(each, "")) for each in gateway.foreign)
            reason = f"{len(gateway.foreign)} open in this account: {orders}"[:500]
            self.core.conditions.begin(FOREIGN_ORDERS, reason, self.core.now())
        else:
            self.core.conditions.end(FOREIGN_ORDERS, self.core.now())

    def _send_wanted_cancels(self) -> None:
        """Cancels that could not be sent before go first."""
        for record in self.core.orders.values():
            if record.cancel_wanted and record.state in ("out", "working", "unknown"):
                self.core.send(CancelOrder(order_id=record.order_id, request_id=record.cancel_request_id))

    def _undelivered(self, record: OrderRecord, reason: str) -> None:
        undelivered = NotPlaced(
            order_id=record.order_id, strategy_id=record.strategy_id, code="undelivered", reason=reason
        )
        self._end(record, undelivered, "neutral")
        brackets.end_legs(self.core, record, undelivered)

    def _reply(self, peer: bytes, message: Message) -> None:
        self.core.batch.letters.append(Letter(peer, message))

    # -- feedback ------------------------------------------------------------------------------------------

    def on_feedback(self, feedback: Feedback) -> None:
        """One numbered fact. Each is taken once and in order; a gap is asked for again."""
        taken = self.core.feedback_taken.get(feedback.journal_id, 0)
        if feedback.seq <= taken:
            self._drop("feedback_twice")
            return
        if feedback.seq > taken + 1:
            self._drop("feedback_gap")
            if feedback.journal_id == self.core.executor.journal_id:
                self._ask_resend(taken)
            return
        again = feedback.seq <= self.core.retold.get(feedback.journal_id, 0)
        match feedback.fact:
            case Tripped() | AllCancelled() if again:
                # What followed from it then is not known, and has latched this breaker anyhow.
                pass
            case Tripped(ib_code=code, reason=reason):
                self.core.scopes.trip(SYSTEM, f"IB {code}: {reason}", latch=True)
            case AllCancelled(number=number):
                if self.core.owed is not None and self.core.owed.number == number:
                    self.core.end_owed("done")
            case fact:
                fact = msgspec.structs.replace(fact, again=True) if again else fact
                self._take(fact, feedback.outcome, feedback.journal_id)
        # Last: if the journal could not be asked for the order, the fact comes again.
        self.core.feedback_taken[feedback.journal_id] = feedback.seq
        self.core.batch.feedback_taken[feedback.journal_id] = feedback.seq

    def on_unreadable(self, error: DecodeError) -> None:
        """A fact that cannot be read: what it said nobody can know, and what comes behind it must not wait for it."""
        journal_id, seq = self.core.executor.journal_id, error.fields.get("seq")
        if error.fields.get("journal_id") != journal_id or type(seq) is not int:
            return
        if seq == self.core.feedback_taken.get(journal_id, 0) + 1:
            reason = f"report {seq} of the executor cannot be read, look the orders up: {error.reason}"[:500]
            self.core.scopes.trip(SYSTEM, reason, latch=True)
            self.core.feedback_taken[journal_id] = self.core.batch.feedback_taken[journal_id] = seq

    def _ask_resend(self, taken: int) -> None:
        now = self.core.now()
        if self._asked_resend_ns is None or now - self._asked_resend_ns >= RESEND_PAUSE_NS:
            self._asked_resend_ns = now
            self.core.send(ResendFeedback(after_seq=taken))

    def _take(self, fact: OrderEvent, outcome: Outcome | None, journal_id: str) -> None:
        record = self.core.find(fact.order_id)
        if record is None:
            # Placed by a breaker whose journal is gone, or by nobody who is known.
            self._drop("feedback_of_unknown_order")
            record = adoption.adopt(self.core, fact, journal_id)
            if record is None:
                self.core.bulletin.order_event(fact, known=True)
                return
            told = adoption.standing(fact) if isinstance(fact, Adopted) else None
            if told is not None:
                self._move(record, told, None)
        if fact.strategy_id != record.strategy_id:
            # An executor that found the order at IB does not know whose it is.
            fact = msgspec.structs.replace(fact, strategy_id=record.strategy_id)
        if adoption.was_told(self.core, record, fact, journal_id):
            self._drop("told_by_another_journal")
            return
        if isinstance(fact, Filled | Commission):
            self.core.batch.executions.add((record.order_id, fact.kind, fact.exec_id))
        self._move(record, fact, outcome)

    def _move(self, record: OrderRecord, fact: OrderEvent, outcome: Outcome | None) -> None:
        self.core.orders.setdefault(record.order_id, record)
        if record.state == "queued":
            # An earlier life of this id reached IB. It must not go there a second time, and its id is never free again.
            record.passed_wall_ns = self.core.wall_ns()
            if not record.parent:
                self.core.queues.remove(record)
            record.state = "out"
        match fact:
            case Adopted():
                adoption.identify(record, fact)
            case Expired() | Invalid() | NotPlaced():
                self._not_sent(record, fact, outcome)
            case Unknown():
                self._unknown(record, fact, outcome)
            case Written():
                record.written = True
                record.ib_order_id = fact.ib_order_id
            case Working():
                self._working(record, fact, outcome)
            case _:
                self._said_by_ib(record, fact, outcome)
        # Also for an order with its end: it leaves memory once it has been saved.
        self.core.save(record)

    def _unknown(self, record: OrderRecord, fact: Unknown, outcome: Outcome | None) -> None:
        """The executor doubts whether IB has it; the breaker's own deadline may have said so before."""
        if record.state == "done" and not fact.twin:
            self._drop("unknown_after_end")
        elif record.state != "unknown":
            # IB has answered a working order: what it becomes is open, and so is its outcome.
            counts = outcome or (None if record.accepted else "failure")
            self.core.become_unknown(record, counts, fact.reason, twin=fact.twin)
        else:
            if fact.reason and fact.reason != (record.last_event or {}).get("reason"):
                # No answer in time, and now one that explains nothing, are not the same to who has to look.
                self.core.tell(record, fact)
            self._settle(record, outcome)

    def _working(self, record: OrderRecord, fact: Working, outcome: Outcome | None) -> None:
        """A status that is told to nobody, unless it says that an order lives which was not known to."""
        if fact.doubts:
            replacing.doubt(self.core, record, fact, outcome)
            return
        if fact.lives or (
            record.state != "working" and fact.status in LIVING_STATUSES and not self._is_filled_up(record)
        ):
            told = Accepted(
                order_id=record.order_id,
                strategy_id=record.strategy_id,
                ib_order_id=record.ib_order_id,
                perm_id=record.perm_id,
                status=fact.status,
            )
            self._accepted(record, told, lives=fact.lives)
        else:
            self._see_status(record, fact.status)
        self._settle(record, outcome)

    def _said_by_ib(self, record: OrderRecord, fact: OrderEvent, outcome: Outcome | None) -> None:
        match fact:
            case Accepted():
                self._accepted(record, fact)
                self._settle(record, outcome)
            case Filled():
                self._filled(record, fact)
            case Cancelled():
                self._answered_by_ib(record)
                self._end(record, cancelling.answered(record, fact), outcome or "neutral")
            case Rejected():
                self._answered_by_ib(record)
                self._end(record, fact, outcome or "neutral")
            case Replaced() | ReplaceFailed():
                replacing.answer(self.core, record, fact, outcome)
            case CancelFailed():
                cancelling.fail(self.core, record, fact)
            case _:
                self.core.tell(record, fact)

    def _answered_by_ib(self, record: OrderRecord) -> None:
        """IB has the order, so it leaves the window."""
        record.accepted = True
        self.core.out.discard(record.order_id)
        if record.state in ("out", "unknown"):
            record.state = "working"

    def _accepted(self, record: OrderRecord, fact: Accepted, *, lives: bool = False) -> None:
        event = fact if self._is_filled_up(record) and not lives else self._revived(record, fact)
        self._answered_by_ib(record)
        record.ib_order_id, record.perm_id = fact.ib_order_id, fact.perm_id
        record.filled = max(record.filled, fact.filled_before or 0.0)
        self.core.tell(record, event)
        self._see_status(record, fact.status)

    @staticmethod
    def _is_filled_up(record: OrderRecord) -> bool:
        """Whether nothing is left of the order that could live."""
        return record.end is not None and record.end["kind"] == "filled"

    @staticmethod
    def _revived(record: OrderRecord, event: OrderEvent) -> OrderEvent:
        """An order that was believed to be over lives: what IB says later wins. Returns what is to be told."""
        if record.end is None:
            return event
        event = msgspec.structs.replace(event, supersedes=record.end.get("seq"))
        record.state, record.end = "working", None
        return event

    def _see_status(self, record: OrderRecord, status: str) -> None:
        changed, record.status = status != record.status, status
        if status in WORKING_STATUSES:
            self.core.settle(record, "success")
        elif status == "PreSubmitted" and changed:
            self.watch_presubmitted(record)

    def watch_presubmitted(self, record: OrderRecord) -> None:
        """Count the order as a success if it rests PreSubmitted from now on for a while."""
        record.resting_since_ns = self.core.now()
        self.core.at(record.resting_since_ns + PRESUBMITTED_NS, lambda: self._stood_presubmitted(record))

    def _stood_presubmitted(self, record: OrderRecord) -> None:
        # It may have left the status and come back, which makes it stand anew.
        stood = self.core.now() - record.resting_since_ns >= PRESUBMITTED_NS
        if record.state == "working" and record.status == "PreSubmitted" and stood:
            self.core.settle(record, "success")

    def _filled(self, record: OrderRecord, fact: Filled) -> None:
        known_to_ib = record.accepted
        self._answered_by_ib(record)
        record.filled, record.avg_price = fact.cum_qty, fact.avg_price
        before = record.end
        if fact.done:
            self._end(record, fact, "success")
            return
        self.core.tell(record, self._revived(record, fact))
        self.core.settle(record, "success")
        if before is not None and known_to_ib and before["kind"] in ("cancelled", "rejected"):
            # A part that had been executed before the order ended. It has ended all the same, with more filled.
            self._end_again(record, before, fact)

    def _end_again(self, record: OrderRecord, before: dict[str, Any], fill: Filled) -> None:
        if before["kind"] == "cancelled":
            end: OrderEvent = Cancelled(
                order_id=record.order_id,
                strategy_id=record.strategy_id,
                filled=fill.cum_qty,
                remaining=fill.remaining,
                reason=before["reason"],
                request_id=before.get("request_id"),
            )
        else:
            end = Rejected(
                order_id=record.order_id,
                strategy_id=record.strategy_id,
                ib_code=before["ib_code"],
                reason=before["reason"],
            )
        replaced = (record.last_event or {}).get("seq")
        self.core.end(record, msgspec.structs.replace(end, supersedes=replaced))

    def _not_sent(self, record: OrderRecord, fact: OrderEvent, outcome: Outcome | None) -> None:
        """The executor did not write it. What IB itself said about an order is stronger."""
        if record.accepted or record.state == "done":
            self._drop("not_sent_after_answer")
            return
        self._end(record, fact, outcome or "neutral")
        if not (isinstance(fact, NotPlaced) and fact.code == "reconciled"):
            # The unit was refused before anything of it was written; what is proven later is proven of one order.
            brackets.end_legs(self.core, record, fact)

    def _settle(self, record: OrderRecord, outcome: Outcome | None) -> None:
        """Let the executor's own judgement count, if it has one; it knows more statuses than this file."""
        if outcome is not None:
            self.core.settle(record, outcome)

    def _end(self, record: OrderRecord, event: OrderEvent, outcome: Outcome) -> None:
        self.core.end(record, event)
        if isinstance(event, Filled | Rejected):
            cancelling.see_end(self.core, record, event.kind)
        # Also a neutral outcome: without one its slot in the circuits would never be free again.
        self.core.settle(record, outcome)

    def _drop(self, cause: str) -> None:
        self.dropped[cause] = self.dropped.get(cause, 0) + 1
