"""One order as the breaker knows it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import msgspec

from orderfuse.bus.orders import Submit

OrderState = Literal["queued", "out", "working", "unknown", "done"]
Settled = Literal["", "success", "failure", "neutral"]


@dataclass(slots=True, eq=False)
class Change:
    """A replace that was passed on and has no answer yet. The circuits see it as an order of its own.

    `order_id`: what the circuits call it; no order has a `~` in its id. `counts`: it went through them.
    """

    order_id: str
    strategy_id: str
    request_id: str
    revision: int
    order: dict[str, Any]
    counts: bool
    system_generation: int = 0
    strategy_generation: int = 0
    trial: bool = False
    settled: Settled = ""


@dataclass(slots=True, eq=False)
class OrderRecord:
    """An order and all that was decided and told of it.

    `state`: `queued` waits here; `out` is beyond the breaker without IB's answer; `working` is at IB;
    `unknown` got no answer in time; `done` has its end. Times are monotonic nanoseconds of this process.
    """

    order_id: str
    strategy_id: str
    digest: bytes
    account: str
    contract: dict[str, Any]
    order: dict[str, Any]
    protect: bool
    ttl_ms: int
    arrived_ns: int
    age_at_arrival_ns: int
    # By the wall clock, for people.
    arrived_wall_ns: int = 0
    ahead_at_arrival_ns: int = 0
    state: OrderState = "queued"
    # The program that has sent it, where the system tells.
    sender: str = ""
    # Its place in the order of arrival, while it waits.
    queue_number: int = 0
    passed_ns: int = 0
    passed_wall_ns: int = 0
    system_generation: int = 0
    strategy_generation: int = 0
    trial: bool = False
    accepted: bool = False
    settled: Settled = ""
    filled: float = 0.0
    # Of what is filled.
    avg_price: float = 0.0
    ib_order_id: int = 0
    perm_id: int = 0
    cancel_wanted: bool = False
    cancel_request_id: str | None = None
    # When the executor was asked last.
    cancel_asked_ns: int = 0
    # The cancels that wait for their answer, and those that IB has refused.
    cancels: tuple[str, ...] = ()
    refused_cancels: tuple[str, ...] = ()
    # A bracket: the ids of its legs, in the parent; the parent's id, in each leg.
    attached: list[str] = field(default_factory=list)
    parent: str = ""
    # The highest revision that was passed on, and the change that IB has not answered.
    revision: int = 0
    change: Change | None = None
    # The journal of the executor that it was handed to: only that one can prove that it never had it.
    executor_journal: str = ""
    # The event that ended it, while that stands.
    end: dict[str, Any] | None = None
    first_event: dict[str, Any] | None = None
    last_event: dict[str, Any] | None = None

    @property
    def quantity(self) -> float:
        """`totalQuantity`; 0 for an order of which only its id is known."""
        return float(self.order.get("totalQuantity", 0.0))

    def age_ns(self, now_ns: int) -> int:
        """How old the order is: its age when it arrived and the time since."""
        return self.age_at_arrival_ns + now_ns - self.arrived_ns

    def expires_ns(self) -> int:
        """The last moment (monotonic) at which the order may still be sent on."""
        return self.arrived_ns - self.age_at_arrival_ns + self.ttl_ms * 1_000_000

    @property
    def scope(self) -> str:
        """The scope of its strategy's circuit."""
        return f"strategy:{self.strategy_id}"

    def has_passed(self) -> bool:
        """Whether it was handed over, or found at IB: only such an order can ever be there twice."""
        return bool(self.passed_wall_ns or self.perm_id or self.ib_order_id)

    def in_window(self) -> bool:
        """Beyond the breaker without IB's answer, and not yet given up as unknown."""
        return self.state == "out"

    def doubtful(self) -> bool:
        """Beyond the breaker, and IB has said nothing about it yet."""
        return self.state in ("out", "unknown") and not self.accepted


class Move(Enum):
    """What can happen to an order as a whole."""

    HAND_OVER = "it is handed over"
    FIND = "an earlier life of its id is at IB"
    ANSWER = "IB says that it has it"
    REVIVE = "IB says that it lives after all"
    DOUBT = "nobody knows whether IB has it"
    END = "it ends"


# Which state follows. What is not here cannot happen. An answer after the end (a commission, a late fill) changes
# nothing by itself; an end after an end takes its place; an order that was found at IB twice is doubted again.
MOVES: dict[Move, dict[OrderState, OrderState]] = {
    # A leg may have been found at IB while its parent waited: it goes along all the same, and what becomes of the unit
    # the executor says, which knows the id.
    Move.HAND_OVER: {"queued": "out", "out": "out", "working": "out", "unknown": "out"},
    Move.FIND: {"queued": "out"},
    Move.ANSWER: {"out": "working", "unknown": "working", "working": "working", "done": "done"},
    Move.REVIVE: {"done": "working"},
    Move.DOUBT: {"out": "unknown", "working": "unknown", "done": "unknown"},
    Move.END: {"queued": "done", "out": "done", "working": "done", "unknown": "done", "done": "done"},
}


def move(record: OrderRecord, what: Move) -> None:
    """The only way from one state to another. `Core.move` does with it all that goes along."""
    state = MOVES[what].get(record.state)
    assert state is not None, f"{record.order_id} is {record.state}: it cannot be that {what.value}"
    record.state = state


def new_change(record: OrderRecord, request_id: str, revision: int, order: dict[str, Any], *, counts: bool) -> Change:
    """A change of this order to the whole new `order`."""
    return Change(
        order_id=f"{record.order_id}~{revision}",
        strategy_id=record.strategy_id,
        request_id=request_id,
        revision=revision,
        order=order,
        counts=counts,
    )


def new_record(
    submit: Submit, contract: dict[str, Any], order: dict[str, Any], sender: str, **times: int
) -> OrderRecord:
    """The record of an order that has just arrived. `times`: `arrived_ns` and what follows it."""
    return OrderRecord(
        order_id=submit.order_id,
        strategy_id=submit.strategy_id,
        digest=digest_of(submit),
        account=submit.account,
        contract=contract,
        order=order,
        protect=submit.protect,
        ttl_ms=submit.ttl_ms,
        arrived_ns=times["arrived_ns"],
        age_at_arrival_ns=times["age_at_arrival_ns"],
        arrived_wall_ns=times["arrived_wall_ns"],
        ahead_at_arrival_ns=times["ahead_at_arrival_ns"],
        sender=sender,
    )


def digest_of(submit: Submit) -> bytes:
    """What makes two submits of one id the same order; when it was sent does not."""
    content = (
        submit.strategy_id,
        submit.account,
        submit.contract,
        submit.order,
        [(child.order_id, child.order) for child in submit.attached],
        submit.protect,
    )
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).digest()
