"""What all parts of the stage share: the gateway's life, the orders, the present time, the batch to come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from msgspec import structs

from services.executor.account.position_breaks import Baseline, LegFill
from services.executor.batch import Batch, Keep
from services.executor.global_cancel import OwedCancel
from services.executor.orders.found_orders import FoundOrders
from services.executor.orders.ledger import Ledger
from services.executor.orders.records import Effects, OrderRecord
from services.executor.orders.records import History as OrderHistory
from services.gateway.life import Life
from services.runtime.notes import info, warning
from services.runtime.now import Now
from services.wire.feedback import Fact, Outcome, Tripped
from services.wire.standing import ForeignOrder, GatewayStatus

# IB repeats some codes with every message: one trip a minute for each says it all.
TRIP_AGAIN_SECS = 60.0


class JournalUnread(Exception):
    """The disk does not tell what the journal has.

    Raised only before the work in hand has changed anything, so it can be dropped.
    """


class History(OrderHistory, Protocol):
    """What the journal can be asked; each question may raise `JournalUnread`."""

    @property
    def taken(self) -> int:
        """Up to where the breaker has taken the feedback."""

    def find_fill(self, base: str) -> LegFill | None:
        """The fill of the execution with this id without its revision."""

    def has_accepted(self, number: int) -> bool:
        """Whether what has this number was accepted already."""

    def feedback_of(self, order_id: str) -> list[tuple[int, bytes]]:
        """Journaled feedback about one order, in order."""

    def feedback_range(self) -> tuple[int, int]:
        """The first number of feedback that is still there, and the last one given."""


@dataclass(slots=True)
class Saved:
    """What the journal had at the start.

    Attributes:
        journal_id: of the journal itself.
        highest_ib_order_id: the highest of IB's order ids ever used here.
        orders: those that have not ended, or of a change of which something is still to be heard.
        fences: the highest value of the fence that was taken, of each scope.
        owed: the global cancel that is owed.
        fills: all fills, added up by contract.
        baselines: what is known of contracts; None before the first list of positions.
        accepted: orders of others that a person has accepted.
    """

    journal_id: str
    highest_ib_order_id: int = 0
    orders: list[OrderRecord] = field(default_factory=list)
    fences: dict[str, int] = field(default_factory=dict)
    owed: OwedCancel | None = None
    fills: list[LegFill] = field(default_factory=list)
    baselines: list[Baseline] | None = None
    accepted: list[ForeignOrder] = field(default_factory=list)


@dataclass(slots=True)
class Core:
    """The state that the parts of the stage have in common."""

    life: Life
    ledger: Ledger
    history: History
    found_orders: FoundOrders
    now: Now = field(default_factory=lambda: Now(0, 0))
    batch: Batch = field(default_factory=Batch)
    # What was handed out to be saved, and is not known to be on the disk.
    handed: Keep = field(default_factory=Keep)
    # What the journal has not taken, and why; without a journal no order leaves.
    unsaved: Keep = field(default_factory=Keep)
    journal_error: str = ""
    # What it did not tell when it was asked.
    unread: str = ""
    _tripped_at: dict[int, float] = field(default_factory=dict)

    @property
    def keep(self) -> Keep:
        """What is to be saved with this batch."""
        return self.batch.keep

    def take(self, effects: Effects) -> None:
        """Take what a step of the ledger brought."""
        self.batch.notes += [info(text) for text in effects.notes] + [warning(text) for text in effects.alarms]
        if effects.look_up:
            self.life.look_up()
        self.keep.facts += [entry for entry in effects.facts if not self._is_repeat(entry[0])]
        self.keep.orders.update(effects.orders)
        self.keep.executions += effects.executions
        self.keep.fills += effects.fills
        for record in effects.orders.values():
            # The journal takes no new order at or below the highest number of those it has.
            self.life.ids.on_kept(record.ib_order_id)

    def tell(self, fact: Fact, outcome: Outcome | None = None) -> None:
        """Tell the breaker a fact that changes nothing in the ledger."""
        if not self._is_repeat(fact):
            self.keep.facts.append((fact, outcome))

    def _is_repeat(self, fact: Fact) -> bool:
        if not isinstance(fact, Tripped):
            return False
        before = self._tripped_at.get(fact.ib_code, float("-inf"))
        if self.now.secs - before < TRIP_AGAIN_SECS:
            return True
        self._tripped_at[fact.ib_code] = self.now.secs
        return False

    def was_at_ib(self, order_id: str) -> bool:
        """Whether an order with this id was ever meant to be written, or IB has ever listed one that nobody knows."""
        return self.ledger.knows(order_id) or self.found_orders.knows(order_id)

    def fill_of(self, base: str) -> LegFill | None:
        """The fill of an execution as it was counted last."""
        unsaved = (fill for keep in self._not_on_disk for fill in reversed(keep.fills) if fill.base == base)
        return next(unsaved, None) or self.history.find_fill(base)

    def has_accepted(self, number: int) -> bool:
        """Whether what has this number was accepted already."""
        unsaved = any(each.message.number == number for keep in self._not_on_disk for each in keep.by_hand)
        return unsaved or self.history.has_accepted(number)

    @property
    def _not_on_disk(self) -> tuple[Keep, ...]:
        """What is known and cannot be read from the disk yet, the latest first."""
        return self.keep, self.unsaved, self.handed

    def without_journal(self, status: GatewayStatus) -> GatewayStatus:
        """The gateway's status; without a journal the gateway is of no use."""
        trouble = self.journal_error or self.unread
        return structs.replace(status, usable=False, detail=trouble, planned=False) if trouble else status
