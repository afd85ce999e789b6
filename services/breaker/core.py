"""What all parts of the stage share: the orders, the circuits, the executor, the fence, and the batch to come."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from orderfuse.circuit import Clock
from orderfuse.messages import (
    ADOPTED,
    RESERVED_STRATEGIES,
    CancelOrder,
    EndGlobalCancel,
    Fence,
    GlobalCancel,
    Message,
    OrderEvent,
    Outcome,
    Unknown,
)
from orderfuse.settings import BreakerSettings
from services.breaker import last_failures
from services.breaker.batch import AnsweredRequest, Batch, Letter
from services.breaker.bulletin import Bulletin
from services.breaker.conditions import Conditions
from services.breaker.executor_link import ExecutorLink
from services.breaker.last_failures import Failed
from services.breaker.orders import OrderRecord
from services.breaker.owed import GIVE_UP_NS, OwedCancel, Standing
from services.breaker.queues import Queues
from services.breaker.scopes import SECOND_NS, SYSTEM, KeptCircuit, OrdersOf, Scopes

# An order without IB's answer for so long is unknown (BREAKER, "no answer before the acknowledgement deadline").
ACK_DEADLINE_NS = 5 * SECOND_NS
# Scopes with a fence of their own: all of them have room in one hello. One more raises the fence of all, which needs no
# memory.
MAX_FENCES = 100
# PreSubmitted that has stood so long without an error is a success: stops, and orders outside hours, rest there.
PRESUBMITTED_NS = 2 * SECOND_NS
# Why orders are unknown is said of as many as fit on a screen, with the rest by their ids.
MAX_REASONS = 20


class History(Protocol):
    """What the journal can be asked: orders and requests that are no longer in memory."""

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier."""

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier."""

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before."""


@dataclass(slots=True)
class Core:
    """The state of the stage. One thread, no I/O; everything that should happen goes into `batch`."""

    settings: BreakerSettings
    window: int
    clock: Clock
    wall_ns: Callable[[], int]
    history: History
    # The highest value of the fence, and the one that the journal had when this process began.
    fence: int
    kept_fence: int
    scopes: Scopes = field(init=False)
    conditions: Conditions = field(init=False)
    bulletin: Bulletin = field(init=False)
    queues: Queues = field(init=False)
    executor: ExecutorLink = field(default_factory=ExecutorLink)
    # Orders that have no end yet, and those that got it in this turn.
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    # Orders beyond the breaker without IB's answer: at most `window`.
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
    _timers: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _timer_count: int = 0

    def __post_init__(self) -> None:
        self.scopes = Scopes(self.settings.circuit, self.clock, self.settings.max_strategies)
        self.conditions = Conditions(self.scopes)
        self.bulletin = Bulletin(
            self.clock,
            self.wall_ns,
            out=lambda item: self.batch.publications.append(item),
            has_place=lambda strategy_id: strategy_id in self.scopes.strategies,
            is_kept=self.scopes.is_kept,
        )
        self.queues = Queues(self.settings.queue_limit, sender_of=self.scopes.sender_of)
        self.scopes.has_orders = self._orders_by_strategy
        self.scopes.find_resting = self.history.find_resting_circuit

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return self.clock.monotonic_ns()

    def ahead_ns(self, sent_ns: int) -> int:
        """How far a stamp is ahead of the clock; 0 if it is not."""
        return max(0, sent_ns - self.wall_ns())

    def too_far_ahead(self, sent_ns: int) -> str | None:
        """Why a message with this stamp is not taken, or None. Its age would mean nothing."""
        ahead_ms, allowed_ms = self.ahead_ns(sent_ns) / 1e6, self.settings.max_clock_skew_ms
        if ahead_ms <= allowed_ms:
            return None
        return (
            f"sent_ns is {ahead_ms:.15g} ms ahead of the breaker's clock, allowed are {allowed_ms} ms "
            "(breaker.max_clock_skew_ms): the sender's clock and the breaker's differ, set them right"
        )

    # -- timers --------------------------------------------------------------------------------------------

    def at(self, due_ns: int, call: Callable[[], None]) -> None:
        """Call when due. Each order sets at most four timers in its life, so orders bound them."""
        self._timer_count += 1
        heapq.heappush(self._timers, (due_ns, self._timer_count, call))

    def run_due_timers(self) -> None:
        """Call what is due, in the order of due times."""
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    # -- orders --------------------------------------------------------------------------------------------

    def find(self, order_id: str) -> OrderRecord | None:
        """An order, in memory or in the journal."""
        return self.orders.get(order_id) or self.history.find_order(order_id)

    def has_room(self) -> bool:
        """Whether one more may be handed over now: the window has a place, and the executor's lease runs."""
        return len(self.out) < self.window and self.executor.is_ready(self.now())

    def keep_place(self, strategy_id: str) -> None:
        """There is an order of this strategy beyond the breaker: if it is anybody's, it has a circuit."""
        if strategy_id not in RESERVED_STRATEGIES:
            self.scopes.keep(strategy_id)

    def _orders_by_strategy(self) -> dict[str, OrdersOf]:
        """What each strategy has that has no end yet."""
        found: dict[str, OrdersOf] = {}
        for record in self.orders.values():
            if record.state == "queued":
                found.setdefault(record.strategy_id, OrdersOf.WAITING)
            elif record.state != "done":
                found[record.strategy_id] = OrdersOf.BEYOND
        return found

    def save(self, record: OrderRecord) -> None:
        """Have the order saved with this batch."""
        self.batch.orders[record.order_id] = record

    def tell(self, record: OrderRecord, event: OrderEvent) -> dict[str, Any]:
        """Publish what became of an order and remember it as the latest."""
        record.last_event = self.bulletin.order_event(event, known=record.has_passed())
        if record.first_event is None:
            record.first_event = record.last_event
        self.save(record)
        return record.last_event

    def end(self, record: OrderRecord, event: OrderEvent, *, keep: bool = True) -> dict[str, Any]:
        """Publish the end of an order; returns the map. An end that follows another supersedes it.

        `keep`: it goes to disk. One that does not never passed, and the caller remembers it.
        """
        if record.end is not None:
            event = msgspec.structs.replace(event, supersedes=record.end.get("seq"))
        record.state = "done"
        self.out.discard(record.order_id)
        if not keep:
            self.orders.pop(record.order_id, None)
            return self.bulletin.order_event(event, keep=False)
        # An end can follow an end long after, when the order is no longer in memory.
        self.orders[record.order_id] = record
        record.end = self.tell(record, event)
        return record.end

    def become_unknown(self, record: OrderRecord, outcome: Outcome | None, reason: str, *, twin: int = 0) -> None:
        """Nobody knows whether IB has it. It leaves the window, and nobody is told that it was not filled.

        `twin`: the permanent id of another order under its reference; of one that was over, too, that is news.
        """
        event = Unknown(order_id=record.order_id, strategy_id=record.strategy_id, reason=reason, twin=twin)
        if record.end is not None:
            event = msgspec.structs.replace(event, supersedes=record.end.get("seq"))
            record.end = None
            self.orders[record.order_id] = record
        record.state = "unknown"
        self.out.discard(record.order_id)
        self.tell(record, event)
        if outcome is not None:
            self.settle(record, outcome)

    def settle(self, record: OrderRecord, outcome: Outcome, failed: Failed | None = None) -> None:
        """Let an outcome count in the circuits. Of a bracket's leg only a failure does, once for the bracket.

        `failed`: what it was, if the order's latest event does not say it.
        """
        if outcome in ("failure", "malformed"):
            failed = failed or last_failures.of_order(record.order_id, record.last_event)
        if record.parent:
            parent = self.find(record.parent)
            if parent is not None and failed is not None:
                self.settle(parent, outcome, failed)
            return
        self.scopes.settle(record, outcome, failed)
        self.save(record)

    # -- executor ------------------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send to the executor, if there is one."""
        if self.executor.peer is not None:
            self.batch.letters.append(Letter(self.executor.peer, message))

    def ask_to_cancel(self, record: OrderRecord, request_id: str | None) -> None:
        """Have IB cancel the order: now if the executor is there, else as soon as it is."""
        record.cancel_wanted = True
        record.cancel_request_id = request_id or record.cancel_request_id
        record.cancel_asked_ns = self.now()
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

    def fence_of(self, scope: str) -> int:
        """What an order of this scope must carry now; a raised fence of `system` is that of every strategy too."""
        return max(self.fences.get(SYSTEM, 0), self.fences.get(scope, 0))

    def has_forgotten(self, fence: int) -> bool:
        """Whether an executor has taken a value of the fence that the journal of this breaker knows nothing of."""
        return not (fence <= self.kept_fence or self.first_fence <= fence <= self.fence)

    def is_fenced(self, scope: str) -> bool:
        """Whether the executor has confirmed the last fence of this scope. It takes them in their order."""
        return self.executor.confirmed_fence >= self.fence_of(scope)

    def owe_global_cancel(self, scope: str, generation: int) -> None:
        """Have every order of the account cancelled, also by an executor that is not there now."""
        number = max(self.wall_ns() // 1_000_000, self.owed.number + 1 if self.owed else 0)
        until_ns = self.now() + GIVE_UP_NS
        self.owed = self.batch.owed = OwedCancel(number, scope, generation, self.wall_ns(), until_ns)
        self.batch.sync = True
        self.send_owed()

    def send_owed(self) -> None:
        """Tell the executor of the global cancel that is owed; told again, it is the same one."""
        if self.owed is not None and self.owed.standing == "owed" and self.executor.joined:
            left_ms = max(0, self.owed.until_ns - self.now()) // 1_000_000
            self.send(GlobalCancel(reason=f"{self.owed.scope} was tripped", number=self.owed.number, left_ms=left_ms))

    def end_owed(self, standing: Standing) -> None:
        """The global cancel is owed no more."""
        if self.owed is None or self.owed.standing in ("done", "ended"):
            return
        self.owed.standing = standing
        self.batch.owed = self.owed
        self.batch.sync = True
        if standing != "done":
            self.send(EndGlobalCancel(number=self.owed.number))

    def taken_feedback(self) -> int:
        """Up to where the feedback of the present executor's journal was taken."""
        return self.feedback_taken.get(self.executor.journal_id, 0)

    def _reasons(self) -> dict[str, str]:
        """Why orders are unknown, of as many as a person can look into."""
        unknown = (record for record in self.orders.values() if record.state == "unknown")
        told = ((each.order_id, each.last_event or {}) for each in unknown)
        because = {order_id: event.get("reason", "") for order_id, event in told if event.get("kind") == "unknown"}
        return dict(sorted(because.items())[:MAX_REASONS])

    def state_summary(self) -> dict[str, Any]:
        """How many orders are where."""
        return {
            "orders_out": len(self.out),
            "unknown": sorted(o.order_id for o in self.orders.values() if o.state == "unknown"),
            "unknown_because": self._reasons(),
            "queued": len(self.queues),
            # Found at IB, of which no journal knows whose they are.
            "adopted": sorted(o.order_id for o in self.orders.values() if o.strategy_id == ADOPTED),
        }
