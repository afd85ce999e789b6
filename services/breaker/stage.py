"""The breaker's stage: one input and its moment in, one batch of effects out. Pure.

    orders   -> FromOrders     -> queued, judged at its turn -> passed | blocked | expired | invalid
    dispatch -> FromDispatch   -> welcome, lease, fence
    feedback -> FromFeedback   -> what became of the order, and what that means to the circuits
    control  -> FromControl    -> status, trip, reset
    the rim  -> Tick, StopSeen, Undeliverable ... (`inputs`)

After each step everything that follows from it has been decided and stands in the batch: first to be saved in one
transaction, then to be sent. What could not be sent comes back as an input.
"""

from __future__ import annotations

from orderfuse.bus.control import ResetRequest
from orderfuse.bus.orders import Cancel, FromStrategy, Heartbeat, Replace, Submit
from orderfuse.settings import Settings
from services.breaker import cancelling, invariants, resuming
from services.breaker.answers import Answers
from services.breaker.asked import Asked, History
from services.breaker.batch import Batch
from services.breaker.circuits import states, trips
from services.breaker.circuits.conditions import JOURNAL_FAILED
from services.breaker.circuits.scopes import Refusal, Unreadable, strategy_scope
from services.breaker.control import health
from services.breaker.control.operator import Operator, is_in_generation_of
from services.breaker.core import Core
from services.breaker.dead_man import SILENT_REASON, DeadMan
from services.breaker.deadlines import OF_ORDERS, Deadline, Due
from services.breaker.dispatch.facts import Facts
from services.breaker.dispatch.joining import Joining
from services.breaker.dispatcher import Dispatcher
from services.breaker.gates import Gates
from services.breaker.inputs import (
    Ending,
    FromControl,
    FromDispatch,
    FromFeedback,
    FromOrders,
    Input,
    JournalSeen,
    Measured,
    Missed,
    Started,
    StopSeen,
    Tick,
    Undeliverable,
    UnreadableFeedback,
    UnreadableOrder,
)
from services.breaker.intake import Intake
from services.breaker.present import Present
from services.breaker.publisher import Publisher
from services.breaker.queues import Queues
from services.breaker.refusals import Marks
from services.breaker.replacing import Replacer
from services.breaker.saved import Saved
from services.runtime.now import Now
from services.wire.dispatch import Fenced, FromExecutor, Goodbye, Hello, Joined, LeaseRequest
from services.wire.standing import Drift

# Fewer raises than this can be lost in a second; more than any process comes to between two checkpoints of its journal.
FENCE_ROOM, FENCE_GAP = 1_000, 1_000_000


class Stage:
    """The whole decision logic of the breaker process.

    Args:
        settings: what trips, how long queues may get, the window.
        now: the moment of the start.
        history: orders and requests that are no longer in memory. It has to know what `step` has handed out from then
            on, saved or not.
        saved: what an earlier process left; a new home starts CLOSED.
        version: of this program, for `status`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Now,
        history: History,
        saved: Saved | None = None,
        version: str = "",
    ) -> None:
        saved = saved or Saved()
        self._present = Present(now)
        # Above any value that an executor may hold from a journal that was lost, as far as the clock can tell; the
        # hello tells the rest. A value that was raised and lost must not be raised once more, or nobody could notice.
        fence = now.wall_ns // 1_000_000
        if fence < saved.fence + FENCE_ROOM:
            fence = saved.fence + FENCE_GAP
        # A journal that could not be read has tripped already, whatever it knew of the fence.
        kept_fence = fence if saved.trouble else saved.fence
        self.core = Core(settings.breaker, settings.dispatch.window, self._present, Asked(history), fence, kept_fence)
        self.dead_man = DeadMan(self.core)
        self.answers = Answers(self.core, Marks(settings.breaker.max_clock_skew_ms * 1_000_000))
        allow = frozenset(settings.executor.allow_order_fields)
        self.gates = Gates(self.core, self.answers.refusals, self.answers.marks, self.dead_man, allow)
        self.intake = Intake(self.core, self.answers, self.gates)
        self.replacer = Replacer(self.core, self.answers, self.gates)
        self.dispatcher = Dispatcher(self.core, self.answers, self.replacer)
        self.joining = Joining(self.core)
        self.facts = Facts(self.core)
        self.operator = Operator(self.core, self.intake, self.dispatcher, version)
        # What was handed out last.
        self._fence_before = kept_fence
        resuming.resume(self.core, self.gates, saved)
        self._follow()

    def step(self, given: Input, now: Now) -> Batch:
        """Take one input, and hand out what follows from it: first to be saved, then to be sent.

        Where the journal does not say what an input depends on, that input has changed nothing, and the batch says so
        in `unread`. A request is told; an order and a fact come again.
        """
        self._present.advance(now)
        self.core.history.begin()
        try:
            self._take(given)
        except Unreadable as unread:
            self._leave_undone(given, unread)
        self._follow()
        return self._hand_out()

    def _leave_undone(self, given: Input, unread: Unreadable) -> None:
        self.core.leave_undone(unread)
        if isinstance(given, FromControl):
            self.core.refuse(given.token, given.request, "internal", str(unread))
        else:
            self.core.drop("journal_unreadable")

    def _take(self, given: Input) -> None:
        match given:
            case FromOrders(message, sender):
                self._on_order_message(message, sender)
            case FromFeedback(feedback):
                self.facts.on_feedback(feedback)
            case FromDispatch(peer, message):
                self._on_executor_message(peer, message)
            case FromControl(token, request):
                self.operator.on_request(token, request)
            case Tick():
                self._on_tick()
            case _:
                self._take_from_rim(given)

    def _take_from_rim(
        self,
        given: Started
        | UnreadableOrder
        | UnreadableFeedback
        | StopSeen
        | Undeliverable
        | Missed
        | JournalSeen
        | Measured
        | Ending,
    ) -> None:
        """What the rim has seen, and what nobody can read."""
        match given:
            case UnreadableOrder(error, sender):
                self.intake.on_nonsense(error, sender)
            case UnreadableFeedback(error):
                self.facts.on_unreadable(error)
            case Undeliverable(order_id, reason):
                self.joining.on_undeliverable(order_id, reason)
            case Missed(peer):
                self.joining.on_missed(peer)
            case StopSeen(reason, who):
                self.operator.trips.on_stop(reason, who)
            case JournalSeen(trouble):
                self._on_journal(trouble)
            case Measured():
                health.tell(self.core, given)
            case Ending():
                self.core.batch.ends = True
                self.core.send(Goodbye(feedback_taken=self.core.taken_feedback()))
            case Started():
                pass

    def _on_order_message(self, message: FromStrategy, sender: str) -> None:
        match message:
            case Submit():
                self.intake.on_submit(message, sender)
            case Cancel():
                self.intake.on_cancel(message, sender)
            case Replace():
                self.replacer.on_replace(message, sender)
            case Heartbeat():
                self.dead_man.on_heartbeat(message)

    def _on_executor_message(self, peer: bytes, message: FromExecutor) -> None:
        match message:
            case Hello():
                self.joining.on_hello(peer, message)
            case Joined():
                self.joining.on_joined(peer, message)
            case LeaseRequest():
                self.joining.on_lease_request(peer, message)
            case Fenced():
                if self.joining.on_fenced(peer, message):
                    self.operator.trips.on_fence_confirmed(message.written)

    def _on_journal(self, error: str | None) -> None:
        if error is None:
            self.core.conditions.end(JOURNAL_FAILED, self.core.now)
        else:
            self.core.conditions.begin(JOURNAL_FAILED, error, self.core.now)

    # -- questions of the rim, which change nothing: how things stand after the last input --------------------

    def is_in_generation_of(self, request: ResetRequest) -> bool:
        """Whether the system's circuit is still in the generation that is to be reset."""
        return is_in_generation_of(request, self.core.scopes.system)

    @property
    def position_breaks(self) -> tuple[Drift, ...]:
        """Positions that are not what the fills make them, as the executor said last."""
        return self.core.executor.position_breaks

    @property
    def queues(self) -> Queues:
        """What waits, for who looks it up."""
        return self.core.queues

    @property
    def publisher(self) -> Publisher:
        """How far each topic has been numbered, for who looks events up."""
        return self.core.publisher

    def has_executor(self) -> bool:
        """Whether there is an executor to hear what is sent to it."""
        return self.core.executor.joined

    def has_more_to_do(self) -> bool:
        """Whether the next tick should come at once: a long queue is answered in pieces."""
        return self.dispatcher.unfinished

    # -- time ----------------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        due: dict[Due, list[str]] = {}
        orders: list[Deadline] = []
        for deadline in self.core.deadlines.take_due(self.core.now):
            if deadline.what in OF_ORDERS:
                orders.append(deadline)
            else:
                due.setdefault(deadline.what, []).append(deadline.whose)
        self.core.scopes.let_time_pass()
        for deadline in orders:
            self._on_order_due(deadline)
        if Due.EXECUTOR in due:
            self.joining.on_silence()
        if Due.STOP_FILE in due:
            self.operator.trips.on_stop_alone()
        if Due.ENDS_TO_TELL in due:
            self.joining.tell_ends()
        self.intake.poll()
        if Due.HEARTBEAT in due:
            self._on_silence(due[Due.HEARTBEAT])
        self.operator.poll()
        self.core.conditions.poll(self.core.now)
        self._follow()
        states.tell(self.core)
        states.repeat(self.core, due.get(Due.REPEAT, ()))

    def _on_order_due(self, deadline: Deadline) -> None:
        whose = deadline.whose
        match deadline.what:
            case Due.TTL:
                self.dispatcher.expire_waiting(whose)
            case Due.TTL_OF_CHANGE:
                self.replacer.expire_waiting(whose)
            case Due.ANSWER:
                self.dispatcher.give_up(whose)
            case Due.ANSWER_TO_CHANGE:
                self.replacer.give_up(whose)
            case _:
                assert deadline.what is Due.CANCEL_ANSWER, f"{deadline.what} is no order's"
                cancelling.give_up(self.core, whose)

    def _on_silence(self, silent: list[str]) -> None:
        """End the orders of strategies that fell silent. Those without any, however many, are one line of the log."""
        core = self.core
        with_orders = {record.strategy_id for record in (*core.queues.orders(), *core.orders.values())}
        for strategy_id in silent:
            self.dead_man.fall_silent(strategy_id)
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
        cancelling.cancel_automatically(self.core, strategy_scope(strategy_id), protective_too=False)

    def _hand_out(self) -> Batch:
        """The effects of this step.

        Orders with their end leave memory, the journal has them.
        """
        core = self.core
        states.tell(core)
        # Time may have moved a circuit just now, when it was looked at.
        trips.follow_transitions(core)
        for scope in core.scopes.leaving:
            states.forget(core, scope)
        core.batch.circuits = core.scopes.take_changed()
        core.publisher.save(core.batch)
        core.batch.last_failures = core.scopes.last_failures.take_changed()
        invariants.check(core, core.batch, self._fence_before)
        self._fence_before = core.fence
        batch, core.batch = core.batch, Batch()
        for record in batch.orders.values():
            core.forget_if_over(record)
        return batch

    # -- what follows --------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Carry out what the last input brought about: trips first, then the queue."""
        self.dispatcher.answer_who_was_put_out()
        trips.follow_transitions(self.core)
        self.dispatcher.serve()
        self.dispatcher.watch_newcomers()
        trips.follow_transitions(self.core)
