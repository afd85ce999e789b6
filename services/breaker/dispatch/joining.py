"""The breaker's side of `dispatch`: one executor, its lease, its fence, and the gateway that it speaks of. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from orderfuse.bus.events import NotPlaced
from orderfuse.bus.fields import Message
from orderfuse.ibfields.names import order_name
from orderfuse.text import cut
from services.breaker import brackets, replacing
from services.breaker.batch import DispatchMessage
from services.breaker.circuits.conditions import BROKER_DISCONNECTED, BROKER_SILENT, EXECUTOR_SILENT, FOREIGN_ORDERS
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, Unreadable
from services.breaker.control.accepting import told_of
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.dispatch import adoption, global_cancel
from services.breaker.dispatch.executor_link import LEASE_MS, LEASE_NS, SILENCE_NS
from services.breaker.orders import OrderRecord
from services.wire.dispatch import CancelOrder, Fenced, Hello, Joined, Lease, LeaseRequest, NotWelcome, Settle, Welcome
from services.wire.standing import GatewayStatus

# Order ids in one welcome: 300 of 40 bytes stay inside a frame. What is left over is asked at the next one.
MAX_ASKED_ABOUT = 300

# A journal that does not tell is asked again after so long.
ASK_AGAIN_NS = 10 * SECOND_NS
# SQLite's largest integer; no journal counts so far.
MAX_FEEDBACK_SEQ = 2**63 - 1


@dataclass(slots=True)
class Joining:
    """Takes the one executor in, and gives it its lease."""

    core: Core
    # Orders that the executor doubts, and of which is still to be found out whether they have their end; the next last.
    _in_doubt: list[str] = field(default_factory=list)

    def on_hello(self, peer: bytes, hello: Hello) -> None:
        """A process wants to be the executor."""
        executor, now = self.core.executor, self.core.now
        if not executor.may_join(hello, now):
            self._reply(peer, NotWelcome(reason="another executor is alive; stop it first"))
            return
        if hello.feedback_first > MAX_FEEDBACK_SEQ:
            self.core.drop("out_of_range")
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
        if hello.feedback_taken > taken or unheard_of:
            # What an earlier breaker has taken has been told; this one has lost its journal, or has an old copy.
            self.core.retold[journal] = self.core.batch.retold[journal] = hello.feedback_taken
        # What its journal no longer has can't be asked for again.
        taken = max(taken, hello.feedback_first - 1)
        self.core.feedback_taken[journal] = taken
        self.core.batch.feedback_taken[journal] = taken
        doubtful = [record.order_id for record in self.core.orders.values() if record.doubtful()]
        if executor.last_served_ns is None:
            # Who has been taken and then only says hello serves nobody.
            self.core.deadlines.set(Deadline(Due.EXECUTOR), now + SILENCE_NS)
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
                journal_id=journal,
            ),
        )

    def _see_fences(self, fences: dict[str, int]) -> None:
        """The executor remembers what it was told; what this breaker does not know of it, it has forgotten."""
        core = self.core
        forgotten = {scope: fence for scope, fence in fences.items() if core.has_forgotten(fence)}
        if forgotten:
            # What was told since is not known either, and nobody may take news for something old.
            core.batch.first_seq = core.wall_ns // 1_000_000
            core.publisher.jump(core.batch.first_seq)
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
        now = self.core.now
        self._serves()
        self.core.confirm_fence(joined.fence)
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
        self._in_doubt = joined.in_doubt[::-1]
        self.tell_ends()
        replacing.ask_again(self.core)
        global_cancel.send(self.core)
        self.core.conditions.end(EXECUTOR_SILENT, now)
        if not self._see_gateway(executor.gateway):
            self._send_wanted_cancels()

    def tell_ends(self) -> None:
        """Tell the executor which orders that it doubts have their end: it may have been away when a person said so."""
        try:
            while self._in_doubt:
                record = self.core.find(self._in_doubt[-1])
                if record is not None and record.state == "done":
                    self.core.send(Settle(order_id=record.order_id))
                self._in_doubt.pop()
        except Unreadable as unread:
            self.core.leave_undone(unread)
            self.core.deadlines.set(Deadline(Due.ENDS_TO_TELL), self.core.now + ASK_AGAIN_NS)

    def on_lease_request(self, peer: bytes, request: LeaseRequest) -> None:
        """The executor lives, and asks for leave to place orders."""
        executor, now = self.core.executor, self.core.now
        if not executor.is_from(peer, request.executor_id) or not executor.joined:
            self._reply(peer, NotWelcome(reason="say hello first"))
            return
        self._serves()
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
        self.core.confirm_fence(fenced.fence)
        return True

    def on_silence(self) -> None:
        """The executor that was taken has not served for too long."""
        self.core.executor.joined = False
        reason = f"no word from the executor for {SILENCE_NS // SECOND_NS} s"
        self.core.conditions.begin(EXECUTOR_SILENT, reason, self.core.now)

    def _serves(self) -> None:
        """The executor has joined, and said so just now."""
        self.core.executor.serves(self.core.now)
        self.core.deadlines.set(Deadline(Due.EXECUTOR), self.core.now + SILENCE_NS)

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

    def _see_gateway(self, gateway: GatewayStatus | None) -> bool:
        """Take what the executor says of its gateway; whether the cancels that waited for it were sent."""
        executor = self.core.executor
        executor.gateway = gateway
        where = f"{gateway.host}:{gateway.port}" if gateway else "the gateway"
        was_silent = self.core.conditions.holds(BROKER_SILENT)
        if gateway is not None and gateway.silent:
            reason = f"{where} does not answer"
            self.core.conditions.begin(BROKER_SILENT, reason, self.core.now, expected=not executor.was_usable)
            if gateway.connected:
                return False
        elif was_silent:
            self.core.conditions.end(BROKER_SILENT, self.core.now)
        if gateway is None or not gateway.usable:
            detail = gateway.detail if gateway else ""
            reason = f"no usable connection to {where}" + (f" ({detail})" if detail else "")
            expected = not executor.was_usable or (gateway is not None and gateway.planned)
            self.core.conditions.begin(BROKER_DISCONNECTED, reason, self.core.now, expected=expected)
            return False
        first = not executor.was_usable
        executor.was_usable = True
        self._see_foreign_orders(gateway)
        if not first and not was_silent and not self.core.conditions.holds(BROKER_DISCONNECTED):
            return False
        self.core.conditions.end(BROKER_DISCONNECTED, self.core.now)
        self._send_wanted_cancels()
        return True

    def _see_foreign_orders(self, gateway: GatewayStatus) -> None:
        """Only of a usable gateway: before IB has listed everything, that nothing is told of means nothing."""
        if gateway.foreign_trips:
            orders = "; ".join(order_name(told_of(each, "")) for each in gateway.foreign)
            reason = cut(f"{len(gateway.foreign)} open in this account: {orders}")
            self.core.conditions.begin(FOREIGN_ORDERS, reason, self.core.now)
        else:
            self.core.conditions.end(FOREIGN_ORDERS, self.core.now)

    def _send_wanted_cancels(self) -> None:
        """Cancels that could not be sent before go first."""
        for record in self.core.orders.values():
            if record.cancel_wanted and record.state in ("out", "working", "unknown"):
                self.core.send(CancelOrder(order_id=record.order_id, request_id=record.cancel_request_id))

    def _undelivered(self, record: OrderRecord, reason: str) -> None:
        undelivered = NotPlaced(
            order_id=record.order_id, strategy_id=record.strategy_id, code="undelivered", reason=reason
        )
        self.core.end(record, undelivered)
        self.core.count(record, "neutral")
        brackets.end_legs(self.core, record, undelivered)

    def _reply(self, peer: bytes, message: Message) -> None:
        self.core.batch.dispatch.append(DispatchMessage(peer, message))
