"""The breaker's process in virtual time: its real stage, a journal in memory, and a rim that may die anywhere."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from services.breaker.batch import AnsweredRequest, DispatchMessage, Publication
from services.breaker.circuits.scopes import KeptCircuit, Unreadable
from services.breaker.inputs import FromControl, FromFeedback, Input, JournalSeen, Missed, Started, Tick, Undeliverable
from services.breaker.orders import OrderRecord
from services.breaker.stage import Stage
from services.wire.dispatch import Place, ReplaceOrder
from tests.unit.breaker.harness import SECOND, MemoryHistory, settings_of

if TYPE_CHECKING:
    from tests.simulation.world import World

WINDOW = 3
CIRCUIT = {
    "failure_threshold": 3,
    "failure_window_secs": 10,
    "open_timeout_secs": 2,
    "half_open_max_tries": 2,
    "half_open_timeout_secs": 8,
}


class Died(Exception):
    """The process is gone."""


class History(MemoryHistory):
    """A journal whose disk does not tell for a while, now and then until the calm; it takes what is written."""

    def __init__(self, world: World) -> None:
        super().__init__(world.clock)
        self._world = world
        # Chances of its own: how often it is asked must not change what else happens.
        self._chance = Random(f"the breaker's journal {world.seed}")
        self._fails_until = 0.0
        self._now_and_then()

    def _now_and_then(self) -> None:
        self._world.after(self._chance.expovariate(1 / 20), self._fail)

    def _fail(self) -> None:
        if not self._world.calm:
            self._fails_until = self._secs() + self._chance.choice((0.05, 0.5, 3.0))
            self._now_and_then()

    def _secs(self) -> float:
        return self._world.clock.monotonic_ns() / SECOND

    def fails(self) -> bool:
        """Whether it would not tell just now."""
        return not self._world.calm and self._secs() < self._fails_until

    def _question(self) -> None:
        if self.fails():
            raise Unreadable("the breaker's journal cannot be read: disk I/O error")

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier."""
        self._question()
        return self.read_order(order_id)

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier."""
        self._question()
        return super().find_request(request_id)

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""
        self._question()
        return super().find_resting_circuit(scope)

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before."""
        self._question()
        return super().knows_execution(order_id, kind, exec_id)


class BreakerProcess:
    """A process that dies and starts again on what was saved."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.history = History(world)
        self.crash_next = ""
        self.stage: Stage | None = None
        self._tokens = 0
        # When the rim asks the journal again what it did not tell; 0: there is nothing.
        self._ask_again_at = 0

    def start(self) -> None:
        """Start, unless one runs."""
        self._start()
        self._tick()

    def _start(self) -> None:
        if self.stage is None:
            self.world.note("the breaker starts")
            self._ask_again_at = 0
            settings = settings_of(window=WINDOW, circuit=CIRCUIT, queue_limit=20)
            saved = self.history.saved()
            self.stage = Stage(settings, now=self.world.now(), history=self.history, saved=saved)
            self.hear(Started())

    def _tick(self) -> None:
        self.hear(Tick())
        if self._ask_again_at and self.world.clock.monotonic_ns() >= self._ask_again_at:
            if self.history.fails():
                self._ask_again_later()
            else:
                self._ask_again_at = 0
                self.hear(JournalSeen(None))
        self.world.after(self.world.turn_secs(0.02), self._tick)

    def _ask_again_later(self) -> None:
        self._ask_again_at = self.world.clock.monotonic_ns() + SECOND

    def ask(self, request: Any) -> None:
        """A person asks on `control`."""
        self._tokens += 1
        self.world.note(f"a person asks: {request}")
        self.world.oracle.asked(self._tokens, request)
        self.hear(FromControl(self._tokens, request))

    def hear(self, given: Input) -> None:
        """Something arrives; lost if nobody is there."""
        if self.stage is None:
            return
        if isinstance(given, FromFeedback):
            self.world.oracle.heard(given.feedback)
        try:
            self._turn(given)
        except Died:
            self.world.note("the breaker dies")
            self.stage = None
            self.world.after(self.world.chance.choice((0.05, 0.5, 4)), self._start)

    def _turn(self, given: Input) -> None:
        """A step, what it brings about, and a step for each message that could not be handed over."""
        world, stage = self.world, self.stage
        assert stage is not None
        inputs = [given]
        while inputs:
            batch = stage.step(inputs.pop(0), world.now())
            if batch.unread:
                world.note(batch.unread)
                inputs.append(JournalSeen(batch.unread))
                self._ask_again_later()
            crash, self.crash_next = self.crash_next, ""
            if crash == "before_save":
                raise Died
            self.history.save(batch)
            world.oracle.breaker_saved(batch, stage)
            if crash == "after_save":
                raise Died
            for sent in batch.dispatch:
                inputs += self._post(sent)
            for item in batch.publications:
                self._publish(item)
            for reply in batch.replies:
                world.oracle.replied(reply.token, reply.fields)
            if crash:
                raise Died

    def _post(self, sent: DispatchMessage) -> list[Input]:
        """Hand a message over; returns what the link did not take."""
        world, message = self.world, sent.message
        if isinstance(message, Place):
            world.oracle.handed_over(message)
        if sent.peer == world.executor.peer:
            world.executor.receive(message)
            if world.maybe(0.01):
                world.executor.reconnect()
            return []
        if world.chance.random() < 0.5:
            # The link takes it for somebody who is gone.
            return []
        if isinstance(message, Place | ReplaceOrder):
            return [Undeliverable(message.order_id, "gone")]
        return [Missed(sent.peer)]

    def _publish(self, item: Publication) -> None:
        world, fields = self.world, item.fields
        for strategy in world.strategies:
            if item.topic == f"order/{strategy.name}/" and not world.maybe(0.1):
                world.after(world.latency(), partial(strategy.read, fields))
