"""The executor's links to the breaker: what comes is checked and goes into the stage, what it wants sent leaves."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
import uuid
from collections import deque
from typing import Any

import zmq
import zmq.asyncio
from loguru import logger

from orderfuse.bus import links
from orderfuse.bus.codec import MAX_REPLY_BYTES, DecodeError, decode, encode
from orderfuse.settings import Settings
from orderfuse.stopfile import StopFile
from services.executor.inputs import Input, Stopping, Tick, Told
from services.executor.journal import Journal, JournalError
from services.executor.rim import Carried, Clock, Rim, machine_now
from services.executor.stage import Stage
from services.executor.tasks import until_one_ends
from services.gateway.line import Line
from services.gateway.timing import Timing
from services.runtime.crash_points import reach
from services.runtime.now import Now
from services.wire.dispatch import Fenced, FromExecutor, Joined, ToExecutor

# Fine enough for the lease (100 ms) and the pacing (22 ms a message).
TICK_SECS = 0.01
# Feedback is sent again in pieces, so that orders and fences are served in between.
RESEND_CHUNK = 200
# Messages of the breaker taken before orders are written: more than a window and all that goes with it.
MAX_AT_ONCE = 100


def system_clock() -> Now:
    """The clocks of this machine."""
    return machine_now(time.monotonic_ns())


class ExecutorLoop:
    """The running executor; made inside an event loop.

    Args:
        settings: where breaker and gateway are, what may be sent.
        journal: what earlier processes left, and what this one keeps.
        timing: how long the connection waits for what.
        clock: read once for each input.
    """

    def __init__(
        self, settings: Settings, journal: Journal, *, timing: Timing | None = None, clock: Clock = system_clock
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._stop_file = StopFile(settings.home)
        timing = timing or Timing()
        stage = Stage(
            settings.ib,
            settings.executor,
            window=settings.dispatch.window,
            saved=journal.saved(),
            history=journal,
            executor_id=str(uuid.uuid4()),
            alone=False,
            first_nonce=secrets.randbits(48),
            timing=timing,
        )
        self._wake = asyncio.Event()
        self._line = Line(settings.ib, timing.connect, self._wake)
        self.rim = Rim(stage, journal, self._line, clock, self._stop_file)
        self._frames: deque[list[bytes]] = deque()
        self._dispatch: Any = None
        self._feedback: Any = None
        self._stopped = False
        self._feedback_sent = 0
        self._resend_from: int | None = None
        self._dropped = 0

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: a link cannot be used.
            AccountRefused, JournalMismatch: the gateway or the journal is not the one to trade with.
        """
        context = zmq.asyncio.Context()
        plain = zmq.Context(context)
        try:
            self._dispatch = links.connect(context, self._settings, "dispatch")
            # A plain socket: its send either takes the bytes at once or says no.
            self._feedback = links.connect(plain, self._settings, "feedback")
            await until_one_ends({asyncio.create_task(run()) for run in (self._hear, self._serve)})
        except asyncio.CancelledError:
            # What IB has said until now is kept.
            self._turn(tick=False)
            raise
        finally:
            await self._line.close()
            for link in (self._dispatch, self._feedback):
                if link is not None:
                    link.close()
            context.term()

    async def _hear(self) -> None:
        while True:
            self._frames.append(await self._dispatch.recv_multipart())
            # First all that has come, then the orders: a fence must not wait behind orders that it voids.
            for _ in range(MAX_AT_ONCE):
                more = self._dispatch.recv_multipart(flags=zmq.DONTWAIT)
                if not more.done() or more.exception() is not None:
                    break
                self._frames.append(more.result())
            self._turn()

    async def _serve(self) -> None:
        while True:
            self._turn()
            self._resend_some()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECS):
                    await self._wake.wait()
            self._wake.clear()

    # -- in -----------------------------------------------------------------------------------------------

    def _turn(self, *, tick: bool = True) -> None:
        """Take all that has come, and then the time; and the time again while orders can be written."""
        inputs: list[Input] = [*self._read(), *self._line.take_heard()]
        more = True
        while more:
            carried, more = self.rim.take([*inputs, self._tick() if tick else Stopping()])
            self._send(carried)
            inputs = []

    def _tick(self) -> Tick:
        return Tick(
            stopped=self._look_for_stop(),
            buffer_empty=self._line.buffer_empty,
            feedback_sent=self._feedback_sent,
        )

    def _look_for_stop(self) -> bool:
        """Whether the file STOP is there; said when it appears and when it has gone."""
        stop = self._stop_file.look()
        if stop is not None and not self._stopped:
            logger.warning("stopped by {}: {}; no order leaves while it is there", self._stop_file.path, stop.reason)
        elif stop is None and self._stopped:
            logger.warning("{} has gone; the breaker says whether orders may leave", self._stop_file.path)
        self._stopped = stop is not None
        return self._stopped

    def _read(self) -> list[Input]:
        inputs: list[Input] = []
        while self._frames:
            frames = self._frames.popleft()
            if len(frames) != 1:
                self._drop(f"{len(frames)} frames instead of one")
                continue
            try:
                message: ToExecutor = decode(frames[0], ToExecutor, limit=MAX_REPLY_BYTES)
            except DecodeError as error:
                self._drop(error.reason)
            else:
                inputs.append(Told(message))
        return inputs

    def _drop(self, why: str) -> None:
        self._dropped += 1
        if self._dropped & (self._dropped - 1) == 0:
            logger.error("a message of the breaker is dropped ({} so far): {}", self._dropped, why)

    # -- out ----------------------------------------------------------------------------------------------

    def _send(self, carried: Carried) -> None:
        for message in carried.messages:
            self._send_message(message)
        if carried.resend_after is not None:
            under_way = self._resend_from
            self._resend_from = carried.resend_after if under_way is None else min(under_way, carried.resend_after)
            # At once, as far as it goes: what is told from now on need not be told twice.
            self._resend_some()
        for seq, payload in carried.feedback:
            self._send_feedback(seq, payload)

    def _send_message(self, message: FromExecutor) -> None:
        if isinstance(message, Joined):
            reach("executor.welcome.taken")
        elif isinstance(message, Fenced):
            reach("executor.fence.taken")
        sent = self._dispatch.send(encode(message), zmq.DONTWAIT)
        # Done at once, one way or the other. Without a breaker it is void: it will be greeted anew.
        error = sent.exception() if sent.done() else None
        if error is not None and not isinstance(error, zmq.Again):
            raise error

    def _send_feedback(self, seq: int, payload: bytes) -> None:
        # What the link does not take stays in the journal: each lease says what the breaker has got.
        with contextlib.suppress(zmq.Again):
            self._feedback.send(payload, zmq.DONTWAIT)
            reach("executor.feedback.sent")
        self._feedback_sent = max(self._feedback_sent, seq)

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
