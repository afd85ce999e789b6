"""The breaker's stage: messages and time in, one batch of effects out. Pure.

    orders   -> on_submit, on_cancel ...  -> queued, judged at its turn -> passed | blocked | expired | invalid
    dispatch -> on_hello, on_lease_request -> welcome, lease, fence
    feedback -> on_feedback               -> what became of the order, and what that means to the circuits
    control  -> on_request                -> status, trip, reset

After each input everything that follows from it has been decided and stands in the batch, which `drain`
hands out: first to be saved in one transaction, then to be sent.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orderfuse.circuit import CircuitState, Clock
from orderfuse.codec import DecodeError
from orderfuse.messages import (
    Cancel,
    Feedback,
    Fenced,
    FromExecutor,
    FromStrategy,
    Goodbye,
    Health,
    Heartbeat,
    Hello,
    Joined,
    LeaseRequest,
    Replace,
    ResetRequest,
    Submit,
)
from orderfuse.settings import Settings
from services.breaker.answers import Answers
from services.breaker.batch import Batch, KeptHeartbeat, Numbering
from services.breaker.conditions import BROKER_DISCONNECTED, EXECUTOR_SILENT, JOURNAL_FAILED
from services.breaker.core import Core, History
from services.breaker.dead_man import SILENT_REASON, DeadMan
from services.breaker.dispatcher import Dispatcher
from services.breaker.executor_desk import ExecutorDesk
from services.breaker.executor_link import LEASE_NS
from services.breaker.intake import Intake
from services.breaker.operator import HandRequest, Operator
from services.breaker.orders import OrderRecord
from services.breaker.owed import OwedCancel
from services.breaker.refusals import Marks
from services.breaker.replacing import Replacer
from services.breaker.scopes import SECOND_NS, SYSTEM, KeptCircuit, Refusal, strategy_scope

STATE_REPEAT_NS = SECOND_NS // 2
HEALTH_NS = SECOND_NS
# Fewer raises than this can be lost in a second; more than any process comes to between two checkpoints of its journal.
FENCE_ROOM, FENCE_GAP = 1_000, 1_000_000


@dataclass(slots=True)
class Saved:
    """What the journal had at the start.

    `circuits`: by scope. `orders`: those without an end, their
    times already those of this process. `floor`: above it new topics begin to count. `trouble`: why the
    journal of before could not be read; then nobody trades until a person has looked.
    """

    fence: int = 0
    circuits: Mapping[str, KeptCircuit] = field(default_factory=dict)
    orders: list[OrderRecord] = field(default_factory=list)
    feedback_taken: dict[str, int] = field(default_factory=dict)
    retold: dict[str, int] = field(default_factory=dict)
    remembered_cancels: dict[tuple[str, str], int] = field(default_factory=dict)
    topics: dict[str, Numbering] = field(default_factory=dict)
    floor: int = 0
    refused_marks: dict[str, int] = field(default_factory=dict)
    heartbeats: dict[str, KeptHeartbeat] = field(default_factory=dict)
    last_failures: dict[str, str] = field(default_factory=dict)
    owed: OwedCancel | None = None
    trouble: str = ""


class Stage:
    """The whole decision logic of the breaker process.

    Args:
        settings: what trips, how long queues may get, the window.
        clock: monotonic time for decisions, wall time for people.
        wall_ns: the wall clock, for stamps on messages.
        history: orders and requests that are no longer in memory.
        saved: what an earlier process left; a new home starts CLOSED.
        version: of this program, for `status`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
        history: History,
        saved: Saved | None = None,
        version: str = "",
    ) -> None:
        saved = saved or Saved()
        # Above any value that an executor may hold from a journal that was lost, as far as the clock can tell; the
        # hello tells the rest. A value that was raised and lost must not be raised once more, or nobody could notice.
        fence = wall_ns() // 1_000_000
        if fence < saved.fence + FENCE_ROOM:
            fence = saved.fence + FENCE_GAP
        # A journal that could not be read has tripped already, whatever it knew of the fence.
        kept_fence = fence if saved.trouble else saved.fence
        self.core = Core(settings.breaker, settings.dispatch.window, clock, wall_ns, history, fence, kept_fence)
        self.dead_man = DeadMan(self.core)
        self.answers = Answers(self.core, Marks(settings.breaker.max_clock_skew_ms * 1_000_000))
        self.intake = Intake(self.core, self.answers, frozenset(settings.executor.allow_order_fields), self.dead_man)
        self.replacer = Replacer(self.core, self.intake)
        self.dispatcher = Dispatcher(self.core, self.answers, self.replacer)
        self.executor_desk = ExecutorDesk(self.core)
        self.operator = Operator(self.core, self.intake, version, self._follow, self.dispatcher.finish)
        self._next_repeat_ns = 0
        self._next_health_ns = 0
        self._restore(saved)

    def _restore(self, saved: Saved) -> None:
        core = self.core
        core.bulletin.topics = OrderedDict(saved.topics)
        core.bulletin.floor = saved.floor
        core.feedback_taken = dict(saved.feedback_taken)
        core.retold = dict(saved.retold)
        core.owed = saved.owed
        if core.owed is not None:
            core.owed.go_on(core.now(), core.wall_ns())
        self.dead_man.restore(saved.heartbeats)
        self.intake.remembered.restore(saved.remembered_cancels, core.now())
        self.answers.marks.restore(saved.refused_marks, core.wall_ns())
        for scope, kept in saved.circuits.items():
            core.scopes.restore(scope, kept)
        core.scopes.last_failures.restore(saved.last_failures, saved.circuits)
        if saved.trouble:
            core.scopes.trip(SYSTEM, saved.trouble, latch=True)
        for record in saved.orders:
            core.orders[record.order_id] = record
            if record.has_passed():
                # A journal of an earlier version may have one of a strategy without a circuit.
                core.keep_place(record.strategy_id)
            if record.in_window():
                core.out.add(record.order_id)
                self.dispatcher.watch(record)
            elif record.status == "PreSubmitted":
                self.executor_desk.watch_presubmitted(record)
        now = core.now()
        core.conditions.begin(EXECUTOR_SILENT, "no executor yet", now, expected=True)
        core.conditions.begin(BROKER_DISCONNECTED, "no executor yet", now, expected=True)
        core.conditions.release_forgotten()
        # An executor may still hold a lease that an earlier process gave: a trip has to wait for its end.
        core.executor.lease_ends_ns = now + LEASE_NS
        # A process start is no transition, but nothing that an earlier process sent may still be written.
        core.raise_fence()
        core.first_fence = core.fence
        self._follow()

    # -- inputs --------------------------------------------------------------------------------------------

    def on_order_message(self, message: FromStrategy, sender: str = "") -> None:
        """Something valid came on `orders`. `sender`: the program that has sent it, where the system tells."""
        match message:
            case Submit():
                self.intake.on_submit(message, sender)
            case Cancel():
                self.intake.on_cancel(message, sender)
            case Replace():
                self.replacer.on_replace(message, sender)
            case Heartbeat():
                self.dead_man.on_heartbeat(message)
        self._follow()

    def on_nonsense(self, error: DecodeError, sender: str = "") -> None:
        """Something that is no message came on `orders`."""
        self.intake.on_nonsense(error, sender)

    def on_executor_message(self, peer: bytes, message: FromExecutor) -> None:
        """Something valid came on `dispatch` from `peer`."""
        match message:
            case Hello():
                self.executor_desk.on_hello(peer, message)
            case Joined():
                self.executor_desk.on_joined(peer, message)
            case LeaseRequest():
                self.executor_desk.on_lease_request(peer, message)
            case Fenced():
                if self.executor_desk.on_fenced(peer, message):
                    self.operator.on_fence_confirmed(message.written)
        self._follow()

    def on_feedback(self, feedback: Feedback) -> None:
        """The executor reports a fact."""
        self.executor_desk.on_feedback(feedback)
        self._follow()

    def on_unreadable_feedback(self, error: DecodeError) -> None:
        """The executor reports something that cannot be read."""
        self.executor_desk.on_unreadable(error)
        self._follow()

    def on_undeliverable(self, order_id: str, reason: str) -> None:
        """An order that the last batch passed could not be handed over."""
        self.executor_desk.on_undeliverable(order_id, reason)
        self._follow()

    def on_missed(self, peer: bytes) -> None:
        """A message of the last batch, other than an order, did not reach this peer."""
        self.executor_desk.on_missed(peer)

    def on_request(self, token: Any, request: HandRequest) -> None:
        """Somebody asks on `control`."""
        self.operator.on_request(token, request)
        self._follow()

    def on_stop(self, reason: str, who: str) -> None:
        """The file STOP has appeared, or says something else now. `who`: whose file it is."""
        self.operator.on_stop(reason, who)
        self._follow()

    def refuses_reset(self, request: ResetRequest) -> bool:
        """Whether this reset would be refused whatever becomes of the file STOP."""
        return self.operator.refusal_of_reset(request) is not None

    def say_goodbye(self) -> bool:
        """This process ends because it was told to; whether there is an executor to hear it."""
        self.core.batch.ends = True
        self.core.send(Goodbye(feedback_taken=self.core.taken_feedback()))
        return self.core.executor.joined

    def on_journal(self, error: str | None) -> None:
        """The journal could not be written, or (None) can be again."""
        if error is None:
            self.core.conditions.end(JOURNAL_FAILED, self.core.now())
        else:
            self.core.conditions.begin(JOURNAL_FAILED, error, self.core.now())
        self._follow()

    def on_disk(self, journals: dict[str, int], free: int | None) -> None:
        """How large the journals are, and what is left on their disk, in bytes."""
        self.core.journals, self.core.disk_free = journals, free

    def poll(self) -> None:
        """Let time pass: whatever is due happens."""
        core = self.core
        core.scopes.poll()
        core.run_due_timers()
        self.executor_desk.poll()
        self.intake.poll()
        self._see_who_fell_silent()
        self.operator.poll()
        core.conditions.poll(core.now())
        self._follow()
        if core.now() >= self._next_repeat_ns:
            self._next_repeat_ns = core.now() + STATE_REPEAT_NS
            self._tell_states(repeat=True)

    def _see_who_fell_silent(self) -> None:
        """End the orders of strategies that fell silent. Those without any, however many, are one line of the log."""
        silent = self.dead_man.fallen_silent()
        if not silent:
            return
        core = self.core
        with_orders = {record.strategy_id for record in (*core.queues.orders(), *core.orders.values())}
        for strategy_id in silent:
            if strategy_id in with_orders:
                self._end_orders_of(strategy_id)
        others = [strategy_id for strategy_id in silent if strategy_id not in with_orders]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            core.batch.notes.append(f"{others[0]}{more} fell silent without an order")

    def _end_orders_of(self, strategy_id: str) -> None:
        """What waits is not sent, what works is cancelled, what protects stays."""
        self.core.batch.notes.append(f"{strategy_id} fell silent: its orders are cancelled, except those that protect")
        self.intake.end_queued(strategy_id, Refusal("cancelled", SILENT_REASON, strategy_scope(strategy_id)))
        self.replacer.refuse_waiting(strategy_id, SILENT_REASON)
        self.intake.cancel_automatically(strategy_scope(strategy_id), protective_too=False)

    def has_more_to_do(self) -> bool:
        """Whether the next `poll` should come at once: a long queue is answered in pieces."""
        return self.dispatcher.unfinished

    def health_is_due(self) -> bool:
        """Whether a second has passed since the last health message."""
        now = self.core.now()
        if now < self._next_health_ns:
            return False
        self._next_health_ns = now + HEALTH_NS
        return True

    def tell_health(self, *, dropped: dict[str, int], journal_lag_ms: float, journal_error: str | None) -> None:
        """Publish how the pipeline is; the loop knows about sockets and the disk."""
        core = self.core
        gateway = core.executor.gateway
        core.bulletin.health(
            Health(
                at_ns=core.wall_ns(),
                queued=core.queues.lengths(),
                orders_out=len(core.out),
                window=core.window,
                window_used=len(core.out),
                unknown=sum(record.state == "unknown" for record in core.orders.values()),
                executor_present=core.executor.joined,
                gateway_connected=bool(core.executor.joined and gateway and gateway.connected),
                dropped=dict(Counter(dropped) + Counter(self.intake.dropped) + Counter(self.executor_desk.dropped)),
                journal_lag_ms=journal_lag_ms,
                journal_error=journal_error,
            )
        )

    def drain(self) -> Batch:
        """Hand out the effects since the last call.

        Orders with their end leave memory, the journal has them; but not while a replace has no answer.
        """
        core = self.core
        self._tell_states(repeat=False)
        for scope in core.scopes.leaving:
            core.bulletin.forget(scope)
        core.batch.circuits = core.scopes.take_changed()
        core.bulletin.save(core.batch)
        core.batch.last_failures = core.scopes.last_failures.take_changed()
        batch, core.batch = core.batch, Batch()
        for order_id, record in batch.orders.items():
            if record.state == "done" and record.change is None:
                core.orders.pop(order_id, None)
        return batch

    # -- what follows --------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Carry out what the last input brought about: trips first, then the queue."""
        self._answer_who_was_put_out()
        self._follow_transitions()
        self.dispatcher.serve()
        self.dispatcher.watch_newcomers()
        self._follow_transitions()

    def _answer_who_was_put_out(self) -> None:
        put_out, self.core.scopes.put_out = self.core.scopes.put_out, []
        for strategy_id in put_out:
            reason = "a strategy of another program needed its place (breaker.max_strategies)"
            self.intake.end_queued(strategy_id, Refusal("too_many_strategies", reason, SYSTEM))

    def _follow_transitions(self) -> None:
        transitions = self.core.scopes.take_transitions()
        for scope, transition in transitions:
            if not self.core.scopes.is_kept(scope):
                # Nothing of it can be under way, and nobody loses anything if it is forgotten.
                continue
            # Saved to disk before anybody is told: a power cut must not undo it.
            self.core.batch.sync = True
            if transition.state is CircuitState.OPEN:
                self.core.raise_fence(scope)
                self.operator.on_opened(scope)
        if transitions:
            # At once, so that no state is skipped. Smaller news is told once a turn.
            self._tell_states(repeat=False)

    def _tell_states(self, *, repeat: bool) -> None:
        core = self.core
        system_allows = core.scopes.system.is_trading_allowed()[0]
        for scope, circuit in core.scopes:
            fenced = core.is_fenced(scope)
            core.bulletin.tell_state(scope, circuit, fenced=fenced, system_allows=system_allows, repeat=repeat)
