"""What the executor's tests share: a paper gateway, an engine on it, and the other end of its links."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from orderfuse import links
from orderfuse.circuit import TradingCircuitBreaker
from orderfuse.codec import decode, encode
from orderfuse.messages import (
    Feedback,
    FromExecutor,
    Hello,
    Joined,
    Lease,
    LeaseRequest,
    Message,
    NotWelcome,
    Place,
    Submit,
    Welcome,
)
from orderfuse.settings import DispatchSettings, IbSettings, Settings
from services.executor.connection import IBConnectionManager, Timing
from services.executor.engine import OrderExecutionEngine
from services.executor.journal import Journal
from services.executor.loop import ExecutorLoop
from services.paper.gateway import PaperGateway

STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
MARKET = {"action": "BUY", "totalQuantity": 100, "orderType": "MKT"}
# Far below the market: it is accepted and rests.
RESTING = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 1.0}
DEADLINE_SECS = 30.0
QUICK = Timing(connect=2.0, request=2.0, first_pause=0.02, longest_pause=0.1, look_up_pause=0.05)


def submit(order_id: str, *, order: dict[str, Any] | None = None, **more: Any) -> Submit:
    fields: dict[str, Any] = {"strategy_id": "s1", "sent_ns": 0, "contract": STOCK, **more}
    return Submit(order_id=order_id, order=order or MARKET, **fields)


def place(order_id: str, fence: int, *, order: dict[str, Any] | None = None, **more: Any) -> Place:
    fields: dict[str, Any] = {
        "strategy_id": "s1",
        "account": "",
        "contract": STOCK,
        "protect": False,
        "scope": "strategy:s1",
        "ttl_left_ms": 5000,
        **more,
    }
    return Place(order_id=order_id, order=order or MARKET, fence=fence, **fields)


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
) -> AsyncIterator[OrderExecutionEngine]:
    connection = IBConnectionManager(IbSettings(port=gateway.port, **settings), journal, timing=timing)
    engine = OrderExecutionEngine(connection, breaker)
    await connection.start(DEADLINE_SECS)
    try:
        yield engine
    finally:
        await connection.stop()


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
async def executor(settings: Settings, timing: Timing = QUICK) -> AsyncIterator[OrderExecutionEngine]:
    """The whole executor, in this process."""
    journal = Journal(settings.home / "executor.sqlite", settings.ib.client_id)
    connection = IBConnectionManager(settings.ib, journal, timing=timing)
    engine = OrderExecutionEngine(connection, foreign_orders=settings.executor.foreign_orders)
    task = asyncio.create_task(ExecutorLoop(settings, connection, engine).run())
    try:
        yield engine
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
