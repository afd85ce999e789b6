"""The link `control`: what people and their programs ask. docs/PROTOCOL.md tells more. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from orderfuse.bus.fields import (
    ConditionName,
    Generation,
    IbId,
    Nanos,
    OrderId,
    Price,
    Reason,
    Scope,
    Shares,
    StrategyId,
    Who,
)


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """A request on `control`. Unknown keys are ignored."""

    id: str | int


CancelScope = Literal["none", "ours", "ours_with_protective", "all"]


class StatusRequest(Request, frozen=True, kw_only=True, tag="status"):
    """How everything stands."""


class TripRequest(Request, frozen=True, kw_only=True, tag="trip"):
    """Stop now, latched."""

    reason: Reason
    scope: Scope = "system"
    cancel: CancelScope | None = None
    who: Who = ""


class ResetRequest(Request, frozen=True, kw_only=True, tag="reset"):
    """Trade again. `stale` if `generation` is given and is no longer the present one."""

    reason: Reason
    scope: Scope = "system"
    generation: Generation | None = None
    who: Who = ""


class OrdersRequest(Request, frozen=True, kw_only=True, tag="orders"):
    """Orders by strategy, id, state or time of arrival: the newest first, or with `after` the oldest.

    `before` takes what the reply before it gave as `next`, and so does `after`. `limit`: 50, with `after` 1000.
    """

    strategy_id: StrategyId | None = None
    order_id: OrderId | None = None
    state: Literal["queued", "out", "working", "unknown", "done"] | None = None
    since_ns: Nanos | None = None
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None


class EventsRequest(Request, frozen=True, kw_only=True, tag="events"):
    """Journaled events of one topic after `after_seq`."""

    topic: Annotated[str, Meta(min_length=1, max_length=64)]
    after_seq: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class ReportRequest(Request, frozen=True, kw_only=True, tag="report"):
    """A process reports a failure, or a condition that holds or is over. `reporter` is the name of that process."""

    what: Literal["failure", "condition"]
    name: ConditionName
    reason: Reason
    scope: Scope = "system"
    holds: bool = True
    reporter: Who = ""
    who: Who = ""


class ResolveRequest(Request, frozen=True, kw_only=True, tag="resolve"):
    """A person says how an unknown order ended; `shares` at the average `price` if it was filled."""

    order_id: OrderId
    as_: Literal["not_placed", "cancelled", "filled"] = msgspec.field(name="as")
    reason: Reason
    shares: Shares | None = None
    price: Price | None = None
    who: Who = ""


class CancelRequest(Request, frozen=True, kw_only=True, tag="cancel"):
    """A person wants this order gone, whoever's it is."""

    order_id: OrderId
    reason: Reason
    who: Who = ""


# Of each kind so many are told; the executor's log has all. With their names they stay inside a frame.
MAX_TOLD = 50


class SeenDrift(msgspec.Struct, frozen=True, kw_only=True):
    """A difference, identified by what `status` said of it: if any of that has changed, it is another one."""

    con_id: int
    expected: float
    actual: float


class SeenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody else's order, identified by what `status` said of it: if any of that has changed, it is another one."""

    perm_id: int
    client_id: int
    ib_order_id: int
    action: str
    quantity: float
    order_type: str
    con_id: int


class AcceptRequest(Request, frozen=True, kw_only=True, tag="accept"):
    """A person has looked at what others did in the account, and takes it as it is.

    `drift`: what IB holds is expected from now on, of the contract `con_id` or of all that differ. `foreign`: the open
    orders of others that are told now are told no more. With `seen` (maps as `status` told them: `SeenDrift`,
    `SeenOrder`) only what stands just so is accepted.
    """

    what: Literal["drift", "foreign"]
    reason: Reason
    con_id: IbId | None = None
    seen: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MAX_TOLD)] | None = None
    who: Who = ""
