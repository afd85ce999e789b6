"""Every message of the bus, as frozen typed structs. The field names are the wire's; docs/PROTOCOL.md tells more.

What comes from outside is checked once, while it is decoded (`orderfuse.codec`); behind that door a
message is what its type says. Durations carry their unit, `*_ns` are wall clock nanoseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

VERSION = 1

OrderId = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
StrategyId = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
# Wall clock nanoseconds: positive, and inside 64 bits.
Nanos = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TtlMs = Annotated[int, Meta(ge=1, le=3_600_000)]
Reason = Annotated[str, Meta(max_length=500)]
# Who asks, for the journal: user, host and process id, as the asker says.
Who = Annotated[str, Meta(max_length=200)]
Scope = Annotated[str, Meta(max_length=41, pattern=r"^(system|strategy:[A-Za-z0-9][A-Za-z0-9._-]{0,31})\Z")]

ConditionName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z")]

# Whose orders nobody here may submit: a person's own (`operator`), and those found at IB that no journal knows.
OPERATOR, ADOPTED = "operator", "adopted"
RESERVED_STRATEGIES = frozenset({OPERATOR, ADOPTED})

# Of a circuit's state; and how many were executed at which price, as a person says who settles an order.
Generation = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shares = Annotated[float, Meta(gt=0, le=1e15)]
# IB's number of a contract or of an order.
IbId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Price = Annotated[float, Meta(ge=-1e15, le=1e15)]

BlockCode = Literal[
    "circuit_open",
    "latched",
    "half_open_full",
    "condition",
    "rate_limit",
    "queue_full",
    "limit",
    "not_reducing",
    "too_many_strategies",
    "cancelled",
]
NotPlacedCode = Literal["fenced", "lease", "cancelled", "undelivered", "reconciled"]
# What the breaker answers to a cancel or replace; a client takes any text, since a newer breaker may say more.
RequestPassedCode = Literal["sent", "kept", "queued", "remembered"]
RequestRefusedCode = Literal[
    "invalid",
    "request_id_used",
    "not_yours",
    "done",
    "attached",
    "unknown_order",
    "queued",
    "not_confirmed",
    "cancelling",
    "busy",
    "revision",
    "expired",
    "queue_full",
]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """A map of the bus. Fields that have their default are left out of the map."""


# -- orders: strategy -> breaker --------------------------------------------------------------------------


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
    """A strategy lives. Silent for longer than `cancel_after_ms`, its working orders are cancelled; 0: never."""

    strategy_id: StrategyId
    sent_ns: Nanos
    cancel_after_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 0


FromStrategy = Submit | Cancel | Replace | Heartbeat


# -- events: breaker -> everybody -------------------------------------------------------------------------


class OrderEvent(Message, frozen=True, kw_only=True):
    """What became of an order.

    Attributes:
        order_id: the order.
        strategy_id: whose it is.
        at_ns: when the breaker told it; wall clock, nanoseconds since 1970 UTC.
        seq: the number of this event among those of its strategy, without a gap.
        again: whether it repeats an earlier event, for whoever has asked again.
        supersedes: the `seq` of an end that was told before and that this event replaces; None nearly always.
    """

    order_id: str
    strategy_id: str
    at_ns: int = 0
    seq: int = 0
    again: bool = False
    supersedes: int | None = None

    @property
    def kind(self) -> str:
        """Its name on the bus: `filled`, `blocked`, ..."""
        return str(self.__struct_config__.tag)


class Passed(OrderEvent, frozen=True, kw_only=True, tag="passed"):
    """Handed to the executor.

    Attributes:
        generation: the life of the circuit's state that admitted it.
        trial: whether it tests the recovery, in HALF_OPEN.
    """

    generation: int
    trial: bool


class Blocked(OrderEvent, frozen=True, kw_only=True, tag="blocked"):
    """Our own no: not sent, and never will be.

    Attributes:
        reason: why, for people.
        code: why, for programs: `circuit_open`, `latched`, `half_open_full`, `condition`, `rate_limit`, `queue_full`,
            `limit`, `not_reducing`, `too_many_strategies` or `cancelled`.
        scope: whose circuit or limit it was: `system` or `strategy:<id>`.
        state: that circuit's state: `CLOSED`, `OPEN` or `HALF_OPEN`.
        retry_at: when OPEN ends, as ISO 8601 text in UTC; None where no time is known.
        failures: how many failures are in that circuit's window.
        failure_count: how many there were since it was last CLOSED.
    """

    reason: str
    code: BlockCode
    scope: str
    state: str
    retry_at: str | None
    failures: int
    failure_count: int


class Expired(OrderEvent, frozen=True, kw_only=True, tag="expired"):
    """Too old at its turn, by `age_ms` milliseconds since it was sent; nothing went to IB."""

    age_ms: int


class Invalid(OrderEvent, frozen=True, kw_only=True, tag="invalid"):
    """No valid message or no valid IB order; nothing went to IB. `reason` names field, value and range.

    `conflict`: the id belongs to another order already, which lives on; only the message is refused.
    """

    reason: str
    conflict: bool = False


class Duplicate(OrderEvent, frozen=True, kw_only=True, tag="duplicate"):
    """A resend of an answered order: its first decision and its latest event follow, marked `again`."""


class Accepted(OrderEvent, frozen=True, kw_only=True, tag="accepted"):
    """IB has it.

    Attributes:
        ib_order_id: IB's number of it in the API.
        perm_id: IB's number of it for good; 0 while IB has not said it.
        status: IB's word for how it stands, such as `PreSubmitted` or `Submitted`.
        filled_before: of an order that was found at IB after a journal was lost: what had been filled of it by
            executions that IB lists no more, so that they are never told one by one; else None.
    """

    ib_order_id: int
    perm_id: int
    status: str
    filled_before: float | None = None


class Filled(OrderEvent, frozen=True, kw_only=True, tag="filled"):
    """One execution.

    Attributes:
        exec_id: IB's id of the execution.
        shares: how many were executed; contracts, for what is not a share.
        price: at what price, in the contract's currency.
        cum_qty: how many of the order are executed after it.
        avg_price: their average price.
        remaining: how many are not.
        done: whether the order is filled completely: then this is its end.
        corrects: the `exec_id` that this one corrects, if it does.
    """

    exec_id: str
    shares: float
    price: float
    cum_qty: float
    avg_price: float
    remaining: float
    done: bool
    corrects: str | None = None


class Commission(OrderEvent, frozen=True, kw_only=True, tag="commission"):
    """What an execution cost.

    Attributes:
        exec_id: IB's id of the execution.
        commission: what IB charges, in `currency`.
        currency: such as `USD`.
        realized_pnl: the profit or loss that it realized, in `currency`; None if IB says none.
    """

    exec_id: str
    commission: float
    currency: str
    realized_pnl: float | None


class Cancelled(OrderEvent, frozen=True, kw_only=True, tag="cancelled"):
    """Cancelled, confirmed by IB.

    Attributes:
        filled: how many were executed before.
        remaining: how many were not, and will not be.
        reason: why, for people.
        request_id: the cancel that asked for it, the first one; None if nobody here did.
        request_ids: all of them, if several did.
    """

    filled: float
    remaining: float
    reason: str
    request_id: str | None = None
    request_ids: tuple[str, ...] = ()


class Rejected(OrderEvent, frozen=True, kw_only=True, tag="rejected"):
    """The broker's no: its error number `ib_code`, and its words as `reason`."""

    ib_code: int
    reason: str


class RequestPassed(OrderEvent, frozen=True, kw_only=True, tag="request_passed"):
    """A cancel or replace goes its way.

    Attributes:
        request_id: which one.
        code: how: `sent`, `queued` (ended at once), `kept` (until there is a connection) or `remembered` (the order
            is not known yet).
        reason: more, for people.
    """

    request_id: str
    code: str
    reason: str


class RequestRefused(OrderEvent, frozen=True, kw_only=True, tag="request_refused"):
    """The cancel or replace `request_id` does not go its way: why, as `code` for programs and `reason` for people."""

    request_id: str
    code: str
    reason: str


class CancelFailed(OrderEvent, frozen=True, kw_only=True, tag="cancel_failed"):
    """IB did not cancel; the order lives on.

    Attributes:
        request_id: the cancel, if a strategy asked for it.
        ib_code: IB's error number.
        reason: IB's words.
    """

    request_id: str | None
    ib_code: int
    reason: str


class Replaced(OrderEvent, frozen=True, kw_only=True, tag="replaced"):
    """IB has taken the change `request_id`: the order works under its new terms.

    Attributes:
        request_id: the replace.
        ib_code: a number that IB gave with it; 0: none.
        reason: IB's words with it, if any.
    """

    request_id: str
    ib_code: int = 0
    reason: str = ""


class ReplaceFailed(OrderEvent, frozen=True, kw_only=True, tag="replace_failed"):
    """The change `request_id` did not happen. The order is as it was, or has ended, as its own events tell.

    Attributes:
        request_id: the replace.
        ib_code: IB's error number; 0 if it was not IB that refused.
        reason: why, for people.
    """

    request_id: str
    ib_code: int = 0
    reason: str = ""


class Unknown(OrderEvent, frozen=True, kw_only=True, tag="unknown"):
    """Nobody knows whether IB has it, or how it ended; it is being looked up.

    Attributes:
        reason: how it came to that, for people.
        twin: the permanent id of another order that lives at IB under the same reference, if that is why.
    """

    reason: str = ""
    twin: int = 0


class NotPlaced(OrderEvent, frozen=True, kw_only=True, tag="not_placed"):
    """IB never had it, proven.

    Attributes:
        code: how it came about: `fenced` (a trip was faster), `lease` (the executor had lost the breaker), `cancelled`,
            `undelivered` (it could not be written to IB) or `reconciled` (looked up at IB).
        reason: more, for people.
    """

    code: NotPlacedCode
    reason: str = ""


AnyOrderEvent = (
    Passed
    | Blocked
    | Expired
    | Invalid
    | Duplicate
    | Accepted
    | Filled
    | Commission
    | Cancelled
    | Rejected
    | RequestPassed
    | RequestRefused
    | Replaced
    | ReplaceFailed
    | CancelFailed
    | Unknown
    | NotPlaced
)


class State(Message, frozen=True, kw_only=True, tag="state", omit_defaults=False):
    """The state of one circuit: at every change, and every 500 ms as a repeat.

    Attributes:
        scope: what the circuit guards: `system` or `strategy:<id>`.
        state: `CLOSED`, `OPEN` or `HALF_OPEN`.
        reason: why it is OPEN; else None.
        failures: how many failures are in the window; in OPEN, as at the trip.
        failure_count: how many there were since it was last CLOSED.
        opened_at: when it opened last, as ISO 8601 text in UTC; None while CLOSED.
        retry_at: when OPEN ends, likewise; None where no time is known.
        half_open_tries: successful trial orders of this round.
        latched: whether only a reset ends this OPEN.
        generation: the number of this life of the state.
        conditions: the names of the conditions that hold.
        fenced: whether the executor has confirmed that nothing older can be written any more.
        trading_allowed: whether the next order would be admitted.
        at_ns: when it was told; wall clock, nanoseconds since 1970 UTC.
        seq: the number of the change, without a gap; a repeat has that of the last one.
        repeat: whether nothing has changed.
    """

    scope: str
    state: Literal["CLOSED", "OPEN", "HALF_OPEN"]
    reason: str | None
    failures: int
    failure_count: int
    opened_at: str | None
    retry_at: str | None
    half_open_tries: int
    latched: bool
    generation: int
    conditions: list[str]
    fenced: bool
    trading_allowed: bool
    at_ns: int = 0
    seq: int = 0
    repeat: bool = False


class Health(Message, frozen=True, kw_only=True, tag="health", omit_defaults=False):
    """How the pipeline is, every second. Not journaled, no seq.

    Attributes:
        at_ns: when it was told; wall clock, nanoseconds since 1970 UTC.
        queued: how many orders of each strategy wait in the breaker.
        orders_out: how many orders are beyond the breaker without IB's answer.
        window: the most of them that there may be.
        window_used: how many places of the window are taken.
        unknown: how many are `unknown`.
        executor_present: whether there is an executor.
        gateway_connected: whether it has a connection to TWS or IB Gateway.
        dropped: how many messages were dropped since the start, by cause.
        journal_lag_ms: how long the last write to the journal took, in milliseconds.
        journal_error: why it cannot be written; None while it can.
    """

    at_ns: int
    queued: dict[str, int]
    orders_out: int
    window: int
    window_used: int
    unknown: int
    executor_present: bool
    gateway_connected: bool
    dropped: dict[str, int]
    journal_lag_ms: float
    journal_error: str | None


# -- control: request and reply ---------------------------------------------------------------------------


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
    """A process has seen a failure, or a condition that holds or is over. It says its own name in `reporter`."""

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
    """A difference as `status` told it, by what makes it another one."""

    con_id: int
    expected: float
    actual: float


class SeenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order of others as `status` told it, by what makes it another one."""

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


AnyRequest = (
    StatusRequest
    | TripRequest
    | ResetRequest
    | OrdersRequest
    | EventsRequest
    | ReportRequest
    | ResolveRequest
    | CancelRequest
    | AcceptRequest
)


# -- dispatch: breaker <-> executor -----------------------------------------------------------------------


# A position, or a difference of two, is none below this: the smallest fraction of a share that IB knows is larger.
DUST = 1e-6


class Drift(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """IB holds something else of a contract than our fills make, on top of what was there at the start."""

    con_id: int
    symbol: str
    expected: float
    actual: float
    sec_type: str = ""
    currency: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""

    @property
    def difference(self) -> float:
        """How much more IB holds than the fills make; below 0: less."""
        return self.actual - self.expected


class ForeignOrder(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An open order of the account that is not ours, as IB lists it."""

    perm_id: int
    client_id: int
    ib_order_id: int
    action: str
    quantity: float
    order_type: str
    con_id: int
    symbol: str
    sec_type: str = ""
    currency: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether a person placed it in TWS: IB gives those no client, and no number above 0."""
        return self.client_id == 0 and self.ib_order_id <= 0

    @property
    def key(self) -> tuple[int, int, int]:
        """Which order it is, whatever it is like: the permanent id; without one, whose it is and its number there."""
        return (self.perm_id, 0, 0) if self.perm_id else (0, self.client_id, self.ib_order_id)


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the executor knows of its gateway. `usable`: connected, reconciled, and IB is behind it."""

    host: str
    port: int
    connected: bool
    usable: bool
    account: str = ""
    detail: str = ""
    # What a person does about it, where that is known; the detail ends with it.
    remedy: str = ""
    # Not usable because the executor renews the connection by itself, to look up orders in doubt.
    planned: bool = False
    # It has not answered the question for the time, and has not answered anything since; orders are not written.
    silent: bool = False
    # Told with every lease request, so that neither side's restart loses it.
    drift: Annotated[tuple[Drift, ...], Meta(max_length=MAX_TOLD)] = ()
    foreign: Annotated[tuple[ForeignOrder, ...], Meta(max_length=MAX_TOLD)] = ()
    # No order may pass while there are foreign ones (`executor.foreign_orders`).
    foreign_trips: bool = False
    # Nobody looks for them (`executor.foreign_orders`).
    foreign_ignored: bool = False
    # When IB had last listed all positions, and all open orders of the account (wall clock); 0: not yet.
    drift_at_ns: Nanos = 0
    foreign_at_ns: Nanos = 0


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
    fences: dict[str, int] = {}


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The breaker takes this executor. `doubtful`: orders handed over that IB has not answered.

    The executor takes the fence, sends feedback again from behind `feedback_after`, and answers `Joined`.
    `owed`: the number of the global cancel that is still to be carried out, 0 for none; any other has ended.
    `tell_open`: the breaker knows nothing of this journal, and wants to hear of every order in it that has no end.
    """

    fence: int
    doubtful: list[str]
    feedback_after: int
    owed: int = 0
    tell_open: bool = False


class NotWelcome(Message, frozen=True, kw_only=True, tag="not_welcome"):
    """The breaker has an executor that lives, or asks this one to say hello first.

    `rename`: the executor's journal is an old copy of one that told more; it needs an id of its own.
    """

    reason: str
    rename: bool = False


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    """The executor has taken the fence. Of the doubtful orders its journal knows `known`; the others it never had.

    `in_doubt`: orders of which it does not know whether IB has them; a person may have settled some of them.
    """

    executor_id: str
    fence: int
    known: list[str]
    in_doubt: list[str] = []


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
    """A person has settled this order: it is in doubt no more, and nothing need be looked up."""

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


# -- feedback: executor -> breaker ------------------------------------------------------------------------


class Written(OrderEvent, frozen=True, kw_only=True, tag="written"):
    """The order's bytes have left for IB. Not published: it only tells the window from the wire."""

    ib_order_id: int


class Working(OrderEvent, frozen=True, kw_only=True, tag="working"):
    """IB reports a new status of an accepted order. Not published: it only settles the outcome.

    Attributes:
        lives: it was over for us, and IB shows that it is not.
        doubts: the replace that IB has answered in words that nobody knows, and `said`, these words.
    """

    status: str
    lives: bool = False
    doubts: str = ""
    said: str = ""


class Tripped(Message, frozen=True, kw_only=True, tag="tripped"):
    """IB said something after which nobody may trade until a person has looked (the class `trip, latched`)."""

    ib_code: int
    reason: str


class Adopted(OrderEvent, frozen=True, kw_only=True, tag="adopted"):
    """IB has this order of ours, and the executor's journal did not know it. Not published: what it is for IB.

    Or the breaker did not. `contract` and `order`: as far as is known, with IB's field names. `status`: IB's own, and
    what is `filled`, where nothing further is told of it now; `doubtful`: nobody knows whether IB has it. `change`: the
    one that is under way, which the breaker has forgotten with the order.
    """

    ib_order_id: int
    perm_id: int
    contract: dict[str, Any]
    order: dict[str, Any]
    status: str = ""
    filled: float = 0.0
    doubtful: bool = False
    change: ExpectedChange | None = None


class AllCancelled(Message, frozen=True, kw_only=True, tag="all_cancelled"):
    """IB lists none of the orders any more that it listed when this global cancel was sent."""

    number: int


Outcome = Literal["success", "failure", "malformed", "neutral"]
Fact = (
    Written
    | Working
    | Adopted
    | Tripped
    | AllCancelled
    | Expired
    | Invalid
    | NotPlaced
    | Unknown
    | Accepted
    | Filled
    | Commission
    | Cancelled
    | Rejected
    | Replaced
    | ReplaceFailed
    | CancelFailed
)


class Feedback(Message, frozen=True, kw_only=True, tag="feedback"):
    """One fact, numbered by the executor's journal. `outcome` is what it means to the circuits, None: nothing.

    `malformed` counts for the strategy only: IB calls the order itself wrong.
    """

    journal_id: str
    seq: int
    fact: Fact
    outcome: Outcome | None = None
