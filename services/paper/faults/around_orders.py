"""Faults around an order: what happens when one is placed, changed or cancelled. Data only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from services.paper.faults.families import Code, FaultError, How, Millis, OrderFault, Price, Text, Word
from services.paper.faults.texts import BEFORE_BOOKING


class RejectOrders(OrderFault, frozen=True, kw_only=True):
    """An order, change or cancel is refused with a code and a text of IB's."""

    code: Code = 201
    text: Text = ""  # empty: IB's own for this code
    sequence: Literal["error_first", "status_first", "error_only"] = "error_first"
    presubmitted: bool = False  # it is acknowledged first, and rejected after `wait_ms`
    wait_ms: Millis = 0

    @property
    def booked(self) -> bool:
        """Tell whether the order gets a permanent id and a status, as IB has it for this code."""
        return self.code not in BEFORE_BOOKING


class InactiveOrders(OrderFault, frozen=True, kw_only=True):
    """An order becomes Inactive, and no error says why; or (`why_held`) it is told to be held, and lives."""

    on: Literal["new"] = "new"
    why_held: Word = ""  # a list such as child,locate: it can be filled and cancelled, and waits for no price
    status: Literal["Inactive", "PreSubmitted"] = "Inactive"  # what a held one is told to be
    wait_ms: Millis = 0  # a held one works like any other after so long; 0: until it is filled or changed

    def __post_init__(self) -> None:
        """Refuse what only a held order can have.

        Raises:
            FaultError: it is not held.
        """
        if not self.why_held and (self.status != "Inactive" or self.wait_ms):
            raise FaultError("status and wait_ms are of an order that is held; give why_held as well", "why_held")


class WarnOrders(OrderFault, frozen=True, kw_only=True):
    """An error arrives for an order that is fine: 399, 404 (held for `wait_ms`), 10349 (a false cancel)."""

    code: Code = 399
    text: Text = ""
    wait_ms: Millis = 0


class DelayAnswers(OrderFault, frozen=True, kw_only=True):
    """What happens to an order is told late; it happens at once."""

    ms: Millis = 500


class SwallowOrders(OrderFault, frozen=True, kw_only=True):
    """No answer: the message never arrived, or (`booked`) it did and nothing is said of it."""

    booked: bool = False


class CutConnection(OrderFault, frozen=True, kw_only=True):
    """The connection breaks around an order: before it is read, after it is booked, or after a message of it."""

    at: Literal["before", "booked", "openOrder", "orderStatus", "execDetails", "commissionReport"] = "booked"
    how: How = "fin"


class PartialFills(OrderFault, frozen=True, kw_only=True):
    """An order is filled in pieces of at most `size`, one at each price step."""

    size: Annotated[float, Meta(gt=0, le=1e9)] = 1.0


class CorrectFills(OrderFault, frozen=True, kw_only=True):
    """A fill is corrected afterwards: one more execution, its id ending in .02, at another price."""

    price_change: Price = -0.01
    wait_ms: Millis = 0


class FillAfterCancel(OrderFault, frozen=True, kw_only=True):
    """A cancelled order is filled after all, `wait_ms` after Cancelled was told."""

    on: Literal["cancel"] = "cancel"
    wait_ms: Millis = 0


class TwinOrders(OrderFault, frozen=True, kw_only=True):
    """A change becomes a second order: same order id and reference, another permanent id; the first lives on."""

    on: Literal["modify"] = "modify"
    away: bool = False  # only a change that comes between the notices 1100 and 1101 or 1102


class UnknownAtFirst(OrderFault, frozen=True, kw_only=True):
    """An order is acknowledged late; until then it is listed nowhere, and a cancel is answered 10147 and not done."""

    on: Literal["new"] = "new"
    ms: Millis = 500


class VanishOrders(OrderFault, frozen=True, kw_only=True):
    """An order is gone without a status: right after it was acknowledged, or (`on=cancel`) with a 10147."""

    on: Literal["new", "cancel"] = "new"


class UnaskedCancels(OrderFault, frozen=True, kw_only=True):
    """An order is accepted, and cancelled `wait_ms` later although nobody asked; 202 gives `text` as the reason."""

    on: Literal["new"] = "new"
    text: Text = ""
    wait_ms: Millis = 0


class SlowCancels(OrderFault, frozen=True, kw_only=True):
    """A cancel takes its time; meanwhile the order can be filled, and another cancel is answered 10148."""

    on: Literal["cancel"] = "cancel"
    ms: Millis = 2000
