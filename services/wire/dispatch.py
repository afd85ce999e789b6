"""The link `dispatch`: the breaker hands orders over, the executor says who it is and asks for its lease. Pure."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from orderfuse.bus.control import MAX_TOLD
from orderfuse.bus.fields import Message
from orderfuse.bus.orders import Attached
from services.wire.standing import Drift, ForeignOrder, GatewayStatus


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """An executor asks to be the one.

    The same journal means the successor of the one before: the journal's lock lets only one process have it.
    """

    executor_id: str
    journal_id: str
    gateway: GatewayStatus
    # The oldest feedback that the journal still has; what came before can't be sent again.
    feedback_first: int = 1
    # The number of its newest feedback. Below what the breaker has taken, the journal is an old copy.
    feedback_last: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    # Up to where a breaker has taken it, as far as the journal knows: a breaker that has lost its own journal need not
    # tell all of that once more.
    feedback_taken: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    # The highest fence of each scope that the journal has taken: what the breaker itself may have forgotten.
    fences: dict[str, int] = msgspec.field(default_factory=dict)


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The breaker takes this executor. `doubtful`: orders handed over that IB has not answered.

    The executor takes the fence, sends feedback again from behind `feedback_after`, and answers `Joined`.
    `owed`: the number of the global cancel that is still to be carried out, 0 for none; any other has ended.
    `tell_open`: the breaker knows nothing of this journal, and wants to hear of every order in it that has no end.
    `journal_id`: the journal that the hello named; one that has another name by now was not taken in.
    """

    fence: int
    doubtful: list[str]
    feedback_after: int
    owed: int = 0
    tell_open: bool = False
    journal_id: str = ""


class NotWelcome(Message, frozen=True, kw_only=True, tag="not_welcome"):
    """The breaker has an executor that lives, or asks this one to say hello first.

    `rename`: the executor's journal is an old copy of one that told more; it needs an id of its own. A process
    that was taken in before has no old copy: its hello came before it told more, and it says hello again.
    """

    reason: str
    rename: bool = False


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    """The executor has taken the fence. Of the doubtful orders its journal knows `known`; the others it never had.

    `in_doubt`: orders of which it does not know whether IB has them; a person may have resolved some of them.
    """

    executor_id: str
    fence: int
    known: list[str]
    in_doubt: list[str] = msgspec.field(default_factory=list)


class LeaseRequest(Message, frozen=True, kw_only=True, tag="lease_request"):
    """The executor asks for leave to place orders, counted from when it asked. Also its heartbeat."""

    executor_id: str
    nonce: int
    gateway: GatewayStatus


class Lease(Message, frozen=True, kw_only=True, tag="lease"):
    """Leave to place orders for `lease_ms` from the request with this nonce. `feedback_taken`: journaled here.

    `fence`: the highest number of any scope.
    """

    nonce: int
    fence: int
    lease_ms: int
    feedback_taken: int


class Fence(Message, frozen=True, kw_only=True, tag="fence"):
    """From now on an order of this scope may be written only if it carries this fence, or a later one.

    Of `system`: any order. The numbers grow over all scopes.
    """

    fence: int
    scope: str = "system"


class Fenced(Message, frozen=True, kw_only=True, tag="fenced"):
    """The fence holds, and with it all lower ones.

    `written`: what is written to IB and not answered by it yet; of an order its id, of a change `order_id~revision`.
    """

    executor_id: str
    fence: int
    written: list[str]


class Place(Message, frozen=True, kw_only=True, tag="place"):
    """Place this order if the fence is still current, the lease valid and the time not up."""

    order_id: str
    strategy_id: str
    account: str
    contract: dict[str, Any]
    order: dict[str, Any]
    protect: bool
    fence: int
    scope: str
    ttl_left_ms: int
    # Legs of a bracket, written together with it or not at all.
    attached: tuple[Attached, ...] = ()


class ReplaceOrder(Message, frozen=True, kw_only=True, tag="replace_order"):
    """Change this order into `order`, if IB has confirmed it on this connection and all holds that a `Place` needs.

    A revision that was on its way to IB before is not written again; what is known of it is told again.
    """

    order_id: str
    strategy_id: str
    account: str
    contract: dict[str, Any]
    order: dict[str, Any]
    request_id: str
    revision: int
    fence: int
    scope: str
    ttl_left_ms: int


class CancelOrder(Message, frozen=True, kw_only=True, tag="cancel_order"):
    """Cancel this order at IB, or refuse it if it is not written yet. `request_id` is the strategy's, if one asked."""

    order_id: str
    request_id: str | None = None


class GlobalCancel(Message, frozen=True, kw_only=True, tag="global_cancel"):
    """Cancel every order of the account, manual ones too (`reqGlobalCancel`).

    It is owed until IB lists none of the orders that it listed then, for at most `left_ms` from now on.
    `number` is its own: told again it is the same one.
    """

    reason: str
    number: int
    left_ms: int


class EndGlobalCancel(Message, frozen=True, kw_only=True, tag="end_global_cancel"):
    """The global cancel with this number is owed no more: whatever it has not reached works on."""

    number: int


class ExpectedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A replace that may have been done."""

    request_id: str
    revision: int
    terms: dict[str, Any]


class Expect(Message, frozen=True, kw_only=True, tag="expect"):
    """IB may have this order: it was handed to an executor whose journal was another one. Look it up.

    An executor that knows the order ignores this. `accepted`: IB has said that it has it.
    """

    order_id: str
    strategy_id: str
    ib_order_id: int
    perm_id: int
    quantity: float
    tif: str
    combo: bool
    protect: bool
    placed_ns: int
    accepted: bool
    parent: str
    legs: int
    # A replace that has no answer: its request, its revision, and what can be seen of it in IB's list.
    change: ExpectedChange | None = None
    oca_group: str = ""


class Goodbye(Message, frozen=True, kw_only=True, tag="goodbye"):
    """The breaker ends because somebody told it to; it is not lost. `feedback_taken`: as in `Lease`."""

    feedback_taken: int


class Settle(Message, frozen=True, kw_only=True, tag="settle"):
    """A person has resolved this order: it is in doubt no more, and nothing need be looked up."""

    order_id: str


class Accept(Message, frozen=True, kw_only=True, tag="accept"):
    """A person takes these as they are. `number` is its own: told again it is the same one.

    Only what still stands just so is accepted; the next lease request shows what does not stand any more.
    """

    number: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    reason: str
    who: str
    drift: Annotated[tuple[Drift, ...], Meta(max_length=MAX_TOLD)] = ()
    foreign: Annotated[tuple[ForeignOrder, ...], Meta(max_length=MAX_TOLD)] = ()


class ResendFeedback(Message, frozen=True, kw_only=True, tag="resend_feedback"):
    """Feedback is missing: send all again from behind `after_seq`."""

    after_seq: int


ToExecutor = (
    Welcome
    | NotWelcome
    | Lease
    | Fence
    | Place
    | ReplaceOrder
    | CancelOrder
    | GlobalCancel
    | EndGlobalCancel
    | Expect
    | Settle
    | Accept
    | ResendFeedback
    | Goodbye
)
FromExecutor = Hello | Joined | LeaseRequest | Fenced
