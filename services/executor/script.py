"""The executor for a script without a bus: orders are placed one by one, with a circuit breaker or without.

connection = IBConnectionManager(load_settings().ib)
engine = OrderExecutionEngine(connection, TradingCircuitBreaker(CircuitBreakerConfig()))
await connection.start()
result = await engine.place_order(Submit(...))
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Sequence

from loguru import logger

from orderfuse.bus.events import AnyOrderEvent, NotPlaced
from orderfuse.bus.orders import Submit
from orderfuse.bus.words import Words, order_words
from orderfuse.circuit import CircuitBreakerOpenException, TradingCircuitBreaker
from orderfuse.ibfields.checks import InvalidFields
from orderfuse.settings import ExecutorSettings, IbSettings
from services.executor.account.others_in_account import ForeignPolicy
from services.executor.inputs import Input, Ordered, Stopping, Tick
from services.executor.journal import Journal
from services.executor.orders.ledger import ANSWER_SECS
from services.executor.results import ExecutionResult, status_of
from services.executor.rim import Rim, machine_now
from services.executor.stage import Stage
from services.gateway.checks import CheckedOrder, check
from services.gateway.frames import PlaceOrders
from services.gateway.line import Line
from services.gateway.timing import Timing
from services.runtime.log import tell
from services.runtime.now import Now
from services.wire.feedback import AllCancelled, Fact, Outcome, Tripped
from services.wire.standing import GatewayStatus

TICK_SECS = 0.01
# Nobody but the script itself has orders out: it waits for each, so this bounds nothing that matters.
WINDOW = 1_000


class IBConnectionManager:
    """Keeps one connection to TWS or IB Gateway, and what IB says over it.

    Args:
        settings: where the gateway is, and which account may be traded.
        journal: keeps IB's order ids and the orders over restarts; without one they are kept in memory.
        timing: how long to wait for what.
        clock: monotonic seconds.
        foreign_orders: what to do about open orders of others (`executor.foreign_orders`); `status` tells of them.

    Use `start` and `stop`, or `run`.
    """

    def __init__(
        self,
        settings: IbSettings,
        journal: Journal | None = None,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        foreign_orders: ForeignPolicy = "ignore",
    ) -> None:
        self.settings = settings
        self.journal = journal or Journal(None, settings.client_id)
        self.clock = clock
        timing = timing or Timing()
        self._wake = asyncio.Event()
        self._line = Line(settings, timing.connect, self._wake)
        self.stage = Stage(
            settings,
            ExecutorSettings(foreign_orders=foreign_orders),
            window=WINDOW,
            saved=self.journal.saved(),
            history=self.journal,
            executor_id=str(uuid.uuid4()),
            alone=True,
            timing=timing,
        )
        self._rim = Rim(self.stage, self.journal, self._line, self._now)
        self._usable = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Who waits for the first fact about an order that decides something.
        self._awaited: dict[str, asyncio.Future[tuple[Fact, Outcome]]] = {}

    @property
    def account(self) -> str:
        """The account that is traded; empty before the first connection."""
        return self.stage.core.life.account

    @property
    def usable(self) -> bool:
        """Connected, reconciled, IB behind the gateway, and the gateway answers."""
        return self.stage.core.life.usable

    def status(self) -> GatewayStatus:
        """How it stands."""
        return self.stage.gateway_status()

    def has_room(self) -> bool:
        """Whether an order may be written now: all bytes before it have left, and the pacing has room."""
        return self._line.buffer_empty and self.stage.core.life.pacer.free(self.clock())

    def place(self, order: CheckedOrder) -> asyncio.Future[tuple[Fact, Outcome]]:
        """Write an order. The future gets the first fact about it that decides something."""
        decided = self._awaited[order.order_id] = asyncio.get_running_loop().create_future()
        self._take([Ordered(order)])
        return decided

    def forget(self, order_id: str) -> None:
        """Nobody waits for this order any more."""
        self._awaited.pop(order_id, None)

    async def start(self, timeout_secs: float = 30.0) -> None:
        """Connect in the background and wait until orders can be placed.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
            JournalMismatch: the journal belongs to somebody else.
            TimeoutError: not usable in time; the text says what it waits for.
        """
        self._task = asyncio.create_task(self.run())
        usable = asyncio.create_task(self._usable.wait())
        try:
            await asyncio.wait({self._task, usable}, timeout=timeout_secs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            usable.cancel()
        if self._task.done():
            self._task.result()
        if not self.status().usable:
            detail = self.status().detail
            await self.stop()
            raise TimeoutError(f"the gateway is not usable after {timeout_secs:g} s: {detail}")

    async def stop(self) -> None:
        """End the connection that `start` made.

        Raises:
            AssertionError: a bug of ours had ended it before.
        """
        if self._task is not None:
            self._task.cancel()
            (ended,) = await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            if isinstance(ended, AssertionError):
                # A bug of ours ended it in the middle of the script, which has not heard of it so far.
                raise ended

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
            JournalMismatch: the journal belongs to somebody else.
        """
        try:
            while True:
                tick = Tick(buffer_empty=self._line.buffer_empty)
                self._take([*self._line.take_heard(), tick])
                if self.status().usable:
                    self._usable.set()
                else:
                    self._usable.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECS):
                        await self._wake.wait()
                self._wake.clear()
        except asyncio.CancelledError:
            # What IB has said until now is kept.
            self._take([*self._line.take_heard(), Stopping()])
            raise
        finally:
            await self._line.close()

    def _take(self, inputs: Sequence[Input]) -> None:
        carried, _ = self._rim.take(inputs)
        for fact, outcome in carried.facts:
            if isinstance(fact, AnyOrderEvent):
                # Nobody else is there to tell of it.
                words = order_words(fact)
                tell(Words(words.severity, f"{fact.order_id}: {words.sentence}"))
            if outcome is not None and not isinstance(fact, Tripped | AllCancelled):
                self._decide(fact.order_id, fact, outcome)
        for each in carried.unsent:
            if isinstance(each.frame, PlaceOrders):
                # Told when it is saved; who waits need not wait for that.
                order_id = each.frame.orders[0].order_id
                fact = NotPlaced(order_id=order_id, strategy_id="", code=each.code, reason=each.reason)
                self._decide(order_id, fact, "neutral")

    def _decide(self, order_id: str, fact: Fact, outcome: Outcome) -> None:
        decided = self._awaited.pop(order_id, None)
        if decided is not None and not decided.done():
            decided.set_result((fact, outcome))

    def _now(self) -> Now:
        return machine_now(round(self.clock() * 1e9))


class OrderExecutionEngine:
    """Places orders over a connection.

    Args:
        connection: where orders go.
        circuit_breaker: asked before anything is sent, and told the outcome.
        allow_order_fields: order fields that are refused unless named here.
    """

    def __init__(
        self,
        connection: IBConnectionManager,
        circuit_breaker: TradingCircuitBreaker | None = None,
        *,
        allow_order_fields: frozenset[str] = frozenset(),
    ) -> None:
        self.connection = connection
        self.circuit_breaker = circuit_breaker
        self._allow = allow_order_fields
        self._placing: set[str] = set()
        # Outcomes count also if nobody waits for the result any more.
        self._waits: set[asyncio.Task[ExecutionResult]] = set()

    async def place_order(self, order: Submit) -> ExecutionResult:
        """Place an order and return at IB's first decisive answer, or after 5 s without one.

        Raises:
            CircuitBreakerOpenException: the breaker said no; nothing was sent.
        """
        order_id = order.order_id
        if order_id in self._placing or self.connection.stage.core.ledger.knows(order_id):
            return ExecutionResult(order_id, "invalid", reason="an order with this id was placed before")
        self._admit(order_id)
        self._placing.add(order_id)
        wait = None
        try:
            checked = await self._checked(order)
            if isinstance(checked, ExecutionResult):
                return checked
            wait = asyncio.create_task(self._outcome_of(order_id, self.connection.place(checked)))
            self._waits.add(wait)
            wait.add_done_callback(self._waits.discard)
            return await asyncio.shield(wait)
        finally:
            self._placing.discard(order_id)
            if wait is None and self.circuit_breaker:
                # It never left us, whatever the reason: the slot goes back.
                self.circuit_breaker.record_neutral(order_id)

    def _admit(self, order_id: str) -> None:
        breaker = self.circuit_breaker
        if breaker is None:
            return
        verdict = breaker.admit(order_id)
        if verdict.allowed:
            return
        state = breaker.get_state()
        reason = (verdict.reason or "no reason given").removeprefix(f"{breaker.state.name}: ")
        logger.warning("{}: blocked: {}", order_id, reason)
        raise CircuitBreakerOpenException(
            reason,
            state=breaker.state,
            failure_count=state["failure_count"],
            failures_in_window=state["failures"],
        )

    async def _checked(self, order: Submit) -> CheckedOrder | ExecutionResult:
        """The order once it may be written; or why it will not be."""
        connection = self.connection
        expires_at = connection.clock() + order.ttl_ms / 1000
        while True:
            status = connection.status()
            if not status.usable:
                reason = f"the gateway cannot take orders: {status.detail}"
                return ExecutionResult(order.order_id, "not_placed", reason=reason)
            try:
                checked = check(order, connection.account, self._allow)
            except InvalidFields as error:
                return ExecutionResult(order.order_id, "invalid", reason=str(error))
            if connection.has_room():
                return checked
            if connection.clock() >= expires_at:
                return ExecutionResult(order.order_id, "expired", reason=f"not sent within {order.ttl_ms} ms")
            await asyncio.sleep(TICK_SECS)

    async def _outcome_of(self, order_id: str, decided: asyncio.Future[tuple[Fact, Outcome]]) -> ExecutionResult:
        """Wait for what decides the order, and let it count."""
        breaker = self.circuit_breaker
        deadline = self.connection.clock() + ANSWER_SECS
        while not decided.done() and self.connection.clock() < deadline:
            await asyncio.wait({decided}, timeout=TICK_SECS)
        if not decided.done():
            logger.warning("{}: no answer of IB within {:g} s", order_id, ANSWER_SECS)
            self.connection.forget(order_id)
            if breaker:
                breaker.record_failure(order_id)
            reason = f"no answer of IB within {ANSWER_SECS:g} s; it may have the order"
            return self._result(order_id, ExecutionResult(order_id, "unknown", reason=reason))
        fact, outcome = decided.result()
        if breaker and outcome == "success":
            breaker.record_success(order_id)
        elif breaker and outcome == "neutral":
            breaker.record_neutral(order_id)
        elif breaker:
            breaker.record_failure(order_id)
        code, reason = getattr(fact, "ib_code", 0), getattr(fact, "reason", "")
        return self._result(order_id, ExecutionResult(order_id, status_of(fact), ib_code=code, reason=reason))

    def _result(self, order_id: str, result: ExecutionResult) -> ExecutionResult:
        """The result with what IB has named and filled until now."""
        ledger = self.connection.stage.core.ledger
        record = ledger.record(order_id)
        filled, avg_price = ledger.totals(order_id)
        return ExecutionResult(
            order_id,
            result.status,
            ib_order_id=record.ib_order_id if record else 0,
            perm_id=record.perm_id if record else 0,
            filled=filled,
            avg_price=avg_price,
            ib_code=result.ib_code,
            reason=result.reason,
        )
