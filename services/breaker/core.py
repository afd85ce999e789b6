"""What all parts of the stage share: the orders, the circuits, the executor, the fence, and the batch to come. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from orderfuse.bus.control import Request
from orderfuse.bus.events import OrderEvent, Unknown
from orderfuse.bus.fields import RESERVED_STRATEGIES, Message
from orderfuse.settings import BreakerSettings
from services.breaker import orders
from services.breaker.asked import Asked
from services.breaker.batch import Batch, DispatchMessage, Reply
from services.breaker.circuits.conditions import Conditions
from services.breaker.circuits.outcomes import Outcomes
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, Scopes, Unreadable, strategy_scope
from services.breaker.control import last_failures
from services.breaker.control.last_failures import Failed
from services.breaker.deadlines import Deadline, Deadlines, Due
from services.breaker.dispatch.executor_link import ExecutorLink
from services.breaker.dispatch.owed import OwedCancel
from services.breaker.orders import Move, OrderRecord
from services.breaker.present import Present
from services.breaker.publisher import Publisher
from services.breaker.queues import Queues
from services.wire.dispatch import CancelOrder, Fence
from services.wire.feedback import Outcome

# An order without IB's answer for so long is unknown (BREAKER, "no answer before the acknowledgement deadline").
ACK_DEADLINE_NS = 5 * SECOND_NS
# Scopes with a fence of their own: all of them have room in one hello. One more raises the fence of all, which needs no
# memory.
MAX_FENCES = 100

ErrorCode = Literal["bad_request", "unknown_op", "stale", "not_allowed", "internal"]

_Event = TypeVar("_Event", bound=OrderEvent)


@dataclass(slots=True)
class Core:
    """The state of the stage. One thread, no I/O; everything that should happen goes into `batch`."""

    settings: BreakerSettings
    window: int
    present: Present
    history: Asked
    # The highest value of the fence, and the one that the journal had when this process began.
    fence: int
    kept_fence: int
    scopes: Scopes = field(init=False)
    outcomes: Outcomes = field(init=False)
    conditions: Conditions = field(init=False)
    publisher: Publisher = field(init=False)
    queues: Queues = field(init=False)
    executor: ExecutorLink = field(default_factory=ExecutorLink)
    # Orders that have no end yet, those that got it in this turn, and those for which something waits: the answer to a
    # request, or the leg of a bracket, since what becomes of it depends on its parent.
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    # Orders, and changes of orders, beyond the breaker without IB's answer. No more than `window` are handed over;
    # those of an earlier process may be more.
    out: set[str] = field(default_factory=set)
    # The first value that this process raised; those between the kept one and it, an earlier process has lost.
    first_fence: int = 0
    # The value of the fence at which each scope's was raised last.
    fences: dict[str, int] = field(default_factory=dict)
    # The latest global cancel; one at a time is enough, since it takes all there is.
    owed: OwedCancel | None = None
    feedback_taken: dict[str, int] = field(default_factory=dict)
    # How large the journals are, and what is left on their disk, in bytes; None before that was looked at.
    journals: dict[str, int] = field(default_factory=dict)
    disk_free: int | None = None
    # Up to where an earlier breaker, whose journal is lost, had taken and told it.
    retold: dict[str, int] = field(default_factory=dict)
    batch: Batch = field(default_factory=Batch)
    # Whether the system's circuit let orders through when the states were told last.
    system_allowed: bool | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    # What was not taken since the start, by cause.
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        circuit, most = self.settings.circuit, self.settings.max_strategies
        self.scopes = Scopes(circuit, self.present, most, self.orders, self.history)
        self.outcomes = Outcomes(self.scopes, self.present)
        self.conditions = Conditions(self.scopes, self.outcomes)
        self.publisher = Publisher(self.present, self.scopes)
        self.queues = Queues(self.settings.queue_limit, self.scopes.places)

    @property
    def now(self) -> int:
        """Monotonic nanoseconds of the present input."""
        return self.present.monotonic_ns()

    @property
    def wall_ns(self) -> int:
        """The wall clock at the present input, in nanoseconds since 1970."""
        return self.present.wall_ns()

    def ahead_ns(self, sent_ns: int) -> int:
        """How far a stamp is ahead of the clock; 0 if it is not."""
        return max(0, sent_ns - self.wall_ns)

    # -- orders --------------------------------------------------------------------------------------------

    def find(self, order_id: str) -> OrderRecord | None:
        """An order, in memory or in the journal; of a leg that has left memory, its parent is at hand, too.

        Raises:
            Unreadable: the journal does not tell. It is to be asked before anything has changed.
        """
        record = self.orders.get(order_id)
        if record is None:
            record = self.history.find_order(order_id)
            if record is not None and record.parent and record.parent not in self.orders:
                self.history.find_order(record.parent)
        return record

    def take_back(self, record: OrderRecord) -> None:
        """An order that was found has something become of it, and may have left memory before."""
        if record.order_id in self.orders:
            return
        self.orders[record.order_id] = record
        if record.parent and record.parent not in self.orders:
            parent = self.history.find_order(record.parent)
            if parent is not None:
                self.orders[record.parent] = parent

    def forget_if_over(self, record: OrderRecord) -> None:
        """An order with its end, which the journal has, leaves memory; but not while something waits for it."""
        waits = record.change is not None or Deadline(Due.CANCEL_ANSWER, record.order_id) in self.deadlines
        if record.state != "done" or waits or any(leg in self.orders for leg in record.attached):
            return
        self.orders.pop(record.order_id, None)
        parent = self.orders.get(record.parent)
        if parent is not None:
            self.forget_if_over(parent)

    def ask_for_circuit(self, strategy_id: str) -> None:
        """Have the journal say now whether the circuit of this strategy rests there: later it may be needed.

        Raises:
            Unreadable: it does not.
        """
        if strategy_id not in self.scopes.strategies:
            self.history.find_resting_circuit(strategy_scope(strategy_id))

    def leave_undone(self, unread: Unreadable) -> None:
        """The journal did not tell what something depended on, so that was not done; nothing of it has changed."""
        self.batch.unread = self.batch.unread or str(unread)

    def has_room(self) -> bool:
        """Whether one more may be handed over now: the window has a place, and the executor's lease runs."""
        return len(self.out) < self.window and self.executor.is_ready(self.now)

    def keep_place(self, strategy_id: str) -> None:
        """There is an order of this strategy beyond the breaker: if it is anybody's, it has a circuit."""
        if strategy_id not in RESERVED_STRATEGIES:
            self.scopes.keep(strategy_id)

    def save(self, record: OrderRecord) -> None:
        """Have the order saved with this batch. One that waits never is: nobody was promised anything of it."""
        # A replace of it may wait.
        self.queues.look_at(record.strategy_id)
        self.batch.orders[record.order_id] = record

    def tell(self, record: OrderRecord, event: OrderEvent) -> dict[str, Any]:
        """Publish what became of an order and remember it as the latest."""
        record.last_event = self.publisher.order_event(event, known=record.has_passed())
        if record.first_event is None:
            record.first_event = record.last_event
        self.save(record)
        return record.last_event

    def move(self, record: OrderRecord, what: Move) -> None:
        """Move an order to the state that follows, and with it everything that belongs to that state."""
        if record.end is not None and what is not Move.END:
            self._is_at_ib_after_its_end(record, lives=what is not Move.ANSWER)
        orders.move(record, what)
        match what:
            case Move.HAND_OVER:
                assert self.executor.joined, f"{record.order_id} is handed over, and nobody is there to take it"
                record.passed_ns, record.passed_wall_ns = self.now, self.wall_ns
                record.executor_journal = self.executor.journal_id
            case Move.FIND:
                # It must not go there a second time, and its id is never free again.
                record.passed_wall_ns = self.wall_ns
            case Move.ANSWER:
                record.accepted = True
            case Move.REVIVE | Move.DOUBT:
                # An end can be taken back long after, when the order is no longer in memory.
                record.end = None
                self.take_back(record)
            case Move.END:
                # An end can follow an end long after, too.
                self.take_back(record)
        if self.queues.has(record):
            self.queues.remove(record)
        if record.in_window():
            self.await_answer(record, self.now + ACK_DEADLINE_NS)
        else:
            self.leave_window(record.order_id)

    def _is_at_ib_after_its_end(self, record: OrderRecord, *, lives: bool) -> None:
        if lives:
            # Its strategy may have lost its place since.
            self.keep_place(record.strategy_id)
        if not record.has_passed():
            # It was refused here, and an earlier life of its id is at IB: the id is never free again.
            record.passed_wall_ns = self.wall_ns

    def await_answer(self, record: OrderRecord, due_ns: int) -> None:
        """This order is beyond the breaker. The legs of a bracket go with their parent, in its place."""
        answer = Deadline(Due.ANSWER, record.order_id)
        if record.parent:
            self.deadlines.set(answer, due_ns)
        else:
            self.enter_window(answer, due_ns)

    def enter_window(self, answer: Deadline, due_ns: int) -> None:
        """An order, or the change of one, takes a place. IB's answer is due then: no place is taken for ever."""
        self.out.add(answer.whose)
        self.deadlines.set(answer, due_ns)

    def leave_window(self, whose: str) -> None:
        """IB has answered this order, or change of one, or nobody waits for that any more."""
        self.out.discard(whose)

    def end(self, record: OrderRecord, event: OrderEvent, *, keep: bool = True) -> dict[str, Any]:
        """Publish the end of an order; returns the map. An end that follows another supersedes it.

        `keep`: it goes to disk. One that does not never passed, and the caller remembers it.
        """
        event = self.superseding(record, event)
        self.move(record, Move.END)
        if not keep:
            assert not record.has_passed(), f"the end of {record.order_id}, which has passed, must be kept"
            self.orders.pop(record.order_id, None)
            return self.publisher.order_event(event, keep=False)
        record.end = self.tell(record, event)
        return record.end

    def become_unknown(self, record: OrderRecord, outcome: Outcome | None, reason: str, *, twin: int = 0) -> None:
        """Nobody knows whether IB has it. It leaves the window, and nobody is told that it was not filled.

        `twin`: the permanent id of another order under its reference; that is news even for an order that had ended.
        """
        event = Unknown(order_id=record.order_id, strategy_id=record.strategy_id, reason=reason, twin=twin)
        event = self.superseding(record, event)
        self.move(record, Move.DOUBT)
        self.tell(record, event)
        if outcome is not None:
            self.count(record, outcome)

    def superseding(self, record: OrderRecord, event: _Event) -> _Event:
        """The event; if the order had its end, with the number of that one, which it takes back."""
        if record.end is None:
            return event
        return msgspec.structs.replace(event, supersedes=record.end.get("seq"))

    def drop(self, cause: str) -> None:
        """Count something that was not taken."""
        self.dropped[cause] += 1

    def count(self, record: OrderRecord, outcome: Outcome, failed: Failed | None = None) -> None:
        """Let an outcome count in the circuits. Of a bracket's leg only a failure does, once for the bracket.

        `failed`: what it was, if the order's latest event does not say it.
        """
        if outcome in ("failure", "malformed"):
            failed = failed or last_failures.of_order(record.order_id, record.last_event)
        if record.parent:
            parent = self.orders.get(record.parent)
            # A leg of an earlier life of the ids says nothing of a bracket that waits, which no circuit has admitted.
            if parent is not None and parent.state != "queued" and failed is not None:
                self.count(parent, outcome, failed)
            return
        self.outcomes.record(record, outcome, failed)
        self.save(record)

    # -- executor ------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send to the executor, if there is one."""
        if self.executor.peer is not None:
            self.batch.dispatch.append(DispatchMessage(self.executor.peer, message))

    def ask_to_cancel(self, record: OrderRecord, request_id: str | None) -> None:
        """Have IB cancel the order: now if the executor is there, else as soon as it is."""
        record.cancel_wanted = True
        record.cancel_request_id = request_id or record.cancel_request_id
        record.cancel_asked_ns = self.now
        self.save(record)
        if self.executor.joined:
            self.send(CancelOrder(order_id=record.order_id, request_id=record.cancel_request_id))

    def raise_fence(self, scope: str = SYSTEM) -> None:
        """Make the orders of a scope void that are on their way and not yet written; of `system`, all of them."""
        if scope not in self.fences and len(self.fences) >= MAX_FENCES:
            scope = SYSTEM
        self.fence += 1
        if scope == SYSTEM:
            self.fences.clear()
        self.fences[scope] = self.fence
        self.batch.fence = self.fence
        self.batch.sync = True
        self.send(Fence(fence=self.fence, scope=scope))
        if scope == SYSTEM:
            self.scopes.touch_all_told()
        else:
            self.scopes.untold.add(scope)

    def confirm_fence(self, fence: int) -> None:
        """The executor has taken a fence, and with it all lower ones; one that was never raised confirms nothing."""
        before = self.executor.confirmed_fence
        if not before < fence <= self.fence:
            return
        self.executor.confirmed_fence = fence
        if self.fences.get(SYSTEM, 0) > before:
            self.scopes.touch_all_told()
        else:
            self.scopes.untold.update(scope for scope, raised in self.fences.items() if raised > before)

    def fence_of(self, scope: str) -> int:
        """What an order of this scope must carry now; a raised fence of `system` is that of every strategy too."""
        return max(self.fences.get(SYSTEM, 0), self.fences.get(scope, 0))

    def has_forgotten(self, fence: int) -> bool:
        """Whether an executor has taken a value of the fence that the journal of this breaker knows nothing of."""
        return not (fence <= self.kept_fence or self.first_fence <= fence <= self.fence)

    def is_fenced(self, scope: str) -> bool:
        """Whether the executor has confirmed the last fence of this scope. It takes them in their order."""
        return self.executor.confirmed_fence >= self.fence_of(scope)

    def taken_feedback(self) -> int:
        """Up to where the feedback of the present executor's journal was taken."""
        return self.feedback_taken.get(self.executor.journal_id, 0)

    # -- replies --------------------------------------------------------------------------------------

    def reply(self, token: Any, request: Request, fields: dict[str, Any]) -> None:
        """Answer a request on `control`."""
        self.batch.replies.append(Reply(token, {"id": request.id, "ok": True, **fields}))

    def refuse(self, token: Any, request: Request, code: ErrorCode, error: str) -> None:
        """Answer a request on `control` with no."""
        self.batch.replies.append(Reply(token, {"id": request.id, "ok": False, "code": code, "error": error}))
