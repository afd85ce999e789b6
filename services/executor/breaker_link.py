"""What the breaker and the executor say to each other on `dispatch`: hello, lease, fence, orders. Pure.

Messages of the breaker and the time go in; what to do comes out (`link_effects`). The stage does it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import assert_never

from orderfuse.bus.events import NotPlaced
from services.executor.link_effects import (
    AcceptByHand,
    AnswerFence,
    AnswerWelcome,
    CancelAll,
    CancelAtIB,
    CancelWaiting,
    Effect,
    EndCancelAll,
    KeepFence,
    LookUp,
    Note,
    NoteTaken,
    RefuseReplace,
    RenameJournal,
    Resend,
    ResolveByHand,
    Send,
    Tell,
)
from services.wire.dispatch import (
    Accept,
    CancelOrder,
    EndGlobalCancel,
    Expect,
    Fence,
    GlobalCancel,
    Goodbye,
    Hello,
    Lease,
    LeaseRequest,
    NotWelcome,
    Place,
    ReplaceOrder,
    ResendFeedback,
    Settle,
    ToExecutor,
    Welcome,
)
from services.wire.standing import GatewayStatus

# Without an answer for so long, the breaker is taken for gone, and the next one must be greeted.
SILENCE_SECS = 0.5
HELLO_EVERY_SECS = 0.25
LEASE_EVERY_SECS = 0.1
# Ten seconds of requests: an answer that comes later could not extend anything.
MAX_REQUESTS_OUT = 100
# The breaker names in each lease what feedback it has; what it lacks for so long was lost on the way.
RESEND_AFTER_SECS = 1.0
NO_FENCE = -1
SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order or the change of one in the inbox, and when it came (monotonic seconds)."""

    message: Place | ReplaceOrder
    received_at: float


@dataclass(slots=True)
class BreakerLink:
    """The executor's side of `dispatch`: the lease and the fence that it has taken, and the orders that wait.

    Args:
        executor_id: this process.
        journal_id: its journal.
        inbox_limit: orders that may wait for their turn; more are refused.
        first_nonce: anything that an earlier process did not use.
        fences: the highest value of the fence that the journal has taken, of each scope.
    """

    executor_id: str
    journal_id: str
    inbox_limit: int
    first_nonce: int
    fences: dict[str, int] = field(default_factory=dict)
    lease_until: float = 0.0
    # When the last lease of this process ends or ended, also once it was given up; None before the first.
    last_lease_end: float | None = None
    joined: bool = False
    # The breaker has said goodbye: that it is away is no loss of it.
    breaker_ended: bool = False
    inbox: deque[Waiting] = field(default_factory=deque)
    _nonce: int = 0
    _asked: dict[int, float] = field(default_factory=dict)
    _answered_at: float = 0.0
    _hello_at: float = float("-inf")
    _asked_at: float = float("-inf")
    _told_status: GatewayStatus | None = None
    _feedback_sent: int = 0
    _feedback_sent_at: float = 0.0
    _refused_told: str = ""
    _was_taken_in: bool = False
    # The journal is about to have another id: whatever is said of the old one is void.
    _renaming: bool = False

    def fence_of(self, scope: str) -> int:
        """What an order of this scope must carry; without a fence taken, nothing that any order has."""
        return max(self.fences.get(SYSTEM, NO_FENCE), self.fences.get(scope, NO_FENCE))

    def breaker_lost_for(self, now: float) -> float:
        """How long there has been no lease although nobody said goodbye; 0 where one runs, or there never was one."""
        if self.last_lease_end is None or self.breaker_ended:
            return 0.0
        return max(0.0, now - self.last_lease_end)

    def tick(self, now: float, gateway: GatewayStatus, feedback: tuple[int, int, int]) -> list[Effect]:
        """Let time pass: say hello until welcome, then ask for the lease.

        `feedback`: the first number that the journal still has, the last, and the one up to which a breaker took it;
        it need not be of now while this executor is joined.
        """
        effects: list[Effect] = []
        if self.joined and now - self._answered_at > SILENCE_SECS:
            self.joined = False
            # The hello is the next tick's: what `feedback` says is as it was when this one was joined.
            return [Note("the breaker is silent; no order is placed until it is back")]
        if not self.joined:
            if now - self._hello_at >= HELLO_EVERY_SECS and not self._renaming:
                self._hello_at = now
                hello = Hello(
                    executor_id=self.executor_id,
                    journal_id=self.journal_id,
                    gateway=gateway,
                    feedback_first=feedback[0],
                    feedback_last=feedback[1],
                    feedback_taken=feedback[2],
                    fences=dict(self.fences),
                )
                effects.append(Send(hello))
        elif now - self._asked_at >= LEASE_EVERY_SECS or gateway != self._told_status:
            effects.append(Send(self._lease_request(now, gateway)))
        return effects

    def take(self, message: ToExecutor, now: float) -> list[Effect]:  # noqa: C901 - a table of one row for each kind
        """Take one message of the breaker."""
        match message:
            case Welcome():
                return self._on_welcome(message, now)
            case NotWelcome():
                return self._on_not_welcome(message)
            case Lease():
                return self._on_lease(message, now)
            case Fence(fence=fence, scope=scope):
                return [*self._raise_fence(fence, scope), AnswerFence(self.fence_of(scope))]
            case Place():
                return self._on_place(message, now)
            case ReplaceOrder():
                return self._on_replace(message, now)
            case CancelOrder(order_id=order_id, request_id=request_id):
                return self._on_cancel(order_id, request_id)
            case GlobalCancel():
                return [CancelAll(message)]
            case EndGlobalCancel(number=number):
                return [EndCancelAll(number)]
            case Expect():
                return [LookUp(message)]
            case Settle(order_id=order_id):
                return [ResolveByHand(order_id)]
            case Accept():
                return self._on_accept(message, now)
            case ResendFeedback(after_seq=after_seq):
                return [Resend(after_seq)]
            case Goodbye(feedback_taken=taken):
                return [NoteTaken(taken), *self._on_goodbye()]
            case _:
                assert_never(message)

    def on_feedback_sent(self, seq: int, now: float) -> None:
        """Feedback up to this number was handed to the link; said with each tick, so an old number is no news."""
        if seq > self._feedback_sent:
            self._feedback_sent, self._feedback_sent_at = seq, now

    def on_renamed(self, journal_id: str) -> None:
        """The journal has this id from now on; the old one, if the disk took no other."""
        self.journal_id, self._renaming = journal_id, False

    def _on_welcome(self, message: Welcome, now: float) -> list[Effect]:
        if self._renaming or message.journal_id not in ("", self.journal_id):
            # It answers a hello under an id that is given up: what is told under the new one, nobody would take.
            return []
        self.joined = self._was_taken_in = True
        self._answered_at = now
        self._refused_told = ""
        # Leases of before are void: their answers come from a breaker that has forgotten us.
        self._asked.clear()
        self.lease_until = 0.0
        self._asked_at = float("-inf")
        effects = self._refuse_inbox("fenced", "the breaker has just taken this executor in")
        effects += self._raise_fence(message.fence, SYSTEM)
        effects.append(Note(f"the breaker took this executor in, fence {message.fence}"))
        effects.append(Resend(message.feedback_after))
        effects.append(AnswerWelcome(message.doubtful, message.fence, message.owed, message.tell_open))
        return effects

    def _on_goodbye(self) -> list[Effect]:
        self.joined, self.breaker_ended = False, True
        self.lease_until = 0.0
        return [Note("the breaker ends"), *self._refuse_inbox("lease", "the breaker ends")]

    def _on_not_welcome(self, message: NotWelcome) -> list[Effect]:
        reason = message.reason
        # The journal of a process that was taken in before is no old copy: it has told more since it said hello.
        effects: list[Effect] = []
        if message.rename and not (self._was_taken_in or self._renaming):
            self._renaming = True
            effects.append(RenameJournal())
        if self.joined or reason != self._refused_told:
            effects.append(Note(f"the breaker does not take this executor: {reason}"))
        self.joined = False
        self.lease_until = 0.0
        self._refused_told = reason
        return [*effects, *self._refuse_inbox("lease", "the breaker does not take this executor")]

    def _on_lease(self, message: Lease, now: float) -> list[Effect]:
        asked_at = self._asked.pop(message.nonce, None)
        if asked_at is None or not self.joined:
            return []
        self._answered_at = now
        newest = max(self.fences.values(), default=NO_FENCE)
        if message.fence > newest:
            # Its own message was lost, and nobody says whose fence it was: a welcome raises all.
            return self.greet_anew("a fence of the breaker was lost on the way")
        if message.fence == newest:
            self.lease_until = max(self.lease_until, asked_at + message.lease_ms / 1000)
            self.last_lease_end, self.breaker_ended = self.lease_until, False
        effects: list[Effect] = [NoteTaken(message.feedback_taken)]
        overdue = now - self._feedback_sent_at >= RESEND_AFTER_SECS
        if message.feedback_taken < self._feedback_sent and overdue:
            self._feedback_sent_at = now
            effects.append(Resend(message.feedback_taken))
        return effects

    def _on_place(self, place: Place, now: float) -> list[Effect]:
        if not self.joined:
            return [_refuse(place, "lease", "the breaker has not taken this executor in")]
        if len(self.inbox) >= self.inbox_limit:
            return [_refuse(place, "undelivered", f"the executor's inbox holds {self.inbox_limit} orders")]
        self.inbox.append(Waiting(place, now))
        return []

    def _on_replace(self, message: ReplaceOrder, now: float) -> list[Effect]:
        if not self.joined:
            return [RefuseReplace(message, "the breaker has not taken this executor in")]
        if len(self.inbox) >= self.inbox_limit:
            return [RefuseReplace(message, f"the executor's inbox holds {self.inbox_limit} orders")]
        self.inbox.append(Waiting(message, now))
        return []

    def _on_cancel(self, order_id: str, request_id: str | None) -> list[Effect]:
        refused: list[Effect] = []
        for waiting in [waiting for waiting in self.inbox if waiting.message.order_id == order_id]:
            self.inbox.remove(waiting)
            if isinstance(waiting.message, Place):
                refusal = _refuse(waiting.message, "cancelled", "cancelled before it was written")
                return [CancelWaiting(refusal.fact, request_id)]
            refused.append(RefuseReplace(waiting.message, "the order is cancelled"))
        return [*refused, CancelAtIB(order_id, request_id)]

    def _on_accept(self, message: Accept, now: float) -> list[Effect]:
        """Only while the lease runs: what lay in a queue for longer, the breaker has answered as not done."""
        if now < self.lease_until:
            return [AcceptByHand(message)]
        return [Note("what a person would accept is dropped: no lease runs, and they were told that it is not done")]

    def greet_anew(self, why: str) -> list[Effect]:
        """Say hello again: something of what was said is missing."""
        self.joined = False
        self.lease_until = 0.0
        return [Note(f"{why}; the breaker is greeted anew"), *self._refuse_inbox("fenced", why)]

    def _raise_fence(self, fence: int, scope: str) -> list[Effect]:
        before = self.fence_of(scope)
        if fence == before:
            return []
        if fence < before:
            return [Note(f"the breaker's fence of {scope} went back from {before} to {fence}: its orders are refused")]
        if scope == SYSTEM:
            self.fences.clear()
        self.fences[scope] = fence
        return [*self._refuse_inbox("fenced", f"the fence of {scope} is {fence} now", scope), KeepFence(scope, fence)]

    def _refuse_inbox(self, code: str, reason: str, scope: str = SYSTEM) -> list[Effect]:
        """Refuse what waits, of a scope; `system` is all of it."""
        refused = [waiting for waiting in self.inbox if scope in (SYSTEM, waiting.message.scope)]
        for waiting in refused:
            self.inbox.remove(waiting)
        messages = [waiting.message for waiting in refused]
        return [
            _refuse(message, code, reason) if isinstance(message, Place) else RefuseReplace(message, reason)
            for message in messages
        ]

    def _lease_request(self, now: float, gateway: GatewayStatus) -> LeaseRequest:
        self._nonce += 1
        nonce = self.first_nonce + self._nonce
        self._asked[nonce] = now
        if len(self._asked) > MAX_REQUESTS_OUT:
            del self._asked[next(iter(self._asked))]
        self._asked_at, self._told_status = now, gateway
        return LeaseRequest(executor_id=self.executor_id, nonce=nonce, gateway=gateway)


def _refuse(place: Place, code: str, reason: str) -> Tell:
    return Tell(
        NotPlaced(
            order_id=place.order_id,
            strategy_id=place.strategy_id,
            code=code,  # type: ignore[arg-type]  # one of NotPlacedCode at every call
            reason=reason,
        )
    )
