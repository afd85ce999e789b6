"""The link `orders`: what strategies publish. docs/PROTOCOL.md tells more. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from orderfuse.bus.fields import Message, Nanos, OrderId, StrategyId, TtlMs


class Attached(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A child order of the same contract: one leg of a bracket, with an `order_id` of its own and the map `order`."""

    order_id: OrderId
    order: dict[str, Any]


class Submit(Message, frozen=True, kw_only=True, tag="submit"):
    """A strategy wants this order placed. `order_id` is unique for ever in this account."""

    order_id: OrderId
    strategy_id: StrategyId
    sent_ns: Nanos
    contract: dict[str, Any]
    order: dict[str, Any]
    ttl_ms: TtlMs = 5000
    account: Annotated[str, Meta(max_length=32)] = ""
    attached: Annotated[tuple[Attached, ...], Meta(max_length=5)] = ()
    protect: bool = False


class Cancel(Message, frozen=True, kw_only=True, tag="cancel"):
    """A strategy wants this order gone. `request_id` makes a resend harmless."""

    request_id: OrderId
    order_id: OrderId
    strategy_id: StrategyId
    sent_ns: Nanos


class Replace(Message, frozen=True, kw_only=True, tag="replace"):
    """A strategy wants a working order changed into `order`. `revision` grows from 1."""

    request_id: OrderId
    order_id: OrderId
    strategy_id: StrategyId
    sent_ns: Nanos
    revision: Annotated[int, Meta(ge=1, le=2**31)]
    order: dict[str, Any]
    ttl_ms: TtlMs = 5000


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """A strategy is alive. If it falls silent for `cancel_after_ms`, its working orders are cancelled; 0: never."""

    strategy_id: StrategyId
    sent_ns: Nanos
    cancel_after_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0


FromStrategy = Submit | Cancel | Replace | Heartbeat
