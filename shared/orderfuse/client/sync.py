"""OrderClient: how a strategy sends orders, cancels them and hears what becomes of them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import zmq

from orderfuse.bus import links
from orderfuse.bus.events import AnyOrderEvent, OrderEvent, RequestPassed, RequestRefused
from orderfuse.bus.notices import Gap, Item, Unreadable
from orderfuse.bus.orders import Attached, Cancel, Heartbeat, Replace, Submit
from orderfuse.client.closing import Closing
from orderfuse.client.deadline import Deadline
from orderfuse.client.follower import SILENCE_S, Follower
from orderfuse.client.handle import HeldHandles, OrderHandle, refusal_of
from orderfuse.client.orders_link import OrdersLink
from orderfuse.client.outgoing import checked, good_for
from orderfuse.client.reports import Reports
from orderfuse.client.turns import Turns
from orderfuse.errors import (
    BreakerUnavailable,
    CancelRefused,
    ControlRefused,
    OrderError,
    OrderUnacknowledged,
    ReplaceRefused,
    ReportsMissing,
)
from orderfuse.ibfields.objects import fields_of
from orderfuse.settings import Settings, load_settings

# How long a call waits for a breaker before it says that there is none. The link tries again at least
# once a second, so one that has just started is found.
BREAKER_WAIT_S = 1.0
# The first resend; each further one waits twice as long, up to the second number.
RESEND_S, RESEND_MAX_S = 0.25, 2.0
# After its time to live an order can't pass any more; its decision needs a moment to get here.
MARGIN_S = 1.0
# How long a cancel is sent again before `cancel` gives up waiting for an answer.
CANCEL_WAIT_S = 10.0
# The longest that one call keeps another thread's call waiting while it only waits for events itself.
SLICE_S = 0.05

T = TypeVar("T")


class OrderClient(Closing):
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
        checked(Heartbeat(strategy_id=strategy_id, sent_ns=0))
        settings = settings or load_settings(Path(home) if home else None)
        self._topic = f"order/{strategy_id}/"
        # Raises, if at all, before there is anything to close.
        links.endpoint(settings, "orders")
        links.endpoint(settings, "events")
        links.endpoint(settings, "control")
        self._turns = Turns("OrderClient", lambda: self._orders.socket.closed)
        self._context: zmq.Context[Any] = zmq.Context()
        after = {} if after_seq is None else {self._topic: after_seq}
        # Its own orders first and a state second: the first state received proves both subscriptions.
        topics = (self._topic, "state/system/")
        self._follower = Follower(settings, topics, after=after, context=self._context)
        self._orders = OrdersLink(self._context, settings)
        # Weak: an order that nobody asks about any more is forgotten here.
        self._handles = HeldHandles()
        self._answers: dict[str, RequestPassed | RequestRefused | None] = {}
        self._reports = Reports()

    def close(self) -> None:
        """Close all links; a second time does nothing. Orders that have passed go on without the client.

        In a child of a fork it does nothing either: the links are the parent's.
        """
        if not self._turns.is_here:
            return
        with self._turns.last():
            self._orders.socket.close()
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
            fields = good_for(fields, good_for_secs, order_id, time.time_ns())
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
        frame = checked(message)
        with self._turns.turn():
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
        """Ask for an order to be cancelled and return once the breaker has taken the request.

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
        return self._request(request, timeout)

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
        return self._request(request, timeout)

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
        deadline = Deadline(timeout)
        while True:
            report = self._next_report(min(SLICE_S, deadline.left_s))
            if report is not None:
                yield report
                deadline = Deadline(timeout)
            elif deadline.over():
                return

    def status(self, order_id: str) -> dict[str, Any] | None:
        """What the breaker knows of the order `order_id` (state, filled, last event); None if it knows no such order.

        Raises:
            BreakerUnavailable: no answer.
            ControlRefused: the breaker can't tell, or its answer can't be read.
        """
        with self._turns.turn():
            return self._ask_for(order_id)

    def heartbeat(self, cancel_after_ms: int) -> None:
        """Say that the strategy is alive. After the first call, call it again in time.

        Args:
            cancel_after_ms: silent for longer than so many milliseconds, its orders are cancelled, those marked
                `protect` excepted; at most 86,400,000 (a day); 0: never.

        Raises:
            BreakerUnavailable: no breaker within a second.
            OrderInvalid: the number is out of range.
        """
        now_ns = time.time_ns()
        frame = checked(Heartbeat(strategy_id=self.strategy_id, sent_ns=now_ns, cancel_after_ms=cancel_after_ms))
        with self._turns.turn():
            self._wait_for_breaker()
            if not self._orders.send(frame):
                raise BreakerUnavailable("the breaker takes nothing now; the heartbeat was not sent")

    # -- one call at a time -------------------------------------------------------------------------------

    def pump(self, seconds: float) -> None:
        """Read what has come, waiting up to `seconds` (at most 50 ms) for it. For handles."""
        with self._turns.turn():
            self._read(min(seconds, SLICE_S))

    def _next_report(self, wait_s: float) -> AnyOrderEvent | None:
        with self._turns.turn():
            # Read first: a deque that is never empty must not keep the link from being read.
            self._read(0 if self._reports else wait_s)
            if not self._reports and self._reports.overflowed:
                self._refill()
            report = self._reports.pop()
        if isinstance(report, Gap):
            raise ReportsMissing(f"events after seq {report.after_seq} are lost, also in the breaker's journal")
        if isinstance(report, Unreadable):
            raise ReportsMissing(f"an event could not be read: {report.reason}")
        return report

    def _refill(self) -> None:
        """Read the events that did not fit from the journal; without an answer they stay due."""
        found = self._follower.journal(self._topic, self._reports.kept_seq)
        if found is not None:
            self._reports.refill([item for _, item in found.items], complete=found.complete)

    # -- sending ------------------------------------------------------------------------------------------

    def _wait_for_breaker(self) -> None:
        """Return when an order can be sent now and its events will be heard."""
        deadline = Deadline(BREAKER_WAIT_S)
        self._read(0)
        while not self._is_there():
            if deadline.over():
                raise BreakerUnavailable(self._why_nobody_is_there())
            self._read(deadline.left_s)

    def _why_nobody_is_there(self) -> str:
        place = self._orders.place
        if self._follower.other_version:
            return f"the breaker at {place} has another version: {self._follower.other_version}. Nothing was sent."
        return (
            f"no breaker for {BREAKER_WAIT_S:g} s at {place}: nothing was sent. "
            "Is it running, and with the same ORDERFUSE_HOME?"
        )

    def _is_there(self) -> bool:
        heard = self._follower.heard_at is not None and self._follower.silent_s < SILENCE_S
        return heard and self._orders.is_subscribed

    def _request(self, request: Cancel | Replace, timeout: float) -> RequestPassed:
        frame = checked(request)
        with self._turns.turn():
            self._wait_for_breaker()
            self._answers[request.request_id] = None
            try:
                self._exchange(frame, lambda: self._answers[request.request_id], timeout)
                answer = self._answers[request.request_id]
            finally:
                del self._answers[request.request_id]
        if isinstance(answer, RequestPassed):
            return answer
        order_id, is_cancel = request.order_id, isinstance(request, Cancel)
        what = f"the {'cancel' if is_cancel else 'replace'} of {order_id}"
        if answer is None:
            raise OrderUnacknowledged(
                f"{what} (request {request.request_id}) was not answered within {timeout:g} s: "
                f"the order may be at IB, and may be {'cancelled' if is_cancel else 'changed'} or not",
                order_id=order_id,
            )
        refused = CancelRefused if is_cancel else ReplaceRefused
        text = f"{what} was refused: {answer.reason or answer.code}"
        raise refused(text, order_id=order_id, code=answer.code, reason=answer.reason)

    def _exchange(self, frame: bytes, answer: Callable[[], T | None], seconds: float) -> bool:
        """Send the same bytes again and again until `answer` is there. Returns whether they ever left."""
        deadline, pause, resend, sent = Deadline(seconds), RESEND_S, Deadline(0), False
        while answer() is None and not deadline.over():
            if resend.over() or self._orders.newly_subscribed:
                self._orders.newly_subscribed = False
                if sent:
                    # The message may have been lost, or the answer: the journal knows the answer.
                    self._dispense(self._follower.catch_up([self._topic]))
                    if answer() is not None:
                        break
                sent = self._orders.send(frame) or sent
                resend, pause = Deadline(pause), min(2 * pause, RESEND_MAX_S)
            self._read(min(deadline.left_s, resend.left_s))
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
        for socket in (self._orders.socket, self._follower.socket):
            poller.register(socket, zmq.POLLIN)
        # At least 1 ms if there is anything to wait for, so that no loop spins.
        poller.poll(max(1, round(wait_s * 1000)) if wait_s > 0 else 0)
        self._orders.read()
        self._dispense(self._follower.read())

    def _dispense(self, items: list[Item]) -> None:
        for topic, item in items:
            if topic != self._topic:
                continue
            if isinstance(item, OrderEvent):
                self._on_event(item)
            self._reports.keep(item)

    def _on_event(self, event: AnyOrderEvent) -> None:
        handle = self._handles.get(event.order_id)
        if handle is not None:
            handle.take(event)
        if isinstance(event, (RequestPassed, RequestRefused)) and event.request_id in self._answers:
            self._answers[event.request_id] = event
