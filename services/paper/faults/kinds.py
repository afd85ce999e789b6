"""Every fault that can be played, by its name: `KINDS`, how one is read, and what of it is told to people.

A fault says when it happens, to whom, and what; nothing here does it. Four families have four places:
an `OrderFault` where an order is placed, changed or cancelled (before it is booked, or in what is told of it),
a `MessageFault` where one message leaves, a `RequestFault` where a request or a connection comes in, and an
`Action` whenever its time has come.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from orderfuse.text import MAX_VALUE, ROUGHLY_ALIKE, did_you_mean, plain
from services.paper.faults.around_orders import (
    CorrectFills,
    CutConnection,
    DelayAnswers,
    FillAfterCancel,
    InactiveOrders,
    PartialFills,
    RejectOrders,
    SlowCancels,
    SwallowOrders,
    TwinOrders,
    UnaskedCancels,
    UnknownAtFirst,
    VanishOrders,
    WarnOrders,
)
from services.paper.faults.at_a_moment import (
    CloseOfDay,
    Disconnect,
    FillOrders,
    Liquidity,
    LoggedOut,
    MarginValues,
    Midnight,
    MovePrice,
    NextId,
    Notice,
    ReadOnly,
    ReduceOrders,
    Restart,
    ServerVersion,
    TradeByHand,
)
from services.paper.faults.families import Fault, FaultError
from services.paper.faults.on_the_wire import (
    DuplicateMessages,
    LateMessages,
    OmitMessages,
    RefuseConnections,
    UnansweredRequests,
)

KINDS: dict[str, type[Fault]] = {
    "reject": RejectOrders,
    "inactive": InactiveOrders,
    "warn": WarnOrders,
    "delay": DelayAnswers,
    "swallow": SwallowOrders,
    "cut": CutConnection,
    "partial": PartialFills,
    "correct": CorrectFills,
    "fill_after_cancel": FillAfterCancel,
    "twin": TwinOrders,
    "unknown_at_first": UnknownAtFirst,
    "vanish": VanishOrders,
    "unasked_cancel": UnaskedCancels,
    "slow_cancel": SlowCancels,
    "omit": OmitMessages,
    "duplicate": DuplicateMessages,
    "late": LateMessages,
    "unanswered": UnansweredRequests,
    "refuse": RefuseConnections,
    "notice": Notice,
    "disconnect": Disconnect,
    "restart": Restart,
    "midnight": Midnight,
    "close": CloseOfDay,
    "next_id": NextId,
    "logged_out": LoggedOut,
    "server_version": ServerVersion,
    "read_only": ReadOnly,
    "margin": MarginValues,
    "fill": FillOrders,
    "reduce": ReduceOrders,
    "trade_by_hand": TradeByHand,
    "price": MovePrice,
    "liquidity": Liquidity,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def kind_of(fault: Fault) -> str:
    """Return the name of a fault's kind."""
    return _NAMES[type(fault)]


# ---------------------------------------------------------------- reading


def make_fault(kind: object, given: Mapping[str, Any], *, as_text: bool = False) -> Fault:
    """Return the fault of a kind with these fields.

    Args:
        kind: A name of `KINDS`.
        given: Values by field.
        as_text: The values are text, as a person types them.

    Raises:
        FaultError: There is no such kind or field, a value is not allowed, or one is missing.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultError(f"kind is {in_json(kind)}{_nearest(str(kind), KINDS)}")
    struct = KINDS[kind]
    hints = get_type_hints(struct, include_extras=True)
    values = {}
    for key, value in given.items():
        if key not in hints:
            known = ", ".join(struct.__struct_fields__)
            raise FaultError(f"unknown: {in_json(key)}{_nearest(key, hints)}; known for {kind}: {known}", key)
        try:
            values[key] = msgspec.convert(value, hints[key], strict=not as_text)
        except msgspec.ValidationError:
            what = allowed(hints[key])
            verb = "are" if "numbers" in what else "is"
            raise FaultError(f"{key} is {in_json(value)}; allowed {verb} {what}", key) from None
    missing = [field.name for field in msgspec.structs.fields(struct) if field.required and field.name not in values]
    if missing:
        raise FaultError(f"{kind} needs {missing[0]}: {allowed(hints[missing[0]])}", missing[0])
    return struct(**values)


def fields_of(fault: Fault) -> dict[str, Any]:
    """Return what makes a fault different from the plain one of its kind."""
    return {
        field.name: getattr(fault, field.name)
        for field in msgspec.structs.fields(type(fault))
        if field.required or getattr(fault, field.name) != field.default
    }


def describe_kinds() -> dict[str, dict[str, Any]]:
    """Return the table for people: what each kind does, and which fields it has with what allowed and default."""
    table = {}
    for name, struct in KINDS.items():
        hints = get_type_hints(struct, include_extras=True)
        rows = {
            field.name: allowed(hints[field.name])
            + (" (required)" if field.required else f" (default {in_json(field.default)})")
            for field in msgspec.structs.fields(struct)
        }
        table[name] = {"does": (struct.__doc__ or "").strip(), "fields": rows}
    return table


def allowed(hint: Any) -> str:
    """Return what a field of this type may be, in words."""
    if get_origin(hint) in (Union, types.UnionType):
        return allowed(next(part for part in get_args(hint) if part is not type(None)))
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if hint is bool:
        return "true or false"
    bare, meta = get_args(hint)
    if bare is str:
        return f"text of at most {meta.max_length} characters"
    low = f"above {meta.gt:g}" if meta.ge is None else f"from {meta.ge:g}"
    noun = "whole numbers" if bare is int else "numbers"
    return f"{noun} {low} to {meta.le:,.0f}".replace(",", "")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    return did_you_mean(name, known, alike=ROUGHLY_ALIKE) or f"; known are {', '.join(known)}"


def in_json(value: object) -> str:
    """Return a value for a text, short, as who asks has written it: the control socket speaks JSON."""
    return plain(json.dumps(value, default=str), MAX_VALUE)
