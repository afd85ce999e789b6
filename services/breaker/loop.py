"""Sockets and disk around the stage: read, decide, save, send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import zmq
from loguru import logger

from orderfuse import __version__
from orderfuse.bus.codec import DecodeError, convert, decode, decode_map, encode, encode_map
from orderfuse.bus.control import (
    AcceptRequest,
    CancelRequest,
    EventsRequest,
    OrdersRequest,
    ReportRequest,
    ResetRequest,
    ResolveRequest,
    StatusRequest,
    TripRequest,
)
from orderfuse.bus.fields import VERSION
from orderfuse.bus.orders import Cancel, Heartbeat, Replace, Submit
from orderfuse.home import why
from orderfuse.settings import Settings
from orderfuse.stopfile import Stop, StopFile
from orderfuse.text import shown
from services.breaker.batch import Batch
from services.breaker.circuits.scopes import SYSTEM
from services.breaker.control.lookups import Lookup, Lookups
from services.breaker.control.queries import Pieces, answer_events, answer_orders
from services.breaker.control.requests import Requests
from services.breaker.inputs import (
    Ending,
    FromControl,
    FromDispatch,
    FromFeedback,
    FromOrders,
    Input,
    JournalSeen,
    Measured,
    Missed,
    Started,
    StopSeen,
    Tick,
    Undeliverable,
    UnreadableFeedback,
    UnreadableOrder,
)
from services.breaker.journal import Journal, JournalError
from services.breaker.log import BreakerLog
from services.breaker.public import capacity
from services.breaker.public.doors import Doors
from services.breaker.public.inbox import Received
from services.breaker.public.replies import Replies
from services.breaker.replacing import must_arrive
from services.breaker.stage import Stage
from services.breaker.store import disk
from services.breaker.unsaved import Unsaved
from services.runtime.crash_points import reach
from services.runtime.now import Now
from services.wire.dispatch import FromExecutor, Hello
from services.wire.feedback import Feedback

# A cooldown is announced at most this late, and a signal to stop is seen.
TICK_MS = 20
# A trip waits for at most one turn's orders.
MAX_ORDERS_PER_TURN = 64
# ZeroMQ takes from all senders in turn, so this is what one that floods can make another wait.
MAX_ORDERS_SECS_PER_TURN = 0.001
MAX_CONTROL_PER_TURN = 256
# What a flood of requests can make an order wait in each turn, to be read and again to be answered.
MAX_CONTROL_SECS_PER_TURN = 0.001
# Who asks for more rows than this time is enough for waits for the next turns, and nobody else.
MAX_LOOKUP_SECS_PER_TURN = 0.002
MAX_FACTS_PER_TURN = 256
# What is decided leaves when the turn is over: an order that a fact lets pass does not wait for all the others.
MAX_FACTS_SECS_PER_TURN = 0.002
# A request that came over more hops than this is no client's.
MAX_ENVELOPE_FRAMES = 8
JOURNAL_RETRY_SECS = 1.0
HEALTH_SECS = 1.0
# An executor answers a goodbye within milliseconds; one that stands still is waited for no longer.
GOODBYE_SECS = 1.0

OPS: dict[str, Any] = {
    "status": StatusRequest,
    "trip": TripRequest,
    "reset": ResetRequest,
    "orders": OrdersRequest,
    "events": EventsRequest,
    "report": ReportRequest,
    "resolve": ResolveRequest,
    "cancel": CancelRequest,
    "accept": AcceptRequest,
}
ORDER_KINDS: dict[str, Any] = {"submit": Submit, "cancel": Cancel, "replace": Replace, "heartbeat": Heartbeat}


class BreakerLoop:
    """One turn after another: control first, then the executor, then a bounded number of orders."""

    def __init__(self, settings: Settings, journal: Journal, limit: int) -> None:
        self._journal = journal
        self._unsaved = Unsaved(journal)
        self._stage = Stage(
            settings,
            now=_read_now(),
            history=self._unsaved,
            saved=journal.saved,
            version=__version__,
        )
        self._log = BreakerLog()
        self._requests = Requests()
        self._lookups = Lookups()
        self._home = settings.home
        self._stop_file = StopFile(settings.home)
        # The file STOP as it was when the stage heard of it last.
        self._stop: Stop | None = None
        self._dropped: dict[str, int] = {}
        self._journal_error: str | None = None
        self._journal_lag_ms = 0.0
        self._next_retry = 0.0
        self._next_health = 0.0
        self._context: zmq.Context[Any] = zmq.Context()
        try:
            self._bind(settings, limit)
        except BaseException:
            self._context.destroy(linger=0)
            raise

    def _bind(self, settings: Settings, limit: int) -> None:
        self._doors = Doors(self._context, settings, capacity.room(limit))
        self._control = self._doors.socket("control")
        self._replies = Replies(self._control)
        self._dispatch = self._doors.socket("dispatch")
        self._feedback = self._doors.socket("feedback")
        self._events = self._doors.socket("events")
        self._orders = self._doors.socket("orders")
        self._orders.subscribe(b"order")
        self._asked = self._doors.inbox("control")
        self._heard = self._doors.inbox("dispatch")
        self._told = self._doors.inbox("feedback")
        self._sent = self._doors.inbox("orders")

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Serve until told to stop."""
        poller = zmq.Poller()
        for socket in (self._control, self._dispatch, self._feedback, self._orders, self._events, self._doors):
            poller.register(socket, zmq.POLLIN)
        # Before the first word, so that nobody ever hears that it was CLOSED.
        self._look_for_stop()
        self._step(Started())
        self._flush()
        while not should_stop():
            at_once = (
                bool(self._requests) or self._stage.has_more_to_do() or self._lookups.can_go_on(self._replies.has_read)
            )
            poller.poll(0 if at_once else self._replies.wait_ms(TICK_MS))
            self._turn()
        self._say_goodbye()

    def close(self) -> None:
        """Close the sockets."""
        self._doors.close()
        # Each link has its own linger: what was decided last still leaves on `events`.
        self._context.destroy()

    def _say_goodbye(self) -> None:
        """An executor that cancels orders when it loses the breaker must know that this is no loss: wait for it."""
        self._step(Ending())
        self._flush()
        if not self._stage.has_executor():
            return
        deadline = time.monotonic() + GOODBYE_SECS
        while (left := deadline - time.monotonic()) > 0 and self._dispatch.poll(round(left * 1000)):
            # Who has heard it looks for the next breaker.
            if isinstance(self._read("dispatch", self._dispatch.recv_multipart(), 2, FromExecutor), Hello):
                return

    def _turn(self) -> None:
        self._look_for_stop()
        self._drop("reply_to_nobody", self._replies.retry())
        for request in self._asked.take(MAX_CONTROL_PER_TURN, MAX_CONTROL_SECS_PER_TURN):
            self._on_control(request)
        self._serve_requests()
        self._flush()
        self._go_on_looking_up()
        for message in self._heard.take(MAX_FACTS_PER_TURN):
            self._on_dispatch(message.frames)
        for message in self._told.take(MAX_FACTS_PER_TURN, MAX_FACTS_SECS_PER_TURN):
            self._on_feedback(message.frames)
        for message in self._sent.take(MAX_ORDERS_PER_TURN, MAX_ORDERS_SECS_PER_TURN):
            self._on_orders(message.frames, message.sender)
        for cause, count in self._doors.step().items():
            self._drop(cause, count)
        self._step(Tick())
        self._measure()
        self._flush()
        self._journal.tidy()

    def _step(self, given: Input, now: Now | None = None) -> None:
        """One input; what follows from it is carried out with the next `_flush`."""
        now = now or _read_now()
        batch = self._stage.step(given, now)
        self._unsaved.add(batch)
        if batch.unread:
            self._on_journal_trouble(batch.unread, now)

    def _measure(self) -> None:
        """Once in a while, tell the stage how the sockets and the disk are."""
        if time.monotonic() < self._next_health:
            return
        self._next_health = time.monotonic() + HEALTH_SECS
        self._log.see_whether_the_journal_works()
        journals, free = disk.look(self._home)
        self._step(Measured(dict(self._dropped), self._journal_lag_ms, self._journal_error, journals, free))

    def _look_for_stop(self) -> None:
        """The file STOP trips when it appears, and when it says something else; that it has gone ends nothing."""
        before, self._stop = self._stop, self._stop_file.look()
        if self._stop is not None and self._stop != before:
            self._step(StopSeen(self._stop.reason, self._stop.owner))

    # -- in ------------------------------------------------------------------------------------------------

    def _on_orders(self, frames: list[bytes], sender: str) -> None:
        reach("breaker.order.received")
        if len(frames) != 2:
            self._drop("extra_frames")
        elif frames[0] != b"order":
            self._drop("wrong_topic")
        else:
            try:
                fields = decode_map(frames[1])
                message = convert(fields, _kind_of(fields, ORDER_KINDS))
            except DecodeError as error:
                self._step(UnreadableOrder(error, sender))
                self._log.nonsense("orders", error)
            else:
                self._step(FromOrders(message, sender))

    def _on_dispatch(self, frames: list[bytes]) -> None:
        message = self._read("dispatch", frames, 2, FromExecutor)
        if message is not None:
            self._step(FromDispatch(frames[0], message))
            reach("breaker.dispatch.taken")
            self._log.position_breaks(self._stage.position_breaks)

    def _on_feedback(self, frames: list[bytes]) -> None:
        message = self._read("feedback", frames, 1, Feedback)
        if message is not None:
            reach("breaker.feedback.received")
            self._step(FromFeedback(message))
            reach("breaker.feedback.taken")

    def _read(self, link: str, frames: list[bytes], expected: int, kind: Any) -> Any:
        """The message in the last frame, or None if it is none."""
        if len(frames) != expected:
            self._drop("extra_frames")
            return None
        try:
            return decode(frames[-1], kind)
        except DecodeError as error:
            self._drop(error.cause)
            self._log.nonsense(link, error)
            if link == "feedback":
                self._step(UnreadableFeedback(error))
            return None

    def _on_control(self, request: Received) -> None:
        *envelope, payload = request.frames
        if len(envelope) > MAX_ENVELOPE_FRAMES:
            self._drop("extra_frames")
            return
        sender = request.sender or envelope[0].hex()
        refusal = self._requests.refusal(sender)
        if refusal:
            self._drop("too_many_requests")
            self._answer(envelope, _no(_id_in(payload), "not_allowed", refusal))
        else:
            self._requests.add(sender, request.frames)

    def _serve_requests(self) -> None:
        deadline = time.monotonic() + MAX_CONTROL_SECS_PER_TURN
        while self._requests:
            sender, (*envelope, payload) = self._requests.take()
            self._serve_request(envelope, payload, sender)
            if time.monotonic() >= deadline:
                return

    def _serve_request(self, envelope: list[bytes], payload: bytes, sender: str) -> None:
        try:
            fields = decode_map(payload)
            if fields.get("kind") != "request":
                raise DecodeError("unknown_kind", f"kind is {shown(fields.get('kind'))}, allowed is 'request'", fields)
            op = fields.get("op")
            if not isinstance(op, str) or op not in OPS:
                no = _no(_id_of(fields), "unknown_op", f"op is {shown(op)}, allowed: {', '.join(OPS)}")
                self._answer(envelope, no)
                return
            request = convert(fields, OPS[op])
        except DecodeError as error:
            self._drop(error.cause)
            self._answer(envelope, _no(_id_of(error.fields), "bad_request", error.reason))
            return
        self._dispatch_request(envelope, request, sender)

    def _dispatch_request(self, envelope: list[bytes], request: Any, sender: str) -> None:
        if isinstance(request, OrdersRequest | EventsRequest):
            refusal = self._lookups.refusal(sender)
            if refusal:
                self._answer(envelope, _no(request.id, "not_allowed", refusal))
            else:
                self._lookups.add(sender, Lookup(envelope, self._look_up(request)))
            return
        now = _read_now()
        if isinstance(request, ResetRequest) and request.scope == SYSTEM:
            obstacle = self._lift_stop_for(request, now)
            if obstacle:
                self._answer(envelope, _no(request.id, "not_allowed", obstacle))
                return
        self._step(FromControl(envelope, request), now)

    def _lift_stop_for(self, request: ResetRequest, now: Now) -> str:
        """Remove the file STOP before a reset of the system that will be carried out; or say why that cannot be."""
        # What time has changed by now has happened then: between the question and the reset nothing changes any more.
        self._step(Tick(), now)
        return self._lift_stop() if self._stage.is_in_generation_of(request) else ""

    def _lift_stop(self) -> str:
        """Remove the file STOP, or say why it cannot be: while it is there, a reset would let nothing pass."""
        try:
            self._stop_file.remove()
        except OSError as error:
            return f"{self._stop_file.path} cannot be removed, so nothing was reset: {why(error)}"
        self._stop = self._stop_file.look()
        return f"nothing was reset: {self._stop.reason}" if self._stop is not None else ""

    def _look_up(self, request: OrdersRequest | EventsRequest) -> Pieces:
        """A page of the journal, row by row. It is not read before what was decided until now has been saved."""
        try:
            if isinstance(request, OrdersRequest):
                found = yield from answer_orders(request, self._journal, self._stage.queues)
            else:
                found = yield from answer_events(request, self._journal, self._stage.publisher)
        except JournalError as error:
            return _no(request.id, "internal", str(error))
        return {"id": request.id, "ok": True, **found}

    def _go_on_looking_up(self) -> None:
        deadline = time.monotonic() + MAX_LOOKUP_SECS_PER_TURN
        for envelope, reply in self._lookups.step(self._replies.has_read, lambda: time.monotonic() >= deadline):
            self._answer(envelope, reply)

    # -- out -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Save what was decided, then send it. Twice at most: what can't be handed over is decided anew."""
        for _ in range(2):
            batch = self._unsaved.take()
            saved = self._save(batch)
            undelivered = self._send(batch, saved=saved)
            if not undelivered:
                return
            reason = "the executor was not reachable" if saved else "the journal could not be written"
            for order_id in undelivered:
                self._step(Undeliverable(order_id, reason))

    def _save(self, batch: Batch) -> bool:
        """Whether the batch is on disk. Without a journal nothing is passed on, but every stop still works."""
        if self._journal_error is not None and not batch.saves_something() and time.monotonic() < self._next_retry:
            return False
        started = time.perf_counter()
        try:
            self._journal.save(batch)
        except JournalError as error:
            self._on_journal_trouble(str(error), _read_now())
            return False
        self._journal_lag_ms = (time.perf_counter() - started) * 1000
        if self._journal_error is not None and not self._journal.has_backlog() and self._can_be_read():
            self._log.journal_works()
            self._journal_error = None
            self._step(JournalSeen(None))
        return True

    def _can_be_read(self) -> bool:
        """Whether the journal tells by now what it did not. A disk may still take what is written, and give nothing."""
        if self._journal.is_unanswered and time.monotonic() < self._next_retry:
            return False
        try:
            self._journal.ask_again()
        except JournalError as error:
            self._on_journal_trouble(str(error), _read_now())
            return False
        return True

    def _on_journal_trouble(self, error: str, now: Now) -> None:
        self._next_retry = time.monotonic() + JOURNAL_RETRY_SECS
        if self._journal_error is None:
            self._log.journal_fails(error)
        self._journal_error = error
        self._step(JournalSeen(error), now)

    def _send(self, batch: Batch, *, saved: bool) -> list[str]:
        """Send a batch; returns the orders that could not be handed over."""
        undelivered = self._hand_over(batch, saved=saved)
        for item in batch.publications:
            self._events.send_multipart([item.topic.encode(), encode_map({"v": VERSION, **item.fields})])
            if item.journaled:
                reach("breaker.event.published")
            self._log.published(item)
        for note in batch.notes:
            logger.warning("{}", note)
        for reply in batch.replies:
            reach("breaker.reply.unsent")
            kept = saved or (batch.sync and self._journal.stop_is_saved)
            fields = reply.fields if kept else {**reply.fields, "warning": self._unsaved_warning()}
            self._answer(reply.token, fields)
        return undelivered

    def _hand_over(self, batch: Batch, *, saved: bool) -> list[str]:
        undelivered: list[str] = []
        for each in batch.dispatch:
            is_order = must_arrive(each.message)
            if is_order and not saved:
                undelivered.append(each.message.order_id)  # type: ignore[attr-defined]
                continue
            if is_order:
                reach("breaker.place.unsent")
            try:
                self._dispatch.send_multipart([each.peer, encode(each.message)], zmq.NOBLOCK)
            except zmq.ZMQError:
                # The peer is gone or takes nothing: what it misses it gets at its next hello.
                if is_order:
                    undelivered.append(each.message.order_id)  # type: ignore[attr-defined]
                else:
                    self._step(Missed(each.peer))
            if is_order:
                reach("breaker.place.sent")
        return undelivered

    def _unsaved_warning(self) -> str:
        return f"this is not saved, so a restart may forget it: {self._journal_error}"

    def _answer(self, envelope: list[bytes], fields: dict[str, Any]) -> None:
        payload = encode_map({"v": VERSION, "kind": "reply", **fields})
        self._drop("reply_to_nobody", self._replies.send(envelope, payload))

    def _drop(self, cause: str, count: int = 1) -> None:
        if count:
            self._dropped[cause] = self._dropped.get(cause, 0) + count


def _read_now() -> Now:
    return Now(time.monotonic_ns(), time.time_ns())


def _kind_of(fields: dict[str, Any], kinds: dict[str, Any]) -> Any:
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise DecodeError("unknown_kind", f"kind is {shown(kind)}, allowed: {', '.join(kinds)}", fields)
    return kinds[kind]


def _id_of(fields: dict[str, Any]) -> str | int | None:
    """The id of a request as far as it could be read: without it nobody would know whose the answer is."""
    given = fields.get("id")
    return given if isinstance(given, str | int) else None


def _id_in(payload: bytes) -> str | int | None:
    try:
        return _id_of(decode_map(payload))
    except DecodeError as error:
        return _id_of(error.fields)


def _no(request_id: Any, code: str, error: str) -> dict[str, Any]:
    return {"id": request_id, "ok": False, "code": code, "error": error}
