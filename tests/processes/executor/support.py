"""What the executor's tests share: a paper gateway, an engine on it, and the other end of its links."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from orderfuse.bus import links
from orderfuse.bus.codec import decode, encode
from orderfuse.bus.events import NotPlaced
from orderfuse.bus.fields import Message
from orderfuse.bus.orders import Submit
from orderfuse.circuit import TradingCircuitBreaker
from orderfuse.settings import DispatchSettings, IbSettings, Settings
from services.executor.account.position_breaks import PositionBreaks
from services.executor.inputs import Input, Tick
from services.executor.journal import Journal
from services.executor.loop import ExecutorLoop
from services.executor.orders.ledger import Ledger
from services.executor.script import IBConnectionManager, OrderExecutionEngine
from services.executor.stage import Stage
from services.gateway.checks import CheckedOrder, check
from services.gateway.life import Life
from services.gateway.reports import OrderReport
from services.gateway.timing import Timing
from services.paper.server.gateway import PaperGateway
from services.wire.dispatch import (
    Accept,
    FromExecutor,
    GlobalCancel,
    Hello,
    Joined,
    Lease,
    LeaseRequest,
    NotWelcome,
    ReplaceOrder,
    Welcome,
)
from services.wire.feedback import Feedback
from services.wire.standing import GatewayStatus

DEADLINE_SECS = 30.0
QUICK = Timing(connect=2.0, request=2.0, first_pause=0.02, longest_pause=0.1, look_up_pause=0.05)


class ManualClock:
    """A breaker's clock that a test moves."""

    def __init__(self) -> None:
        self._ns = 0

    def monotonic_ns(self) -> int:
        return self._ns

    def utcnow(self) -> datetime:
        return datetime(2026, 1, 5, tzinfo=UTC) + timedelta(microseconds=self._ns / 1000)

    def advance(self, secs: float) -> None:
        self._ns += round(secs * 10**9)


async def until(holds: Callable[[], Any], what: str) -> None:
    """Wait for something that a test expects, up to a deadline."""
    deadline = time.monotonic() + DEADLINE_SECS
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(story), 60))


async def _awaited(story: Callable[[], Awaitable[None]]) -> None:
    await story()


@contextlib.asynccontextmanager
async def paper(**options: Any) -> AsyncIterator[PaperGateway]:
    gateway = PaperGateway(**{"port": 0, "seed": 1, "record_in_memory": True, **options})
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@contextlib.asynccontextmanager
async def engine_on(
    gateway: PaperGateway,
    breaker: TradingCircuitBreaker | None = None,
    *,
    journal: Journal | None = None,
    timing: Timing = QUICK,
    **settings: Any,
) -> AsyncIterator[Engine]:
    connection = Connection(IbSettings(port=gateway.port, **settings), journal, timing=timing)
    engine = Engine(connection, breaker)
    await connection.start(DEADLINE_SECS)
    try:
        yield engine
    finally:
        await connection.stop()


class Connection(IBConnectionManager):
    """A script's connection whose middle a test may look into and push."""

    @property
    def ready(self) -> bool:
        return self.stage.core.life.ready

    @property
    def undisturbed_since(self) -> float:
        return self.stage.core.life.undisturbed_since

    def look_up(self) -> None:
        self.stage.core.life.look_up()

    def renew(self, why: str) -> None:
        self.stage.core.life.renew(why)

    @property
    def told(self) -> list[bytes]:
        """All that was told so far."""
        return [payload for _, payload in self.journal.feedback_after(0, 1000)]

    def _take(self, inputs: Sequence[Input]) -> None:
        super()._take(inputs)
        status = self.status()
        if not self.statuses or self.statuses[-1] != status:
            self.statuses.append(status)

    @functools.cached_property
    def statuses(self) -> list[GatewayStatus]:
        """Every status that it had."""
        return []

    def hand_out(self) -> None:
        """Have carried out what a test has asked the middle for."""
        self._take([Tick(buffer_empty=self._line.buffer_empty)])

    def take_order_id(self) -> int:
        return self.stage.core.life.ids.take()


class Engine(OrderExecutionEngine):
    """A script's engine that a test may have do what a breaker asks for."""

    connection: Connection

    @property
    def stage(self) -> Stage:
        return self.connection.stage

    @property
    def ledger(self) -> Ledger:
        return self.stage.core.ledger

    @property
    def journal(self) -> Journal:
        return self.connection.journal

    @property
    def breaks(self) -> PositionBreaks:
        return self.stage.others.breaks

    @property
    def journal_error(self) -> str:
        return self.stage.core.journal_error

    def gateway_status(self) -> GatewayStatus:
        return self.stage.gateway_status()

    def check(self, order: Submit) -> CheckedOrder:
        return check(order, self.connection.account, self._allow)

    def write(
        self, order: CheckedOrder, *, legs: Sequence[CheckedOrder] = (), until: float = float("inf")
    ) -> NotPlaced | None:
        self.stage.placing.write([order, *legs], until)
        # What became of it is told with the next batch.
        self.connection.hand_out()
        self.connection.hand_out()
        told = [decode(payload, Feedback).fact for _, payload in self.journal.feedback_of(order.order_id)]
        return next((fact for fact in told if isinstance(fact, NotPlaced)), None)

    def cancel(self, order_id: str, request_id: str | None) -> None:
        self.stage.cancelling.cancel(order_id, request_id)
        self.connection.hand_out()

    def cancel_all(self, message: GlobalCancel) -> None:
        self.stage.cancelling.cancel_everything(message)
        self.connection.hand_out()

    def replace(self, message: ReplaceOrder) -> None:
        self.stage.placing.replace(message)
        self.connection.hand_out()

    def refuse_replace(self, message: ReplaceOrder, reason: str) -> None:
        self.stage.placing.refuse_replace(message, reason)
        self.connection.hand_out()

    def settle(self, order_id: str) -> None:
        self.stage.core.take(self.ledger.on_resolved_by_hand(order_id))
        self.connection.hand_out()

    def on_report(self, report: OrderReport) -> None:
        self.stage.reconciliation.on_report(report)
        self.connection.hand_out()

    def accept(self, message: Accept) -> None:
        self.stage.others.accept(message)
        self.connection.hand_out()


@dataclass
class LifeOfIts:
    """The life of an executor's connection, as a test looks at it."""

    life: Life

    @property
    def usable(self) -> bool:
        return self.life.usable

    @property
    def undisturbed_since(self) -> float:
        return self.life.undisturbed_since

    def clock(self) -> float:
        return time.monotonic()

    def look_up(self) -> None:
        self.life.look_up()

    def status(self) -> GatewayStatus:
        return self.life.status()


@dataclass
class Executor:
    """The whole executor, as a test looks at it."""

    stage: Stage
    journal: Journal
    loop: ExecutorLoop

    def cancel(self, order_id: str, request_id: str | None) -> None:
        self.stage.cancelling.cancel(order_id, request_id)

    @property
    def connection(self) -> LifeOfIts:
        return LifeOfIts(self.stage.core.life)

    @property
    def ledger(self) -> Ledger:
        return self.stage.core.ledger

    @property
    def breaks(self) -> PositionBreaks:
        return self.stage.others.breaks

    def gateway_status(self) -> GatewayStatus:
        return self.stage.gateway_status()


def orders_on_the_wire(gateway: PaperGateway) -> list[str]:
    """The references of the orders that reached the gateway."""
    return [entry.fields["orderRef"] for entry in gateway.record.entries("placeOrder", direction="in")]


class BreakerEnd:
    """The breaker's end of the executor's links, moved by the test."""

    def __init__(self, settings: Settings) -> None:
        self._context = zmq.asyncio.Context()
        self._dispatch: Any = links.bind(self._context, settings, "dispatch")
        self._feedback: Any = links.bind(self._context, settings, "feedback")
        self._identity = b""
        self._tasks: list[asyncio.Task[None]] = []
        self.fence = 1
        self.lease_ms = 500
        self.gives_leases = True
        self.feedback_after = 0
        self.taken = 0
        self.doubtful: list[str] = []
        self.heard: list[Any] = []
        self.feedback: list[Feedback] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._hear()), asyncio.create_task(self._collect())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._dispatch.close()
        self._feedback.close()
        self._context.term()

    async def send(self, message: Message) -> None:
        # An executor that has just ended cannot be reached (ROUTER_MANDATORY); its successor says hello.
        with contextlib.suppress(zmq.ZMQError):
            await self._dispatch.send_multipart([self._identity, encode(message)])

    def messages(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    def facts(self, order_id: str) -> list[Any]:
        """The facts about an order, each number once."""
        told = {feedback.seq: feedback.fact for feedback in self.feedback}
        return [fact for _, fact in sorted(told.items()) if getattr(fact, "order_id", "") == order_id]

    def kinds(self, order_id: str) -> list[str]:
        return [type(fact).__name__ for fact in self.facts(order_id)]

    async def _hear(self) -> None:
        while True:
            self._identity, data = await self._dispatch.recv_multipart()
            message: FromExecutor = decode(data, FromExecutor)
            self.heard.append(message)
            if isinstance(message, Hello):
                welcome = Welcome(fence=self.fence, doubtful=self.doubtful, feedback_after=self.feedback_after)
                await self.send(welcome)
            elif isinstance(message, LeaseRequest) and not self.messages(Hello):
                await self.send(NotWelcome(reason="say hello first"))
            elif isinstance(message, LeaseRequest) and self.gives_leases:
                await self.send(
                    Lease(
                        nonce=message.nonce,
                        fence=self.fence,
                        lease_ms=self.lease_ms,
                        feedback_taken=self.taken,
                    )
                )

    async def _collect(self) -> None:
        while True:
            feedback: Feedback = decode(await self._feedback.recv(), Feedback)
            self.feedback.append(feedback)
            self.taken = max(self.taken, feedback.seq)

    @property
    def joined(self) -> bool:
        return bool(self.messages(Joined))

    @property
    def usable(self) -> bool:
        """Whether the executor says that its gateway takes orders, and has a lease by now."""
        requests = self.messages(LeaseRequest)
        return len(requests) > 1 and requests[-1].gateway.usable


@contextlib.asynccontextmanager
async def executor(settings: Settings, timing: Timing = QUICK) -> AsyncIterator[Executor]:
    """The whole executor, in this process."""
    journal = Journal(settings.home / "executor.sqlite", settings.ib.client_id)
    loop = ExecutorLoop(settings, journal, timing=timing)
    task = asyncio.create_task(loop.run())
    try:
        yield Executor(loop.rim.stage, journal, loop)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close()


def settings_for(home: Path, port: int, *, window: int = 8) -> Settings:
    return Settings(home=home, ib=IbSettings(port=port), dispatch=DispatchSettings(window=window))


@contextlib.asynccontextmanager
async def breaker_end(settings: Settings) -> AsyncIterator[BreakerEnd]:
    end = BreakerEnd(settings)
    end.start()
    try:
        yield end
    finally:
        await end.stop()
