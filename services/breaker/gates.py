"""Everything that can keep an order, or the change of one, from going on: in the order in which it is asked. Pure.

What arrives, is no repeat and can be read passes `AT_ARRIVAL`, and waits in the queue of its strategy. At its turn it
passes `AT_ITS_TURN`, and is handed over. A new reason to refuse is one function here and one line in a list.

Most gates only ask. Some take what they ask for: a place among the strategies, the cancel that came first, one of the
pace, a slot of the circuits. They say so, and nothing is given back if a later gate says no; so none is asked of what
an earlier one has refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from orderfuse.bus.events import RequestRefusedCode
from orderfuse.bus.fields import RESERVED_STRATEGIES
from orderfuse.bus.orders import Replace, Submit
from orderfuse.ibfields.checks import TERMS
from orderfuse.text import shown
from services.breaker.circuits.scopes import SYSTEM, Refusal, strategy_scope
from services.breaker.control.last_failures import Failed
from services.breaker.core import Core
from services.breaker.dead_man import SILENT_REASON, DeadMan
from services.breaker.orders import Change, OrderRecord, new_change
from services.breaker.paces import Paces
from services.breaker.queues import Waiting, WaitingReplace
from services.breaker.refusals import Marks, Refusals
from services.breaker.remembered import RememberedCancels


@dataclass(frozen=True, slots=True)
class Fault:
    """What was asked cannot be carried out as it is, whatever the circuits say."""

    code: RequestRefusedCode
    reason: str


class Wait(Enum):
    """Neither yes nor no."""

    FOR_ROOM = "the window is full, or no executor is there to take it"


@dataclass(slots=True)
class Gates:
    """What the gates look at, beside the message itself. `allow`: fields of orders that a setting lets through."""

    core: Core
    refusals: Refusals
    marks: Marks
    dead_man: DeadMan
    allow: frozenset[str]
    remembered: RememberedCancels = field(default_factory=RememberedCancels)
    paces: Paces = field(init=False)
    # The replaces in the queues, by order; an order has one at most.
    changes_waiting: dict[str, WaitingReplace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paces = Paces(self.core.settings.max_orders_per_second)


@dataclass(frozen=True, slots=True)
class Arriving:
    """A message that wants an order of its strategy to go on."""

    message: Submit | Replace
    sender: str

    @property
    def strategy_id(self) -> str:
        """Whose it is."""
        return self.message.strategy_id


_Arriving = TypeVar("_Arriving", bound=Arriving)


@dataclass(frozen=True, slots=True)
class NewOrder(Arriving):
    """A submit that is an order, and new."""

    message: Submit


@dataclass(frozen=True, slots=True)
class NewTerms(Arriving):
    """A replace. `record`: the order that it would change, if there is one. `terms`: the whole new order, checked."""

    message: Replace
    record: OrderRecord | None
    terms: dict[str, Any]

    @property
    def order(self) -> OrderRecord:
        """The order that it would change."""
        assert self.record is not None, "whether there is one is the first that is asked of a replace"
        return self.record


# -- at arrival --------------------------------------------------------------------------------------------


def clock_is_right(gates: Gates, asked: Arriving) -> Fault | None:
    """Of a stamp too far ahead nobody could say how old it is."""
    allowed_ms = gates.core.settings.max_clock_skew_ms
    ahead_ms = gates.core.ahead_ns(asked.message.sent_ns) / 1e6
    if ahead_ms <= allowed_ms:
        return None
    reason = (
        f"sent_ns is {ahead_ms:.15g} ms ahead of the breaker's clock, allowed are {allowed_ms} ms "
        "(breaker.max_clock_skew_ms): the sender's clock and the breaker's differ, set them right"
    )
    return Fault("invalid", reason)


def was_not_refused_before_a_restart(gates: Gates, asked: Arriving) -> Refusal | None:
    """A no that an earlier process gave and did not keep on disk must stand."""
    nameless = not gates.core.scopes.has_passed(asked.strategy_id)
    if not gates.marks.may_have_been_refused(asked.strategy_id, asked.message.sent_ns, nameless=nameless):
        return None
    reason = "a breaker that is gone may have refused it: send it under a new id"
    return Refusal("rate_limit", reason, strategy_scope(asked.strategy_id))


def a_no_could_be_remembered(gates: Gates, asked: Arriving) -> Refusal | None:
    """Who has been refused so often that a further no would be forgotten sends nothing more."""
    payer = gates.core.scopes.payer(asked.strategy_id, asked.sender)
    if gates.refusals.has_room(payer, asked.strategy_id, gates.core.now):
        return None
    reason = "too many orders were refused lately; wait a while"
    return Refusal("queue_full", reason, strategy_scope(asked.strategy_id))


def strategy_has_a_place(gates: Gates, asked: Arriving) -> Refusal | None:
    """There are so many circuits and no more. It takes its place, which another strategy may lose for it."""
    if gates.core.scopes.open_for(asked.strategy_id, asked.sender) is not None:
        return None
    most = gates.core.settings.max_strategies
    return Refusal("too_many_strategies", f"there are {most} strategies already (breaker.max_strategies)", SYSTEM)


def no_cancel_came_before_it(gates: Gates, asked: Arriving) -> Refusal | None:
    """A cancel may be faster than its order. It is taken: of an order that comes once more, the answer is known."""
    key = (asked.strategy_id, asked.message.order_id)
    if not gates.remembered.take(key):
        return None
    gates.core.batch.remembered_cancels[key] = None
    return Refusal("cancelled", "its cancel came before it", strategy_scope(asked.strategy_id))


def strategy_lives(gates: Gates, asked: Arriving) -> Refusal | None:
    """The dead man's switch: who has fallen silent trades again with a heartbeat, not with an order."""
    if not gates.dead_man.is_silent(asked.strategy_id):
        return None
    return Refusal("cancelled", SILENT_REASON, strategy_scope(asked.strategy_id))


def pace_is_kept(gates: Gates, asked: Arriving) -> Refusal | None:
    """So many in a second, of which it takes one. The first excess of each second counts as a failure."""
    core, strategy_id, limit = gates.core, asked.strategy_id, gates.paces.limit
    if gates.paces.keeps(strategy_id, core.now, core.scopes.strategies):
        return None
    if gates.paces.is_new_excess(strategy_id, core.now):
        text = f"more than {limit} orders in a second (breaker.max_orders_per_second)"
        core.outcomes.strategy_failure(strategy_id, Failed(text, "rate_limit"))
    return Refusal("rate_limit", f"more than {limit} orders in a second", strategy_scope(strategy_id))


def queue_has_room(gates: Gates, asked: Arriving) -> Refusal | None:
    """So much of a strategy may wait."""
    if not gates.core.queues.is_full(asked.strategy_id):
        return None
    reason = f"{gates.core.settings.queue_limit} orders of this strategy wait already (breaker.queue_limit)"
    return Refusal("queue_full", reason, strategy_scope(asked.strategy_id))


def order_is_known(_: Gates, asked: NewTerms) -> Fault | None:
    """There is an order to change."""
    return None if asked.record else Fault("unknown_order", f"there is no order {asked.message.order_id}")


def order_is_its_own(_: Gates, asked: NewTerms) -> Fault | None:
    """No strategy changes another's order."""
    owner = asked.order.strategy_id
    return None if owner == asked.strategy_id else Fault("not_yours", f"the order belongs to strategy {owner}")


def order_works(_: Gates, asked: NewTerms) -> Fault | None:
    """IB has confirmed the order, and it lives."""
    match asked.order.state:
        case "working":
            return None
        case "done":
            return Fault("done", "the order has its end already")
        case "queued":
            return Fault("queued", "the order has not been sent on: cancel it and submit anew")
        case "out" | "unknown":
            return Fault("not_confirmed", "IB has not confirmed the order that it would change")


def order_is_somebodys(_: Gates, asked: NewTerms) -> Fault | None:
    """Of an order that was found at IB nobody can say what a change would do."""
    if asked.strategy_id not in RESERVED_STRATEGIES:
        return None
    return Fault("not_yours", "nobody knows whose order it is: it can only be cancelled")


def no_cancel_is_under_way(_: Gates, asked: NewTerms) -> Fault | None:
    """What is to go is not changed."""
    return Fault("cancelling", "the order is being cancelled") if asked.order.cancel_wanted else None


def no_other_change_is_under_way(gates: Gates, asked: NewTerms) -> Fault | None:
    """One at a time: of two nobody could say which one holds."""
    if asked.order.change is not None or asked.message.order_id in gates.changes_waiting:
        return Fault("busy", "another replace of this order is under way")
    return None


def revision_grows(_: Gates, asked: NewTerms) -> Fault | None:
    """What comes late must not undo what came after it."""
    last = asked.order.revision
    if asked.message.revision > last:
        return None
    return Fault("revision", f"revision is {asked.message.revision}, the last one was {last}")


def change_can_be_made_and_seen(_: Gates, asked: NewTerms) -> Fault | None:
    """IB takes such a change, and its list shows whether it was done."""
    old, new = asked.order.order, asked.terms
    for name in ("action", "orderType"):
        # IB refuses both (329), or takes them for another order.
        if new.get(name) != old.get(name):
            return Fault("invalid", f"order.{name} is {shown(new.get(name))}, it stays {old.get(name)!r}")
    if all(new.get(name) == old.get(name) for name in TERMS):
        # IB's list would look the same before and after: nobody could say truly whether it was done.
        return Fault("invalid", f"none of {', '.join(TERMS)} changes, so the change could not be told from none")
    return None


def _of(
    kind: type[_Arriving], gate: Callable[[Gates, _Arriving], Refusal | Fault | None]
) -> tuple[type[Arriving], Callable[[Gates, Any], Refusal | Fault | None]]:
    """A gate with what it is asked of."""
    return kind, gate


# With each gate what it is asked of: `NewOrder`, `NewTerms`, or both, which are `Arriving`.
AT_ARRIVAL = (
    _of(Arriving, clock_is_right),
    _of(NewOrder, was_not_refused_before_a_restart),
    _of(NewOrder, a_no_could_be_remembered),
    _of(NewOrder, strategy_has_a_place),
    _of(NewOrder, no_cancel_came_before_it),
    _of(NewTerms, order_is_known),
    _of(NewTerms, order_is_its_own),
    _of(NewTerms, order_works),
    _of(NewTerms, order_is_somebodys),
    _of(Arriving, strategy_lives),
    _of(NewTerms, no_cancel_is_under_way),
    _of(NewTerms, no_other_change_is_under_way),
    _of(NewTerms, revision_grows),
    _of(NewTerms, change_can_be_made_and_seen),
    _of(Arriving, pace_is_kept),
    _of(Arriving, queue_has_room),
)
_ASKED_OF = {kind: tuple(gate for of, gate in AT_ARRIVAL if issubclass(kind, of)) for kind in (NewOrder, NewTerms)}


def no_at_arrival(gates: Gates, asked: NewOrder | NewTerms) -> Refusal | Fault | None:
    """Why it does not even wait for its turn; None: it does."""
    return first_no(_ASKED_OF[type(asked)], gates, asked)


# -- at its turn -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """What has its turn.

    Attributes:
        item: what waits.
        record: the order itself, or the one that a replace would change, if that is still there.
        change: what a replace would do to it.
        takes_risk: an order, or a change that does more than lower a quantity.
    """

    item: Waiting
    record: OrderRecord | None
    change: Change | None = None
    takes_risk: bool = True


def turn_of(core: Core, item: Waiting) -> Turn:
    """The next of a queue, as the gates look at it."""
    if isinstance(item, OrderRecord):
        return Turn(item, item)
    record = core.orders.get(item.order_id)
    if record is None:
        return Turn(item, None)
    takes_risk = not only_lowers(record.order, item.order)
    replace = item.replace
    change = new_change(record, replace.request_id, replace.revision, item.order, counts=takes_risk)
    return Turn(item, record, change, takes_risk)


def only_lowers(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the new order is the old one with a lower quantity and nothing else changed."""
    rest_is_same = {**old, "totalQuantity": 0} == {**new, "totalQuantity": 0}
    return rest_is_same and float(new["totalQuantity"]) < float(old["totalQuantity"])


def there_is_something_to_change(_: Core, turn: Turn) -> Fault | None:
    """The order that a replace would change works on."""
    if isinstance(turn.item, OrderRecord):
        return None
    record = turn.record
    if record is not None and record.state == "working" and not record.cancel_wanted:
        return None
    return Fault("done", "the order has ended, or is being cancelled")


def is_young_enough(core: Core, turn: Turn) -> Fault | None:
    """Its time to live is not over; at exactly its end it is not."""
    return too_old(turn.item) if core.now > turn.item.expires_ns() else None


def too_old(item: Waiting) -> Fault:
    """What is said to something that waited too long."""
    return Fault("expired", f"too old at its turn (ttl_ms {item.ttl_ms})")


def window_has_a_place(core: Core, turn: Turn) -> Wait | None:
    """What would pass waits for a place in the window, and for an executor whose lease runs.

    What would not is answered without waiting, which could only make its answer late.
    """
    if core.has_room():
        return None
    waits = not turn.takes_risk or core.outcomes.would_admit(turn.item.strategy_id)
    return Wait.FOR_ROOM if waits else None


def circuits_admit(core: Core, turn: Turn) -> Refusal | None:
    """The circuit of the strategy, and then the system's: a slot of both. What only takes risk away needs none."""
    admitted = turn.change if turn.change is not None else turn.record
    return core.outcomes.admit(admitted) if turn.takes_risk and admitted is not None else None


AT_ITS_TURN: tuple[Callable[[Core, Turn], Refusal | Fault | Wait | None], ...] = (
    there_is_something_to_change,
    is_young_enough,
    window_has_a_place,
    circuits_admit,
)

_By = TypeVar("_By")
_Asked = TypeVar("_Asked")
_No = TypeVar("_No")


def first_no(gates: Sequence[Callable[[_By, _Asked], _No]], by: _By, asked: _Asked) -> _No | None:
    """What the first gate says that does not let it through; None: all do."""
    for gate in gates:
        no = gate(by, asked)
        if no is not None:
            return no
    return None
