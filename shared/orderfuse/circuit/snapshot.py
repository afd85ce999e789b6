"""A circuit breaker's memory as plain values, and back: what a restart needs and nothing else. Pure.

Moments are written as wall-clock stamps (`*_ns`, nanoseconds since 1970 UTC), because the monotonic clock
starts anew with the machine. Reading believes nothing: a snapshot is what a torn file, another version or a
curious person left behind, so each value is checked, and the first wrong one makes all of it unreadable.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from orderfuse.circuit.config import MAX_COUNT, MAX_SECS, MAX_TRIALS
from orderfuse.circuit.types import CircuitState

# Every order that is out is remembered until its outcome. A working pipeline has a handful out; at a hundred
# thousand (some 20 MB) nobody is recording outcomes, and going on would be flying blind.
MAX_ORDERS_OUT = 100_000
# Conditions are named by code and settings: a few dozen in a large installation.
MAX_CONDITIONS = 1_000

_MAX_INT = 2**63 - 1  # what msgpack carries; as a stamp, the year 2262
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Stamp = Annotated[int, Meta(ge=-_MAX_INT, le=_MAX_INT)]
_Count = Annotated[int, Meta(ge=0, le=_MAX_INT)]
# One more can follow it: each transition begins the next.
_Generation = Annotated[int, Meta(ge=1, le=_MAX_INT - 1)]
_Trials = Annotated[int, Meta(ge=0, le=MAX_TRIALS)]


class UnreadableSnapshotError(Exception):
    """A snapshot that is not one; says which value is wrong, not what it holds, which could be anything."""


class SavedFailure(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One failure of the window.

    Attributes:
        seen_ns: The stamp that its age is reckoned from, taken from the monotonic clock at the snapshot.
        at_ns: What the wall clock said when it happened, for people.
    """

    seen_ns: _Stamp
    at_ns: _Stamp


class SavedOrder(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One order that is out; `deadline_ns` only for a trial of the present generation."""

    order_id: str
    generation: _Generation
    trial: bool
    deadline_ns: _Stamp | None


class SavedCondition(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One condition that holds, and why."""

    name: str
    reason: str


class SavedCircuit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a breaker remembers over a restart; all moments by the wall clock.

    Attributes:
        v: The version of this layout.
        cause: Why OPEN; None in other states.
        conditions: Those that hold, oldest first.
        failures: Oldest first.
        row: Failures since the last success.
        wait_ns: The wait of the present or latest OPEN: where the backoff stands.
        closed_since_ns: When CLOSED began last.
        opened_at_ns: When the circuit opened, for people; None while CLOSED.
        open_until_ns: When OPEN's wait is over; None in other states.
        half_open_tries: Successful trials of this round.
        slots_succeeded: Those of them that had a slot.
        orders: The orders out, oldest first.
    """

    v: Literal[1] = 1
    state: CircuitState
    generation: _Generation
    latched: bool
    cause: str | None
    conditions: Annotated[list[SavedCondition], Meta(max_length=MAX_CONDITIONS)]
    failures: Annotated[list[SavedFailure], Meta(max_length=MAX_COUNT)]
    failure_count: _Count
    row: _Count
    wait_ns: Annotated[int, Meta(ge=1, le=MAX_SECS * 10**9)]
    closed_since_ns: _Stamp
    opened_at_ns: _Stamp | None
    open_until_ns: _Stamp | None
    half_open_tries: _Trials
    slots_succeeded: _Trials
    orders: Annotated[list[SavedOrder], Meta(max_length=MAX_ORDERS_OUT)]
    late: _Count
    unknown_ids: _Count

    def to_plain(self) -> dict[str, Any]:
        """The snapshot as dicts, lists, texts, whole numbers, booleans and None."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def to_wall_ns(moment: datetime) -> int:
    """An aware datetime as nanoseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def from_wall_ns(stamp_ns: int) -> datetime:
    """The aware datetime, UTC, of nanoseconds since 1970; whole microseconds."""
    return _EPOCH + timedelta(microseconds=stamp_ns // 1000)


def salvage_generation(snapshot: object) -> int:
    """The generation of an unreadable snapshot, so that generations only grow; 0 if that is unreadable too."""
    if type(snapshot) is dict:
        generation = snapshot.get("generation")
        if type(generation) is int and 0 < generation < _MAX_INT:
            return generation
    return 0


def read_snapshot(snapshot: object) -> SavedCircuit:
    """Check a snapshot, value by value.

    Raises:
        UnreadableSnapshotError: It is not what `SavedCircuit.to_plain` wrote.
    """
    # The version has a default for who writes; a snapshot without one was not written by us.
    if type(snapshot) is not dict or "v" not in snapshot:
        raise UnreadableSnapshotError("it is no snapshot, or v is missing")
    try:
        saved = msgspec.convert(snapshot, SavedCircuit)
    except msgspec.ValidationError as error:
        raise UnreadableSnapshotError(_what_is_wrong(error)) from None
    for contradiction, found in _contradictions(saved).items():
        if found:
            raise UnreadableSnapshotError(contradiction)
    return saved


def _what_is_wrong(error: msgspec.ValidationError) -> str:
    complaint, _, path = str(error).rpartition(" - at `$.")
    return f"{path.rstrip('`')} is not what it may be" if complaint else path.replace("`", "")


def _contradictions(saved: SavedCircuit) -> dict[str, bool]:
    """What values that are right one by one must not say together, and whether they do."""
    is_open, half_open = saved.state is CircuitState.OPEN, saved.state is CircuitState.HALF_OPEN
    generations = [order.generation for order in saved.orders]
    return {
        "a cause and not OPEN, or OPEN without one": (saved.cause is not None) != is_open,
        "an end of the wait and not OPEN, or OPEN without one": (saved.open_until_ns is not None) != is_open,
        "CLOSED and opened, or neither": (saved.opened_at_ns is not None) != (is_open or half_open),
        "latched and not OPEN": saved.latched and not is_open,
        "trials outside HALF_OPEN": not half_open and saved.half_open_tries > 0,
        "more trials succeeded in slots than in all": saved.slots_succeeded > saved.half_open_tries,
        "a condition twice": len({condition.name for condition in saved.conditions}) != len(saved.conditions),
        "an order out twice": len({order.order_id for order in saved.orders}) != len(saved.orders),
        "orders out of their order": generations != sorted(generations),
        "an order of a generation to come": bool(generations) and generations[-1] > saved.generation,
        "a deadline of no trial, or a trial without one": any(
            (order.deadline_ns is not None) != (half_open and order.generation == saved.generation)
            for order in saved.orders
        ),
    }
