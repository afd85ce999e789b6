"""OrderClient: how a strategy sends orders, cancels them and hears what becomes of them."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq

from orderfuse import codec, links
from orderfuse.birthplace import Birthplace
from orderfuse.codec import DecodeError
from orderfuse.errors import (
    BreakerUnavailable,
    CancelRefused,
    ControlRefused,
    OrderError,
    OrderInvalid,
    OrderUnacknowledged,
    ReplaceRefused,
    ReportsMissing,
)
from orderfuse.handle import HeldHandles, OrderHandle, refusal_of
from orderfuse.ibobjects import fields_of
from orderfuse.messages import (
    AnyOrderEvent,
    Attached,
    Cancel,
    FromStrategy,
    Heartbeat,
    OrderEvent,
    Replace,
    RequestPassed,
    RequestRefused,
    Submit,
)
from orderfuse.settings import Settings, load_settings
from orderfuse.watch import SILENCE_S, Follower, Gap, Item, Unreadable

# How long a call waits for a breaker before it says that there is none. The link tries again at least
# once a second, so one that has just started is found.
BREAKER_WAIT_S = 1.0
# The first resend; each further one waits twice as long, up to the second number.
RESEND_S, RESEND_MAX_S = 0.25, 2.0
# After its time to live an order can't pass any more; its decision needs a moment to get here.
MARGIN_S = 1.0
# How long a cancel is sent again before `cancel` gives up waiting for an answer.
CANCEL_WAIT_S = 10.0
# Longer than IB keeps an order that rests; a typing error is more likely.
MAX_GOOD_FOR_SECS = 90 * 86_400
# Events kept for `reports()`; what does not fit is read from the breaker's journal when its turn comes.
MAX_REPORTS = 10_000
# The longest that one call keeps another thread's call waiting while it only waits for events itself.
SLICE_S = 0.05

_ORDER_TOPIC = b"order"
T = TypeVar("T")


class OrderClient:
    """Sends a strategy's orders to the breaker and follows what becomes of them.

    A context manager. It has no thread of its own: events are read while one of its methods runs. It may be
    shared by threads, but serves one call at a time, others wait for their turn: behind a `submit` until its
    decision, behind `reports` and `wait` for 50 ms at most. A call from within another one in the same
    thread (from a signal handler) is a RuntimeError. A process that is forked off makes one of its own: every call of
    this one is an UsedAfterFork there.

    Args:
        strategy_id: who sends, 1 to 32 of `A-Za-z0-9._-`, the first a letter or digit. Two running clients must not
            share one.
        settings: where the breaker is; read from `home` if not given.
        home: the home folder; default `$ORDERFUSE_HOME`, else `~/.orderfuse`.
        after_seq: `reports()` begins behind this `seq`, remembered from an earlier run. Without it, it
            begins with what is published from now on.

    Raises:
        OrderInvalid: the strategy_id is not of that form.
        SettingsError: the settings or the endpoints cannot be used.
    """

    def __init__(
        self,
        strategy_id: str,
        *,
        settings: Settings | None = None,
        home: str | Path | None = None,
        after_seq: int | None = None,
    ) -> None:
        self.strategy_id = strategy_id
        _checked(Heartbeat(strategy_id=strategy_id, sent_ns=0))
        settings = settings or load_settings(Path(home) if home else None)
        self._topic = f"order/{strategy_id}/"
        # Raises, if at all, before there is anything to close.
        links.endpoint(settings, "orders")
        links.endpoint(settings, "events")
        links.endpoint(settings, "control")
        self._birthplace = Birthplace("OrderClient")
        self._context: zmq.Context[Any] = zmq.Context()
        after = {} if after_seq is None else {self._topic: after_seq}
        # Its own orders first and a state second: the first state received proves both subscriptions.
        topics = (self._topic, "state/system/")
        self._follower = Follower(settings, topics, after=after, context=self._context)
        self._orders = links.connect(self._context, settings, "orders")
        # Both kinds are RLocks, so that a signal handler's call is an error and not a deadlock. Whoever
        # wants `_busy` waits in `_next` for it: so a loop that releases and takes it again is not alone.
        self._next, self._busy = threading.RLock(), threading.RLock()
        self._depth = 0
        self._subscribed: set[bytes] = set()
        self._newly_subscribed = False
        # Weak: an order that nobody asks about any more is forgotten here.
        self._handles = HeldHandles()
        self._answers: dict[str, RequestPassed | RequestRefused | None] = {}
        self._reports: deque[AnyOrderEvent | Gap | Unreadable] = deque()
        # Whether events after `_kept_seq`, the last one put into `_reports`, did not fit.
        self._overflowed = False
        self._kept_seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all links; a second time does nothing. Orders that have passed go on without the client.

        In a child of a fork it does nothing either: the links are the parent's.
        """
        if not self._birthplace.is_here:
            return
        with self._next, self._busy:
            self._orders.close()
            self._follower.close()
            self._context.term()

    # -- what a strategy calls ----------------------------------------------------------------------------

    def submit(
        self,
        contract: Any,
        order: Any,
        *,
        order_id: str | None = None,
        ttl_ms: int = 5000,
        attached: Sequence[Any] = (),
        protect: bool = False,
        account: str = "",
        good_for_secs: float | None = None,
        timeout: float | None = None,
    ) -> OrderHandle:
        """Send an order and return once the breaker has passed it to the executor.

        Args:
            contract: an `ib_insync.Contract` (any dataclass with its fields) or a map of IB's field names.
            order: an `ib_insync.Order` or a map, likewise.
            order_id: unique for ever in this account, 1 to 40 of `A-Za-z0-9._-`. Without one, a new one is
                made. Calling again with the id and the content of an order whose handle is still held
                returns that handle and sends nothing.
            ttl_ms: the order is not sent to IB when it is older than this at its turn.
            attached: the legs of a bracket, at most five orders of the same contract, such as a target and a stop:
                they are sent together with this order or not at all. Each is an order, or an `Attached` where its
                id matters. `handle.attached` follows them.
            protect: it protects a position: automatic cancels leave it alone.
            account: the IB account; default: the executor's.
            good_for_secs: IB itself ends the order so many seconds from now, above 0 and at most 90 days, also if
                this machine is gone by then (`tif` GTD with a `goodTillDate`, in whole seconds, rounded up). Only for
                an order without a `tif`, or with GTD and no date, and not for one that is sent again: its date is
                another each time.
            timeout: give up waiting for the decision after so many seconds; default: when the order can no
                longer pass (`ttl_ms` and a second).

        Raises:
            BreakerUnavailable: no breaker within a second; the order was not sent.
            CircuitBreakerOpenException: a circuit or a condition blocks it (an OrderBlocked).
            OrderBlocked: it was not sent and never will be.
            OrderInvalid: it is no valid order.
            OrderExpired: it was too old at its turn.
            OrderUnacknowledged: no decision came; it says whether IB may have the order.
        """
        order_id = order_id or self._new_id()
        fields = fields_of(order, "order")
        if good_for_secs is not None:
            fields = _good_for(fields, good_for_secs, order_id)
        message = Submit(
            order_id=order_id,
            strategy_id=self.strategy_id,
            sent_ns=time.time_ns(),
            contract=fields_of(contract, "contract"),
            order=fields,
            ttl_ms=ttl_ms,
            account=account,
            attached=tuple(map(self._leg, attached)),
            protect=protect,
        )
        frame = _checked(message)
        with self._turn():
            known = self._handles.get(message.order_id)
            if known is not None and known.is_for(message):
                return known
            self._wait_for_breaker()
            handle = OrderHandle(self, message)
            for held in (handle, *handle.attached):
                self._handles.put(held)
            self._until_decided(handle, frame, ttl_ms / 1000 + MARGIN_S if timeout is None else timeout)
            return handle

    def _new_id(self) -> str:
        return f"{self.strategy_id[:7]}-{uuid.uuid4().hex}"

    def _leg(self, order: Any) -> Attached:
        if isinstance(order, Attached):
            return order
        return Attached(order_id=self._new_id(), order=fields_of(order, "attached order"))

    def cancel(self, order_id: str, *, request_id: str | None = None, timeout: float = CANCEL_WAIT_S) -> RequestPassed:
        """Ask for the cancel of an order and return once the breaker has taken the request.

        Cancels pass in every state of the breaker. What becomes of it comes as `cancelled`, `cancel_failed`
        or whatever end the order took first: ask the order's handle, or `reports()`.

        Args:
            order_id: the order, of this strategy.
            request_id: to go on with a request that was not answered. Without one, a new one is made.
            timeout: give up after so many seconds of sending it again.

        Raises:
            BreakerUnavailable: no breaker within a second; nothing was sent.
            CancelRefused: the breaker says no.
            OrderUnacknowledged: no answer; the cancel may have been taken or not.
        """
        request = Cancel(
            request_id=request_id or uuid.uuid4().hex,
            order_id=order_id,
            strategy_id=self.strategy_id,
            sent_ns=time.time_ns(),
        )
        answer = self._request(request, timeout)
        if isinstance(answer, RequestRefused):
            text = f"the cancel of {order_id} was refused: {answer.reason or answer.code}"
            raise CancelRefused(text, order_id=order_id, code=answer.code, reason=answer.reason)
        return answer

    def replace(
        self,
        order_id: str,
        order: Any,
        *,
        revision: int,
        request_id: str | None = None,
        ttl_ms: int = 5000,
        timeout: float = CANCEL_WAIT_S,
    ) -> RequestPassed:
        """Ask for a working order to be changed and return once the breaker has passed the request.

        It passes the gates of a new order, except one that only lowers the quantity. What becomes of it comes
        as `replaced` or `replace_failed`; until then, and after a failure, the order is as it was.

        Args:
            order_id: the order, of this strategy; IB must have confirmed it.
            order: the whole new order, an `ib_insync.Order` or a map; `action` and `orderType` stay.
            revision: above that of every earlier replace of this order, from 1.
            request_id: to go on with a request that was not answered. Without one, a new one is made.
            ttl_ms: the request is not sent to IB when it is older than this at its turn.
            timeout: give up after so many seconds of sending it again.

        Raises:
            BreakerUnavailable: no breaker within a second; nothing was sent.
            ReplaceRefused: the breaker says no.
            OrderUnacknowledged: no answer; the request may have been taken or not.
        """
        request = Replace(
            request_id=request_id or uuid.uuid4().hex,
            order_id=order_id,
            strategy_id=self.strategy_id,
            sent_ns=time.time_ns(),
            revision=revision,
            order=fields_of(order, "order"),
            ttl_ms=ttl_ms,
        )
        answer = self._request(request, timeout)
        if isinstance(answer, RequestRefused):
            text = f"the replace of {order_id} was refused: {answer.reason or answer.code}"
            raise ReplaceRefused(text, order_id=order_id, code=answer.code, reason=answer.reason)
        return answer

    def reports(self, timeout: float | None = None) -> Iterator[AnyOrderEvent]:
        """This strategy's events in order, each once; repeats (`again`) are left out.

        At most 10,000 events wait in memory; beyond that they are read from the breaker's journal when
        their turn comes, so that none is left out.

        Args:
            timeout: end when nothing has come for so many seconds; None: never.

        Raises:
            ReportsMissing: events are lost for good, or one could not be read. Ask `status` of the orders
                in question; a further `reports()` goes on behind the hole.
        """
        deadline = _Deadline(timeout)
        while True:
            report = self._next_report(min(SLICE_S, deadline.left_s()))
            if report is not None:
                yield report
                deadline = _Deadline(timeout)
            elif deadline.over():
                return

    def status(self, order_id: str) -> dict[str, Any] | None:
        """What the breaker knows of the order `order_id` (state, filled, last event); None: it knows none of that id.

        Raises:
            BreakerUnavailable: no answer.
            ControlRefused: the breaker can't tell, or its answer can't be read.
        """
        with self._turn():
            return self._ask_for(order_id)

    def heartbeat(self, cancel_after_ms: int) -> None:
        """Say that the strategy lives. Call it again in time, from the first one on.

        Args:
            cancel_after_ms: silent for longer than so many milliseconds, its orders are cancelled, those marked
                `protect` excepted; at most 86,400,000 (a day); 0: never.

        Raises:
            BreakerUnavailable: no breaker within a second.
            OrderInvalid: the number is out of range.
        """
        now_ns = time.time_ns()
        frame = _checked(Heartbeat(strategy_id=self.strategy_id, sent_ns=now_ns, cancel_after_ms=cancel_after_ms))
        with self._turn():
            self._wait_for_breaker()
            if not self._send(frame):
                raise BreakerUnavailable("the breaker takes nothing now; the heartbeat was not sent")

    # -- one call at a time -------------------------------------------------------------------------------

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Before the locks: one that another thread held at the fork is held for ever in the child.
        self._birthplace.check()
        with self._next:
            self._busy.acquire()
        try:
            if self._depth:
                raise RuntimeError("OrderClient was called from within its own call (a signal handler?)")
            if self._orders.closed:
                raise OrderError("this OrderClient is closed")
            self._depth = 1
            try:
                yield
            finally:
                self._depth = 0
        finally:
            self._busy.release()

    def pump(self, seconds: float) -> None:
        """Read what has come, waiting up to `seconds` (at most 50 ms) for it. For handles."""
        with self._turn():
            self._read(min(seconds, SLICE_S))

    def _next_report(self, wait_s: float) -> AnyOrderEvent | None:
        with self._turn():
            # Read first: a deque that is never empty must not keep the link from being read.
            self._read(0 if self._reports else wait_s)
            if not self._reports and self._overflowed:
                self._refill()
            report = self._reports.popleft() if self._reports else None
        if isinstance(report, Gap):
            raise ReportsMissing(f"events after seq {report.after_seq} are lost, also in the breaker's journal")
        if isinstance(report, Unreadable):
            raise ReportsMissing(f"an event could not be read: {report.reason}")
        return report

    def _refill(self) -> None:
        """Read the events that did not fit from the journal; without an answer they stay due."""
        found = self._follower.journal(self._topic, self._kept_seq)
        if found is None:
            return
        self._overflowed = False
        for _, event in found.items:
            self._keep(event)
        self._overflowed = self._overflowed or not found.complete

    # -- sending ------------------------------------------------------------------------------------------

    def _wait_for_breaker(self) -> None:
        """Return when an order can be sent now and its events will be heard."""
        deadline = _Deadline(BREAKER_WAIT_S)
        self._read(0)
        while not self._is_there():
            if deadline.over():
                raise BreakerUnavailable(self._why_nobody_is_there())
            self._read(deadline.left_s())

    def _why_nobody_is_there(self) -> str:
        place = self._orders.last_endpoint.decode()
        if self._follower.other_version:
            return f"the breaker at {place} has another version: {self._follower.other_version}. Nothing was sent."
        return (
            f"no breaker for {BREAKER_WAIT_S:g} s at {place}: nothing was sent. "
            "Is it running, and with the same ORDERFUSE_HOME?"
        )

    def _is_there(self) -> bool:
        heard = self._follower.heard_at is not None and self._follower.silent_s < SILENCE_S
        return heard and self._is_subscribed()

    def _is_subscribed(self) -> bool:
        return any(_ORDER_TOPIC.startswith(prefix) for prefix in self._subscribed)

    def _send(self, frame: bytes) -> bool:
        """Hand over a message if somebody is there to take it now. False: it was not sent."""
        self._read_subscriptions()
        # The socket would say yes and drop it, or with other options deliver it when it is stale.
        if not self._is_subscribed():
            return False
        try:
            self._orders.send_multipart([_ORDER_TOPIC, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _request(self, request: Cancel | Replace, timeout: float) -> RequestPassed | RequestRefused:
        frame = _checked(request)
        with self._turn():
            self._wait_for_breaker()
            self._answers[request.request_id] = None
            try:
                self._exchange(frame, lambda: self._answers[request.request_id], timeout)
                answer = self._answers[request.request_id]
            finally:
                del self._answers[request.request_id]
        if answer is None:
            what, done = ("cancel", "cancelled") if isinstance(request, Cancel) else ("replace", "changed")
            raise OrderUnacknowledged(
                f"the {what} of {request.order_id} (request {request.request_id}) was not answered within "
                f"{timeout:g} s: the order may be at IB, and may be {done} or not",
                order_id=request.order_id,
            )
        return answer

    def _exchange(self, frame: bytes, answer: Callable[[], T | None], seconds: float) -> bool:
        """Send the same bytes again and again until `answer` is there; whether they ever left."""
        deadline, pause, resend, sent = _Deadline(seconds), RESEND_S, _Deadline(0), False
        while answer() is None and not deadline.over():
            if resend.over() or self._newly_subscribed:
                self._newly_subscribed = False
                if sent:
                    # The message may have been lost, or the answer: the journal knows the answer.
                    self._dispense(self._follower.catch_up([self._topic]))
                    if answer() is not None:
                        break
                sent = self._send(frame) or sent
                resend, pause = _Deadline(pause), min(2 * pause, RESEND_MAX_S)
            self._read(min(deadline.left_s(), resend.left_s()))
        return sent

    def _until_decided(self, handle: OrderHandle, frame: bytes, seconds: float) -> None:
        sent = self._exchange(frame, lambda: handle.decision, seconds)
        if handle.decision is None and sent:
            self._dispense(self._follower.catch_up([self._topic]))
        if handle.decision is None:
            raise self._undecided(handle, sent, seconds)
        refused = refusal_of(handle.decision)
        if refused is not None:
            raise refused

    def _undecided(self, handle: OrderHandle, sent: bool, seconds: float) -> OrderError:
        """What can be said of an order on which no decision came."""
        if not sent:
            text = f"the breaker took nothing for {seconds:g} s: {handle.order_id} was not sent"
            return BreakerUnavailable(text)
        may_pass = seconds * 1000 < handle.ttl_ms + MARGIN_S * 1000
        try:
            known = self._ask_for(handle.order_id)
        except (BreakerUnavailable, ControlRefused) as error:
            says, maybe = f"the breaker does not say more ({error}): IB may have it", True
        else:
            if known is not None:
                says, maybe = f"the breaker has it as {known.get('state')}: IB may have it or get it", True
            elif may_pass:
                says, maybe = "the breaker does not know it yet: IB may still get it", True
            else:
                says, maybe = "the breaker does not know it, and it is too old to pass: not at IB", False
        text = f"no decision on {handle.order_id} within {seconds:g} s; {says}"
        return OrderUnacknowledged(text, order_id=handle.order_id, maybe_at_ib=maybe)

    def _ask_for(self, order_id: str) -> dict[str, Any] | None:
        reply = self._follower.control.request("orders", strategy_id=self.strategy_id, order_id=order_id)
        found = reply.get("orders")
        if not isinstance(found, list):
            raise ControlRefused(f"the reply to orders has no list of orders: {reply!r}", code="internal")
        return next((entry for entry in found if isinstance(entry, dict)), None)

    # -- reading ------------------------------------------------------------------------------------------

    def _read(self, wait_s: float) -> None:
        """Read subscriptions and events, waiting up to `wait_s` for the first."""
        poller = zmq.Poller()
        for socket in (self._orders, self._follower.socket):
            poller.register(socket, zmq.POLLIN)
        # At least 1 ms if there is anything to wait for, so that no loop spins.
        poller.poll(max(1, round(wait_s * 1000)) if wait_s > 0 else 0)
        self._read_subscriptions()
        self._dispense(self._follower.read())

    def _read_subscriptions(self) -> None:
        while True:
            try:
                notice = self._orders.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if notice[:1] == b"\x01":
                self._subscribed.add(notice[1:])
                # What was under way when the link went down is gone: whoever waits sends again at once.
                self._newly_subscribed = True
            elif notice[:1] == b"\x00":
                self._subscribed.discard(notice[1:])

    def _dispense(self, items: list[Item]) -> None:
        for topic, item in items:
            if topic != self._topic:
                continue
            if isinstance(item, Gap) and item.after_seq == 0:
                # The breaker has a new journal and counts anew.
                self._kept_seq = 0
            if isinstance(item, OrderEvent):
                self._on_event(item)
            self._keep(item)

    def _on_event(self, event: AnyOrderEvent) -> None:
        handle = self._handles.get(event.order_id)
        if handle is not None:
            handle.take(event)
        if isinstance(event, (RequestPassed, RequestRefused)) and event.request_id in self._answers:
            self._answers[event.request_id] = event

    def _keep(self, item: Any) -> None:
        """Put what `reports` shall tell into its queue, each event once."""
        if isinstance(item, OrderEvent):
            if item.seq <= self._kept_seq or self._overflowed:
                return
            if len(self._reports) >= MAX_REPORTS:
                self._overflowed = True
                return
            self._kept_seq = item.seq
            if not item.again:
                self._reports.append(item)  # type: ignore[arg-type]
        elif _must_be_told(item) and len(self._reports) < MAX_REPORTS:
            self._reports.append(item)


def _must_be_told(item: Any) -> bool:
    """Whether a strategy that is not told would believe that it has heard everything."""
    if isinstance(item, Gap):
        return item.missing
    return isinstance(item, Unreadable) and item.cause != "unknown_kind"


class _Deadline:
    """A moment of the monotonic clock; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float:
        return SLICE_S if self._at is None else max(0.0, self._at - time.monotonic())

    def over(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at


def _good_for(order: dict[str, Any], secs: float, order_id: str) -> dict[str, Any]:
    """The order with an end that IB keeps by itself.

    IB reads `yyyyMMdd-HH:mm:ss` as UTC (TWS API, "Time in force"), so that no zone of a machine matters.
    """
    if not 0 < secs <= MAX_GOOD_FOR_SECS:
        raise OrderInvalid(
            f"good_for_secs is {secs!r}, allowed is above 0 and at most {MAX_GOOD_FOR_SECS}", order_id=order_id
        )
    if order.get("tif", "") not in ("", "GTD") or order.get("goodTillDate"):
        has = f"tif {order.get('tif', '')!r} and goodTillDate {order.get('goodTillDate', '')!r}"
        raise OrderInvalid(
            f"good_for_secs makes an order GTD, and this one has {has}: leave one out", order_id=order_id
        )
    until = time.gmtime(math.ceil(time.time() + secs))
    return {**order, "tif": "GTD", "goodTillDate": time.strftime("%Y%m%d-%H:%M:%S", until)}


def _checked(message: FromStrategy) -> bytes:
    """The bytes, if the breaker's own door would let them in: a frame too large would cost the connection."""
    frame = codec.encode(message)
    try:
        codec.decode(frame, FromStrategy)
    except DecodeError as error:
        raise OrderInvalid(error.reason, order_id=str(getattr(message, "order_id", ""))) from None
    return frame
