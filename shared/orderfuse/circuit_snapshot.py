"""A circuit breaker's memory as plain values, and back: what a restart needs and nothing else.

Moments are written as wall-clock stamps (`*_ns`, nanoseconds since 1970 UTC), because the monotonic clock
starts anew with the machine. Reading believes nothing: a snapshot is what a torn file, another version or a
curious person left behind, so each value is checked, and the first wrong one makes all of it unreadable.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from orderfuse.circuit_config import MAX_COUNT, MAX_SECS, MAX_TRIALS
from orderfuse.circuit_types import CircuitState

VERSION = 1

# Every order that is out is remembered until its outcome. A working pipeline has a handful out; at a hundred
# thousand (some 20 MB) nobody is recording outcomes, and going on would be flying blind.
MAX_ORDERS_OUT = 100_000
# Conditions are named by code and settings: a few dozen in a large installation.
MAX_CONDITIONS = 1_000

_MAX_INT = 2**63 - 1  # what msgpack carries; as a stamp, the year 2262
_MAX_WAIT_NS = MAX_SECS * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnreadableSnapshotError(Exception):
    """A snapshot that is not one; says which value is wrong, not what it holds, which could be anything."""


@dataclass(frozen=True, slots=True)
class SavedFailure:
    """One failure of the window.

    Attributes:
        seen_ns: The stamp that its age is reckoned from, taken from the monotonic clock at the snapshot.
        at_ns: What the wall clock said when it happened, for people.
    """

    seen_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SavedOrder:
    """One order that is out; `deadline_ns` only for a trial of the present generation."""

    order_id: str
    generation: int
    trial: bool
    deadline_ns: int | None


@dataclass(frozen=True, slots=True)
class SavedCircuit:
    """Everything a breaker remembers over a restart; all moments by the wall clock.

    Attributes:
        cause: Why OPEN; None in other states.
        conditions: Name and reason of each condition that holds, oldest first.
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

    state: CircuitState
    generation: int
    latched: bool
    cause: str | None
    conditions: tuple[tuple[str, str], ...]
    failures: tuple[SavedFailure, ...]
    failure_count: int
    row: int
    wait_ns: int
    closed_since_ns: int
    opened_at_ns: int | None
    open_until_ns: int | None
    half_open_tries: int
    slots_succeeded: int
    orders: tuple[SavedOrder, ...]
    late: int
    unknown_ids: int

    def to_plain(self) -> dict[str, Any]:
        """The snapshot as dicts, lists, texts, whole numbers, booleans and None."""
        plain = asdict(self)
        plain["v"] = VERSION
        plain["state"] = self.state.name
        plain["conditions"] = [list(condition) for condition in self.conditions]
        plain["failures"] = [[failure.seen_ns, failure.at_ns] for failure in self.failures]
        plain["orders"] = [[o.order_id, o.generation, o.trial, o.deadline_ns] for o in self.orders]
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
    plain = _Plain(snapshot)
    if plain.whole("v", highest=_MAX_INT) != VERSION:
        _refuse("v is of another version")
    state = plain.state("state")
    generation = plain.whole("generation", lowest=1, highest=_MAX_INT - 1)
    saved = SavedCircuit(
        state=state,
        generation=generation,
        latched=plain.flag("latched"),
        cause=plain.text_if(state is CircuitState.OPEN, "cause"),
        conditions=tuple(_conditions(plain.items("conditions", MAX_CONDITIONS))),
        failures=tuple(_failures(plain.items("failures", MAX_COUNT))),
        failure_count=plain.whole("failure_count", highest=_MAX_INT),
        row=plain.whole("row", highest=_MAX_INT),
        wait_ns=plain.whole("wait_ns", lowest=1, highest=_MAX_WAIT_NS),
        closed_since_ns=plain.stamp("closed_since_ns"),
        opened_at_ns=plain.stamp_if(state is not CircuitState.CLOSED, "opened_at_ns"),
        open_until_ns=plain.stamp_if(state is CircuitState.OPEN, "open_until_ns"),
        half_open_tries=plain.whole("half_open_tries", highest=MAX_TRIALS),
        slots_succeeded=plain.whole("slots_succeeded", highest=MAX_TRIALS),
        orders=tuple(_orders(plain.items("orders", MAX_ORDERS_OUT))),
        late=plain.whole("late", highest=_MAX_INT),
        unknown_ids=plain.whole("unknown_ids", highest=_MAX_INT),
    )
    _check_whole(saved)
    return saved


def _refuse(why: str) -> NoReturn:
    raise UnreadableSnapshotError(why)


def _is_whole(value: object, lowest: int, highest: int) -> bool:
    # The exact type: a bool is no number here, and a subclass could do anything when it is compared.
    return type(value) is int and lowest <= value <= highest


class _Plain:
    """The entries of a snapshot, each read as the one type it must have."""

    def __init__(self, snapshot: object) -> None:
        if type(snapshot) is not dict:
            _refuse("it is no map")
        self._entries: dict[object, Any] = snapshot

    def _entry(self, key: str) -> Any:
        if key not in self._entries:
            _refuse(f"{key} is missing")
        return self._entries[key]

    def whole(self, key: str, *, lowest: int = 0, highest: int) -> int:
        value = self._entry(key)
        if not _is_whole(value, lowest, highest):
            _refuse(f"{key} is no whole number in its range")
        return int(value)

    def stamp(self, key: str) -> int:
        return self.whole(key, lowest=-_MAX_INT, highest=_MAX_INT)

    def flag(self, key: str) -> bool:
        value = self._entry(key)
        if type(value) is not bool:
            _refuse(f"{key} is neither true nor false")
        return bool(value)

    def text(self, key: str) -> str:
        value = self._entry(key)
        if type(value) is not str:
            _refuse(f"{key} is no text")
        return str(value)

    def stamp_if(self, expected: bool, key: str) -> int | None:
        return self.stamp(key) if expected else self._nothing(key)

    def text_if(self, expected: bool, key: str) -> str | None:
        return self.text(key) if expected else self._nothing(key)

    def _nothing(self, key: str) -> Any:
        if self._entry(key) is not None:
            _refuse(f"{key} has no place in this state")
        return None

    def state(self, key: str) -> CircuitState:
        name = self.text(key)
        if name not in CircuitState.__members__:
            _refuse(f"{key} is no state")
        return CircuitState[name]

    def items(self, key: str, highest: int) -> list[Any]:
        value = self._entry(key)
        if type(value) not in (list, tuple) or len(value) > highest:  # some msgpack readers give tuples
            _refuse(f"{key} is no list of at most {highest}")
        return list(value)


def _row_of(item: Any, length: int, key: str) -> list[Any]:
    if type(item) not in (list, tuple) or len(item) != length:
        _refuse(f"{key} holds something else")
    return list(item)


def _conditions(items: list[Any]) -> list[tuple[str, str]]:
    pairs = [_row_of(item, 2, "conditions") for item in items]
    if any(type(text) is not str for pair in pairs for text in pair):
        _refuse("conditions holds something else")
    if len({name for name, _ in pairs}) != len(pairs):
        _refuse("conditions names one twice")
    return [(name, reason) for name, reason in pairs]


def _failures(items: list[Any]) -> list[SavedFailure]:
    pairs = [_row_of(item, 2, "failures") for item in items]
    if not all(_is_whole(stamp, -_MAX_INT, _MAX_INT) for pair in pairs for stamp in pair):
        _refuse("failures holds something else")
    return [SavedFailure(seen_ns, at_ns) for seen_ns, at_ns in pairs]


def _orders(items: list[Any]) -> list[SavedOrder]:
    orders = []
    for order_id, generation, trial, deadline_ns in (_row_of(item, 4, "orders") for item in items):
        if (
            type(order_id) is not str
            or not _is_whole(generation, 1, _MAX_INT)
            or type(trial) is not bool
            or not (deadline_ns is None or _is_whole(deadline_ns, -_MAX_INT, _MAX_INT))
        ):
            _refuse("orders holds something else")
        orders.append(SavedOrder(order_id, generation, trial, deadline_ns))
    return orders


def _check_whole(saved: SavedCircuit) -> None:
    """Refuse values that are right one by one and contradict each other."""
    half_open = saved.state is CircuitState.HALF_OPEN
    generations = [order.generation for order in saved.orders]
    contradictions = {
        "latched and not OPEN": saved.latched and saved.state is not CircuitState.OPEN,
        "trials outside HALF_OPEN": not half_open and saved.half_open_tries > 0,
        "more trials succeeded in slots than in all": saved.slots_succeeded > saved.half_open_tries,
        "an order out twice": len({order.order_id for order in saved.orders}) != len(saved.orders),
        "orders out of their order": generations != sorted(generations),
        "an order of a generation to come": bool(generations) and generations[-1] > saved.generation,
        "a deadline of no trial, or a trial without one": any(
            (order.deadline_ns is not None) != (half_open and order.generation == saved.generation)
            for order in saved.orders
        ),
    }
    for contradiction, found in contradictions.items():
        if found:
            _refuse(contradiction)
