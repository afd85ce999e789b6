"""The breaker's side of `feedback`: what the executor tells of orders, each fact taken once and in order. Pure.

Written                      -> nothing: it only says that the bytes have left
Accepted, Filled, Cancelled,
Rejected                     -> Move.ANSWER: IB has it, and if it was over for us, Move.REVIVE before
Cancelled, Rejected, the last
Filled, Expired, NotPlaced ..-> Move.END
Unknown                      -> Move.DOUBT
Working                      -> nothing, or Accepted if it shows that an order lives which was not known to
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.events import (
    Accepted,
    CancelFailed,
    Cancelled,
    Commission,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    OrderEvent,
    Rejected,
    Replaced,
    ReplaceFailed,
    Unknown,
)
from orderfuse.text import cut
from services.breaker import brackets, cancelling, replacing
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM
from services.breaker.core import Core
from services.breaker.dispatch import adoption, global_cancel
from services.breaker.orders import Move, OrderRecord
from services.wire.dispatch import (
    ResendFeedback,
)
from services.wire.feedback import Adopted, AllCancelled, Feedback, Outcome, Tripped, Working, Written

# A gap in the feedback is answered with a resend at most so often: one resend fills it.
RESEND_PAUSE_NS = SECOND_NS

# Statuses that prove that IB has the order.
LIVING_STATUSES = frozenset({"PreSubmitted", "Submitted", "Filled"})


@dataclass(slots=True)
class Facts:
    """Takes the facts that the executor tells."""

    core: Core
    _asked_resend_ns: int | None = None

    def on_feedback(self, feedback: Feedback) -> None:
        """One numbered fact. Each is taken once and in order; a gap is asked for again."""
        taken = self.core.feedback_taken.get(feedback.journal_id, 0)
        if feedback.seq <= taken:
            self.core.drop("feedback_twice")
            return
        if feedback.seq > taken + 1:
            self.core.drop("feedback_gap")
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
                global_cancel.on_carried_out(self.core, number)
            case fact:
                fact = msgspec.structs.replace(fact, again=True) if again else fact
                self._take(fact, feedback.outcome, feedback.journal_id)
        assert feedback.seq == self.core.feedback_taken.get(feedback.journal_id, 0) + 1, "a fact is taken out of turn"
        # If the journal could not be asked for the order, it is not: the fact comes again.
        self.core.feedback_taken[feedback.journal_id] = feedback.seq
        self.core.batch.feedback_taken[feedback.journal_id] = feedback.seq

    def on_unreadable(self, error: DecodeError) -> None:
        """A fact that cannot be read: what it said nobody can know, and what comes behind it must not wait for it."""
        journal_id, seq = self.core.executor.journal_id, error.fields.get("seq")
        if error.fields.get("journal_id") != journal_id or type(seq) is not int:
            return
        if seq == self.core.feedback_taken.get(journal_id, 0) + 1:
            reason = cut(f"fact {seq} of the executor cannot be read, look the orders up: {error.reason}")
            self.core.scopes.trip(SYSTEM, reason, latch=True)
            self.core.feedback_taken[journal_id] = self.core.batch.feedback_taken[journal_id] = seq

    def _ask_resend(self, taken: int) -> None:
        now = self.core.now
        if self._asked_resend_ns is None or now - self._asked_resend_ns >= RESEND_PAUSE_NS:
            self._asked_resend_ns = now
            self.core.send(ResendFeedback(after_seq=taken))

    def _take(self, fact: OrderEvent, outcome: Outcome | None, journal_id: str) -> None:
        record = self._found(fact)
        if record is None:
            # Placed by a breaker whose journal is gone, or by nobody who is known.
            self.core.drop("feedback_of_unknown_order")
            record = adoption.adopt(self.core, fact, journal_id)
            if record is None:
                self.core.publisher.order_event(fact, known=True)
                return
            told = adoption.standing(fact) if isinstance(fact, Adopted) else None
            if told is not None:
                self._move(record, told, None)
        if fact.strategy_id != record.strategy_id:
            # An executor that found the order at IB does not know whose it is.
            fact = msgspec.structs.replace(fact, strategy_id=record.strategy_id)
        if adoption.was_told(self.core, record, fact, journal_id):
            self.core.drop("told_by_another_journal")
            return
        self._move(record, fact, outcome)
        if isinstance(fact, Filled | Commission):
            # Behind all that may not be: a fact that comes again must not be taken for one that was told.
            self.core.batch.executions.add((record.order_id, fact.kind, fact.exec_id))

    def _found(self, fact: OrderEvent) -> OrderRecord | None:
        """The order of a fact. All that may have to be known of it is asked for now: nothing has changed yet."""
        record = self.core.find(fact.order_id)
        # An order that lives after all keeps a place for its strategy, and a late failure counts there.
        self.core.ask_for_circuit(record.strategy_id if record is not None else fact.strategy_id)
        if isinstance(fact, ReplaceFailed):
            self.core.history.find_request(fact.request_id)
        return record

    def _move(self, record: OrderRecord, fact: OrderEvent, outcome: Outcome | None) -> None:
        self.core.take_back(record)
        if record.state == "queued":
            self.core.move(record, Move.FIND)
        match fact:
            case Adopted():
                adoption.identify(record, fact)
            case Expired() | Invalid() | NotPlaced():
                self._not_sent(record, fact, outcome)
            case Unknown():
                self._unknown(record, fact, outcome)
            case Written():
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
            self.core.drop("unknown_after_end")
        elif record.state != "unknown":
            # IB has answered a working order: what it becomes is open, and so is its outcome.
            counts = outcome or (None if record.accepted else "failure")
            self.core.become_unknown(record, counts, fact.reason, twin=fact.twin)
        else:
            if fact.reason and fact.reason != (record.last_event or {}).get("reason"):
                # No answer in time, and now one that explains nothing, are not the same to who has to look.
                self.core.tell(record, fact)
            self._count(record, outcome)

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
        self._count(record, outcome)

    def _said_by_ib(self, record: OrderRecord, fact: OrderEvent, outcome: Outcome | None) -> None:
        match fact:
            case Accepted():
                self._accepted(record, fact)
                self._count(record, outcome)
            case Filled():
                self._filled(record, fact, outcome)
            case Cancelled():
                self.core.move(record, Move.ANSWER)
                self._end(record, cancelling.answered(record, fact), outcome or "neutral")
            case Rejected():
                self.core.move(record, Move.ANSWER)
                self._end(record, fact, outcome or "neutral")
            case Replaced() | ReplaceFailed():
                replacing.answer(self.core, record, fact, outcome)
            case CancelFailed():
                cancelling.fail(self.core, record, fact)
            case _:
                self.core.tell(record, fact)

    def _accepted(self, record: OrderRecord, fact: Accepted, *, lives: bool = False) -> None:
        event = fact if self._is_filled_up(record) and not lives else self._revived(record, fact)
        self.core.move(record, Move.ANSWER)
        record.ib_order_id, record.perm_id = fact.ib_order_id, fact.perm_id
        record.filled = max(record.filled, fact.filled_before or 0.0)
        self.core.tell(record, event)

    @staticmethod
    def _is_filled_up(record: OrderRecord) -> bool:
        """Whether nothing is left of the order that could live."""
        return record.end is not None and record.end["kind"] == "filled"

    def _revived(self, record: OrderRecord, event: OrderEvent) -> OrderEvent:
        """An order that was believed to be over lives: what IB says later wins. Returns what is to be told."""
        event = self.core.superseding(record, event)
        if record.end is not None:
            self.core.move(record, Move.REVIVE)
        return event

    def _filled(self, record: OrderRecord, fact: Filled, outcome: Outcome | None) -> None:
        known_to_ib = record.accepted
        self.core.move(record, Move.ANSWER)
        record.filled, record.avg_price = fact.cum_qty, fact.avg_price
        before = record.end
        if fact.done:
            self._end(record, fact, outcome or "neutral")
            return
        self.core.tell(record, self._revived(record, fact))
        self._count(record, outcome)
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
            self.core.drop("not_sent_after_answer")
            return
        self._end(record, fact, outcome or "neutral")
        if not (isinstance(fact, NotPlaced) and fact.code == "reconciled"):
            # The unit was refused before anything of it was written; what is proven later is proven of one order.
            brackets.end_legs(self.core, record, fact)

    def _count(self, record: OrderRecord, outcome: Outcome | None) -> None:
        """Let the executor's judgement count, if it has one. No status is judged here: what it means is known there."""
        if outcome is not None:
            self.core.count(record, outcome)

    def _end(self, record: OrderRecord, event: OrderEvent, outcome: Outcome) -> None:
        self.core.end(record, event)
        if isinstance(event, Filled | Rejected):
            cancelling.see_end(self.core, record)
        # Also a neutral outcome: without one its slot in the circuits would never be free again.
        self.core.count(record, outcome)
