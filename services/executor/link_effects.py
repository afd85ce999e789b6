"""What the talk with the breaker wants done; the stage does it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.bus.events import NotPlaced
from services.wire.dispatch import Accept, Expect, FromExecutor, GlobalCancel, ReplaceOrder


@dataclass(frozen=True, slots=True)
class Send:
    """Send this to the breaker."""

    message: FromExecutor


@dataclass(frozen=True, slots=True)
class Tell:
    """Journal this fact and send it as feedback: the order will not be placed, unless it was handed over before."""

    fact: NotPlaced


@dataclass(frozen=True, slots=True)
class RefuseReplace:
    """Journal and tell that this change will not be written."""

    message: ReplaceOrder
    reason: str


@dataclass(frozen=True, slots=True)
class Resend:
    """Send journaled feedback again, from behind this number."""

    after_seq: int


@dataclass(frozen=True, slots=True)
class AnswerWelcome:
    """Answer `Joined` with those of these orders that the journal knows.

    `owed`: the global cancel that the breaker still wants; any other is dropped. `tell_open`: tell it of each order
    that has no end.
    """

    doubtful: list[str]
    fence: int
    owed: int
    tell_open: bool = False


@dataclass(frozen=True, slots=True)
class AnswerFence:
    """Answer `Fenced` with what is written and unanswered."""

    fence: int


@dataclass(frozen=True, slots=True)
class KeepFence:
    """Journal that this value was taken for this scope; of `system` it takes the place of all others."""

    scope: str
    fence: int


@dataclass(frozen=True, slots=True)
class NoteTaken:
    """The breaker has journaled the feedback up to this number."""

    seq: int


@dataclass(frozen=True, slots=True)
class RenameJournal:
    """The journal is an old copy: give it an id of its own."""


@dataclass(frozen=True, slots=True)
class CancelAtIB:
    """Cancel this order, which is not in the inbox."""

    order_id: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class CancelWaiting:
    """Cancel this order, which has left the inbox for it; it may be one that was handed over again, and IB has it."""

    refusal: NotPlaced
    request_id: str | None


@dataclass(frozen=True, slots=True)
class CancelAll:
    """Cancel everything at IB, until nothing of it is listed or the time is up."""

    message: GlobalCancel


@dataclass(frozen=True, slots=True)
class EndCancelAll:
    """The global cancel with this number is not wanted any more."""

    number: int


@dataclass(frozen=True, slots=True)
class LookUp:
    """IB may have this order, of which the journal knows nothing."""

    message: Expect


@dataclass(frozen=True, slots=True)
class ResolveByHand:
    """A person has resolved this order."""

    order_id: str


@dataclass(frozen=True, slots=True)
class AcceptByHand:
    """A person takes what others did in the account as it is."""

    message: Accept


@dataclass(frozen=True, slots=True)
class Note:
    """For the log."""

    text: str


# What becomes of orders, and what else there is to do.
Cancels = CancelAtIB | CancelWaiting | CancelAll | EndCancelAll
AboutOrders = Tell | RefuseReplace | LookUp | Cancels | ResolveByHand | AcceptByHand
Effect = AboutOrders | Send | Resend | AnswerWelcome | AnswerFence | KeepFence | NoteTaken | RenameJournal | Note
