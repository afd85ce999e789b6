"""What a step of the executor wants done: first saved, in one transaction, then sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.executor.account.position_breaks import Baseline, LegFill
from services.executor.global_cancel import OwedCancel
from services.executor.orders.records import Execution, OrderRecord
from services.gateway.frames import Frame
from services.runtime.notes import Note
from services.wire.dispatch import Accept, FromExecutor
from services.wire.feedback import Fact, Outcome
from services.wire.standing import ForeignOrder


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a person has taken as it is: baselines as they are from now on, and orders of others."""

    message: Accept
    baselines: list[Baseline]
    orders: list[ForeignOrder]


@dataclass(slots=True)
class Keep:
    """What the journal must have before anything of the batch is sent.

    Attributes:
        account: the journal is this account's from now on.
        intents: orders that are about to be written to IB.
        orders, executions, fills: what is known of orders, and what executions move positions by.
        facts: feedback for the breaker; the journal numbers it.
        fences: values that were taken, by scope, in their order.
        taken: up to where the breaker has taken the feedback.
        owed: the global cancel that is owed, if that has changed: a list of the one owed now, or of None.
        baselines: what is known of contracts; None: nothing new. Empty, the first time: that there was a list.
        forgotten: permanent ids of accepted orders of others that have gone.
        by_hand: what people have accepted.
    """

    account: str = ""
    intents: list[OrderRecord] = field(default_factory=list)
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    fills: list[LegFill] = field(default_factory=list)
    facts: list[tuple[Fact, Outcome | None]] = field(default_factory=list)
    fences: list[tuple[str, int]] = field(default_factory=list)
    taken: int = 0
    owed: list[OwedCancel | None] = field(default_factory=list)
    baselines: dict[int, Baseline] | None = None
    forgotten: list[int] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)

    def add(self, later: Keep) -> None:
        """Put what came later behind this."""
        self.account = later.account or self.account
        self.intents += later.intents
        self.orders.update(later.orders)
        self.executions += later.executions
        self.fills += later.fills
        self.facts += later.facts
        self.fences += later.fences
        self.taken = max(self.taken, later.taken)
        self.owed = later.owed or self.owed
        if later.baselines is not None:
            self.baselines = {**(self.baselines or {}), **later.baselines}
        self.forgotten += later.forgotten
        self.by_hand += later.by_hand

    def __bool__(self) -> bool:
        """Whether there is anything that must not wait for the next transaction."""
        return bool(
            self.account
            or self.intents
            or self.orders
            or self.executions
            or self.fills
            or self.facts
            or self.fences
            or self.owed
            or self.baselines is not None
            or self.forgotten
            or self.by_hand
        )


@dataclass(slots=True)
class Batch:
    """The effects of a step, in the order in which they happen.

    Where the journal takes nothing, no order leaves and no fact is told; cancels, questions and the answers to the
    breaker leave all the same: a full disk must not stop a stop.

    Attributes:
        keep: what is saved first.
        retry: save also if there is nothing new: the journal has failed before.
        frames: what leaves for IB.
        messages: what leaves for the breaker.
        resend_after: send all journaled feedback behind this number again.
        resend: journaled feedback that is to be sent again, with its numbers.
        rename: give the journal another id: it is an old copy.
        notes: lines for the log.
        more: another tick would bring more at once.
    """

    keep: Keep = field(default_factory=Keep)
    retry: bool = False
    frames: list[Frame] = field(default_factory=list)
    messages: list[FromExecutor] = field(default_factory=list)
    resend_after: int | None = None
    resend: list[tuple[int, bytes]] = field(default_factory=list)
    rename: bool = False
    notes: list[Note] = field(default_factory=list)
    more: bool = False

    def add(self, later: Batch) -> None:
        """Put what came later behind this: all of it is saved at once, then sent."""
        self.keep.add(later.keep)
        self.retry = self.retry or later.retry
        self.frames += later.frames
        self.messages += later.messages
        if later.resend_after is not None:
            before = self.resend_after
            self.resend_after = later.resend_after if before is None else min(before, later.resend_after)
        self.resend += later.resend
        self.rename = self.rename or later.rename
        self.notes += later.notes
        self.more = later.more
