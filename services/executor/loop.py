"""The executor's rim: the links to the breaker on one side, the engine on the other.

One task hears the breaker, one keeps the time; both end in the same few synchronous steps, so nothing can
come between an order's last look and its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import Callable
from typing import Any

import zmq
import zmq.asyncio
from loguru import logger
from msgspec import structs

from orderfuse import links
from orderfuse.codec import MAX_REPLY_BYTES, DecodeError, decode, encode
from orderfuse.ibfields import InvalidFields
from orderfuse.messages import Attached, Fenced, Invalid, Joined, NotPlaced, Place, ReplaceOrder, ToExecutor
from orderfuse.settings import Settings
from orderfuse.stopfile import StopFile
from services.crash_points import reach
from services.executor import session as dispatch
from services.executor.connection import IBConnectionManager
from services.executor.engine import OrderExecutionEngine
from services.executor.journal import JournalError
from services.executor.last_look import AlreadyPlaced, Look, Refuse, Surroundings, Wait, last_look, stopped
from services.executor.session import Session
from services.executor.tasks import until_one_ends
from services.gateway.ib_orders import CheckedOrder

# Fine enough for the lease (100 ms) and the pacing (22 ms a message).
TICK_SECS = 0.01
# Feedback is sent again in pieces, so that orders and fences are served in between.
RESEND_CHUNK = 200
# Messages of the breaker taken before orders are written: more than a window and all that goes with it.
MAX_AT_ONCE = 100
# Orders in doubt named in one message: 150 of 40 bytes, beside 150 and more known ones, stay inside a frame.
MAX_IN_DOUBT = 100


class ExecutorLoop:
    """The running executor.

    Args:
        settings: where the breaker is, how wide the window.
        connection: the gateway.
        engine: writes orders and tells facts.
    """

    def __init__(self, settings: Settings, connection: IBConnectionManager, engine: OrderExecutionEngine) -> None:
        self._settings = settings
        self._connection = connection
        self._engine = engine
        self._journal = engine.journal
        self._clock = connection.clock
        self._session = Session(
            executor_id=str(uuid.uuid4()),
            journal_id=self._journal.journal_id,
            inbox_limit=settings.dispatch.window,
            first_nonce=secrets.randbits(48),
            fences=self._journal.fences(),
        )
        self._stop_file = StopFile(settings.home)
        self._stopped = False
        # The orders that outlived the breaker were cancelled; once for each time that it is lost.
        self._cancelled_for_loss = False
        # Until the breaker has said which orders it knows.
        engine.may_adopt = False
        self._context: zmq.asyncio.Context | None = None
        self._dispatch: Any = None
        self._feedback: Any = None
        self._resend_from: int | None = None
        self._feedback_range = (1, 0, 0)
        self._dropped = 0
        engine.on_feedback = self._send_feedback
        engine.on_change = self._tick

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: a link cannot be used.
            AccountRefused, JournalMismatch: the gateway or the journal is not the one to trade with.
        """
        self._context = zmq.asyncio.Context()
        plain = zmq.Context(self._context)
        try:
            self._dispatch = links.connect(self._context, self._settings, "dispatch")
            # A plain socket: its send either takes the bytes at once or says no.
            self._feedback = links.connect(plain, self._settings, "feedback")
            tasks = {asyncio.create_task(run()) for run in (self._connection.run, self._hear, self._keep_time)}
            await until_one_ends(tasks)
        finally:
            for link in (self._dispatch, self._feedback):
                if link is not None:
                    link.close()
            self._context.term()

    # -- two tasks ----------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        while True:
            self._take_frames(await self._dispatch.recv_multipart())
            # First all that has come, then the orders: a fence must not wait behind orders that it voids.
            for _ in range(MAX_AT_ONCE):
                more = self._dispatch.recv_multipart(flags=zmq.DONTWAIT)
                if not more.done() or more.exception() is not None:
                    break
                self._take_frames(more.result())
            self._write_what_may()

    def _take_frames(self, frames: list[bytes]) -> None:
        if len(frames) != 1:
            self._drop(f"{len(frames)} frames instead of one")
            return
        try:
            message: ToExecutor = decode(frames[0], ToExecutor, limit=MAX_REPLY_BYTES)
        except DecodeError as error:
            self._drop(error.reason)
            return
        self._perform(self._session.take(message, self._clock()))

    async def _keep_time(self) -> None:
        while True:
            self._tick()
            self._look_for_stop()
            self._look_for_loss()
            self._write_what_may()
            self._resend_some()
            await asyncio.sleep(TICK_SECS)

    def _tick(self) -> None:
        if self._dispatch is not None and not self._dispatch.closed:
            if not self._session.joined:
                # What a breaker must know that is greeted now; a journal that cannot be read says so elsewhere.
                with contextlib.suppress(JournalError):
                    self._feedback_range = (*self._journal.feedback_range(), self._journal.taken)
            gateway = self._engine.gateway_status()
            self._perform(self._session.tick(self._clock(), gateway, self._feedback_range))

    def _look_for_stop(self) -> None:
        """Say when the file STOP appears and when it has gone; each order looks for it again at its turn."""
        stop = self._stop_file.look()
        if stop is not None and not self._stopped:
            logger.warning("stopped by {}: {}; no order leaves while it is there", self._stop_file.path, stop.reason)
        elif stop is None and self._stopped:
            logger.warning("{} has gone; the breaker says whether orders may leave", self._stop_file.path)
        self._stopped = stop is not None

    def _look_for_loss(self) -> None:
        """Without a breaker for too long, cancel what nobody watches any more, if that is wished."""
        settings = self._settings.executor
        lost_for = self._session.breaker_lost_for(self._clock())
        if lost_for == 0:
            self._cancelled_for_loss = False
        elif settings.on_breaker_loss == "cancel" and lost_for >= settings.on_breaker_loss_secs:
            if not self._cancelled_for_loss:
                self._engine.cancel_ours(f"no breaker for {settings.on_breaker_loss_secs:g} s")
            self._cancelled_for_loss = True

    def _drop(self, why: str) -> None:
        self._dropped += 1
        if self._dropped & (self._dropped - 1) == 0:
            logger.error("a message of the breaker is dropped ({} so far): {}", self._dropped, why)

    # -- orders -------------------------------------------------------------------------------------------

    def _write_what_may(self) -> None:
        """Judge what waits in the order in which it came, until something has to wait on."""
        inbox = self._session.inbox
        while inbox:
            message, received_at = inbox[0].message, inbox[0].received_at
            if isinstance(message, ReplaceOrder) and self._knows_change(message):
                inbox.popleft()
                self._tell_of(message.order_id)
                continue
            look = last_look(message, received_at, self._surroundings(message))
            if isinstance(look, Wait):
                return
            inbox.popleft()
            if isinstance(message, ReplaceOrder):
                self._replace(message, look)
            else:
                self._place(message, look)

    def _knows_change(self, message: ReplaceOrder) -> bool:
        return self._engine.ledger.knows_change(message.order_id, message.revision)

    def _place(self, place: Place, look: Look) -> None:
        match look:
            case Refuse(fact):
                self._engine.tell(fact, "neutral")
            case AlreadyPlaced():
                self._tell_again(place.order_id)
            case _:
                self._write(place)

    def _replace(self, message: ReplaceOrder, look: Look) -> None:
        match look:
            case Refuse(fact):
                reason = fact.reason if isinstance(fact, NotPlaced) else f"it was {fact.age_ms} ms old at its turn"
                self._engine.refuse_replace(message, reason)
            case _:
                self._engine.replace(message, self._still_permitted(message))

    def _surroundings(self, order: Place | ReplaceOrder) -> Surroundings:
        now = self._clock()
        engine, connection, session = self._engine, self._connection, self._session
        gateway = engine.gateway_status()
        return Surroundings(
            now=now,
            stopped=self._stop_file.look() is not None,
            fence=session.fence_of(order.scope),
            lease_until=session.lease_until,
            known=isinstance(order, Place) and self._is_known(order.order_id),
            usable=gateway.usable,
            detail=gateway.detail,
            window_free=engine.ledger.window_used(now) < self._settings.dispatch.window,
            buffer_empty=connection.buffer_empty,
            token_free=connection.pacer.free(now, count=1 + len(order.attached) if isinstance(order, Place) else 1),
        )

    def _is_known(self, order_id: str) -> bool:
        return self._engine.ledger.knows(order_id) or self._engine.was_listed(order_id)

    def _write(self, place: Place) -> None:
        try:
            checked = self._engine.check(place)
            legs = [self._checked_leg(place, leg) for leg in place.attached]
        except InvalidFields as error:
            invalid = Invalid(order_id=place.order_id, strategy_id=place.strategy_id, reason=str(error)[:500])
            self._engine.tell(invalid, "neutral")
            return
        self._engine.write(checked, self._still_permitted(place), legs)

    def _checked_leg(self, place: Place, leg: Attached) -> CheckedOrder:
        try:
            return self._engine.check(structs.replace(place, order_id=leg.order_id, order=leg.order, attached=()))
        except InvalidFields as error:
            raise InvalidFields(f"the attached order {leg.order_id}: {error}") from None

    def _still_permitted(self, place: Place | ReplaceOrder) -> Callable[[], NotPlaced | None]:
        """The disk may have taken longer than the lease lasts, and somebody may have said stop meanwhile."""

        def permit() -> NotPlaced | None:
            if self._stop_file.look() is not None:
                return stopped(place)
            late = self._clock() - self._session.lease_until
            if late < 0:
                return None
            reason = "the breaker's lease ran out while the journal was written"
            return NotPlaced(order_id=place.order_id, strategy_id=place.strategy_id, code="lease", reason=reason)

        return permit

    def _tell_again(self, order_id: str) -> None:
        """An order that has been on its way to IB is never written again; what is known of it is told again."""
        logger.error("{}: handed over again, but it was on its way to IB before; not written", order_id)
        told = self._journal.feedback_of(order_id)
        if told and told[-1][0] > self._journal.taken:
            self._tell_of(order_id)
        else:
            self._engine.tell_again(order_id)

    def _tell_of(self, order_id: str) -> None:
        for seq, payload in self._journal.feedback_of(order_id):
            self._send_feedback(seq, payload)

    # -- what the session wants ---------------------------------------------------------------------------

    def _perform(self, effects: list[dispatch.Effect]) -> None:
        for effect in effects:
            match effect:
                case dispatch.Send(message):
                    self._send(encode(message))
                case dispatch.Tell(fact):
                    self._engine.tell(fact, "neutral")
                case dispatch.RefuseReplace(message, reason):
                    self._engine.refuse_replace(message, reason)
                case dispatch.Resend(after_seq):
                    under_way = self._resend_from
                    self._resend_from = after_seq if under_way is None else min(under_way, after_seq)
                    # At once, as far as it goes: what is told from now on need not be told twice.
                    self._resend_some()
                case dispatch.AnswerWelcome(doubtful, fence, owed, tell_open):
                    self._engine.keep_only_cancel_all(owed)
                    self._answer_welcome(doubtful, fence)
                    if tell_open:
                        self._engine.tell_open()
                case dispatch.AnswerFence(fence):
                    self._answer_fence(fence)
                case dispatch.Note(text):
                    logger.info("{}", text)
                case _:
                    self._change(effect)

    def _change(self, effect: dispatch.Effect) -> None:
        """What changes the journal, or what is at IB."""
        match effect:
            case dispatch.KeepFence(scope, fence):
                self._keep(lambda: self._journal.keep_fence(scope, fence))
            case dispatch.NoteTaken(seq):
                self._keep(lambda: self._journal.note_taken(seq))
                self._engine.adopt_now()
            case dispatch.RenameJournal():
                self._keep(self._rename_journal)
            case dispatch.LookUp(message):
                self._engine.expect(message)
            case dispatch.CancelAtIB(order_id, request_id):
                self._engine.cancel(order_id, request_id)
            case dispatch.CancelAll(message):
                self._engine.cancel_all(message)
            case dispatch.EndCancelAll(number):
                self._engine.end_cancel_all(number)
            case dispatch.SettleByHand(order_id):
                self._engine.settle(order_id)
            case dispatch.AcceptByHand(message):
                self._engine.accept(message)

    @staticmethod
    def _keep(write: Callable[[], None]) -> None:
        """Write what is of use to the next process only: a disk that takes nothing must not stop a stop."""
        try:
            write()
        except JournalError as error:
            logger.error("{}", error)

    def _rename_journal(self) -> None:
        before = self._journal.journal_id
        self._session.journal_id = self._journal.rename()
        logger.warning("this journal is an old copy of {}: it is {} from now on", before, self._session.journal_id)

    def _answer_welcome(self, doubtful: list[str], fence: int) -> None:
        reach("executor.welcome.taken")
        ledger = self._engine.ledger
        known = [order_id for order_id in doubtful if ledger.knows(order_id)]
        in_doubt = ledger.in_doubt()[:MAX_IN_DOUBT]
        executor_id = self._session.executor_id
        self._send(encode(Joined(executor_id=executor_id, fence=fence, known=known, in_doubt=in_doubt)))

    def _answer_fence(self, fence: int) -> None:
        reach("executor.fence.taken")
        written = self._engine.ledger.unanswered()
        self._send(encode(Fenced(executor_id=self._session.executor_id, fence=fence, written=written)))
        logger.info("fence {} taken; written and unanswered: {}", fence, written or "nothing")

    def _send(self, data: bytes) -> None:
        sent = self._dispatch.send(data, zmq.DONTWAIT)
        # Done at once, one way or the other. Without a breaker it is void: it will be greeted anew.
        error = sent.exception() if sent.done() else None
        if error is not None and not isinstance(error, zmq.Again):
            raise error

    def _send_feedback(self, seq: int, payload: bytes) -> None:
        if self._feedback is None or self._feedback.closed:
            return
        # What the link does not take stays in the journal: each lease says what the breaker has got.
        with contextlib.suppress(zmq.Again):
            self._feedback.send(payload, zmq.DONTWAIT)
            reach("executor.feedback.sent")
        self._session.on_feedback_sent(seq, self._clock())

    def _resend_some(self) -> None:
        if self._resend_from is None:
            return
        try:
            rows = self._journal.feedback_after(self._resend_from, RESEND_CHUNK)
        except JournalError as error:
            logger.error("the breaker waits for facts that cannot be read from the disk: {}", error)
            return
        for seq, payload in rows:
            self._send_feedback(seq, payload)
        self._resend_from = rows[-1][0] if len(rows) == RESEND_CHUNK else None
