"""The link `events`: what the breaker tells everybody. docs/PROTOCOL.md tells more. Pure."""

from __future__ import annotations

from typing import Literal

from orderfuse.bus.fields import Message

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
    """The order was handed to the executor.

    Attributes:
        generation: the life of the circuit's state that admitted it.
        trial: whether it tests the recovery, in HALF_OPEN.
    """

    generation: int
    trial: bool


class Blocked(OrderEvent, frozen=True, kw_only=True, tag="blocked"):
    """Our own no: the order was not sent and never will be.

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
    """The order was too old at its turn, `age_ms` milliseconds after it was sent; nothing went to IB."""

    age_ms: int


class Invalid(OrderEvent, frozen=True, kw_only=True, tag="invalid"):
    """The message or the IB order is not valid; nothing went to IB. `reason` names field, value and range.

    `conflict`: the id already belongs to another order, which lives on; only this message is refused.
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
    """The breaker has taken a cancel or replace.

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
    """The breaker refused the cancel or replace `request_id`; `code` says why for programs, `reason` for people."""

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
    """It is proven that IB never had it.

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
    """The state of one circuit: at every change, and again as a repeat.

    That of the system is repeated every 500 ms; that of a strategy likewise, but every 10 s while it is CLOSED and no
    condition of its own holds.

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
    """How the pipeline is doing, every second. It is not journaled and has no `seq`.

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
