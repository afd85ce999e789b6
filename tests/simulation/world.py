"""A whole pipeline in virtual time from one seed: the real stages of breaker and executor, and a model of IB.

Between them stand rims in virtual time that save and send as the real ones do, lose and double what links may, and die
at any moment: before a batch is saved, between that and sending it, and before its next input. What the model of IB
knows is the truth that `Oracle` holds against what was told.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable

from orderfuse.bus.control import CancelScope, ResetRequest, TripRequest
from services.breaker.inputs import FromDispatch
from services.runtime.now import Now
from services.wire.dispatch import Hello
from services.wire.standing import GatewayStatus
from tests.clocks import ManualClock
from tests.simulation.breaker import BreakerProcess
from tests.simulation.executor import ExecutorProcess
from tests.simulation.market import Market
from tests.simulation.oracle import Oracle
from tests.simulation.strategy import Strategy
from tests.unit.breaker.harness import SECOND, now_of

CHAOS_SECS, CALM_SECS = 25.0, 60.0
STRATEGIES = ("alpha", "beta", "gamma")


class World:
    """Time, chance, and who is in it."""

    def __init__(self, seed: int) -> None:
        self.seed, self.chance = seed, random.Random(seed)
        self.clock = ManualClock()
        self.calm = False
        # The latest lines of the story, for who has to find out why it failed.
        self.trace: deque[str] = deque(maxlen=4000)
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.oracle = Oracle(self)
        self.market = Market(self)
        self.breaker = BreakerProcess(self)
        self.executor = ExecutorProcess(self)
        self.strategies = [Strategy(self, name) for name in STRATEGIES]

    def run(self) -> None:
        """Chaos, then calm, then a look at everything.

        Raises:
            AssertionError: something was done or told that must not be.
        """
        self.breaker.start()
        self.executor.start()
        for strategy in self.strategies:
            strategy.live()
        for act, mean_secs in self._acts().items():
            # Some runs have much of one trouble and little of another.
            self._now_and_then(act, mean_secs * self.chance.choice((0.7, 2.0, 8.0)))
        self._until(CHAOS_SECS)
        self.note("calm")
        self.calm = True
        self.market.calm_down()
        self._until(CHAOS_SECS + CALM_SECS)
        self.oracle.at_the_end()

    def now(self) -> Now:
        """The present moment."""
        return now_of(self.clock)

    def after(self, secs: float, call: Callable[[], None]) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._agenda, (self.clock.monotonic_ns() + round(secs * SECOND), self._count, call))

    def maybe(self, probability: float) -> bool:
        """Chance, which rests when calm has come."""
        return not self.calm and self.chance.random() < probability

    def latency(self) -> float:
        """How long something is under way: mostly milliseconds."""
        return self.chance.uniform(0.0005, 0.02) if self.calm or self.chance.random() < 0.9 else self.chance.random()

    def turn_secs(self, shortest: float) -> float:
        """How long a process waits until it looks at the time again; in the calm nobody is in a hurry."""
        return self.chance.uniform(shortest, 0.1) if not self.calm else self.chance.uniform(0.05, 0.25)

    def note(self, line: str) -> None:
        """One line of the story."""
        self.trace.append(f"{self.clock.monotonic_ns() / SECOND:9.4f} {line}")

    def _until(self, secs: float) -> None:
        end = round(secs * SECOND)
        while self._agenda and self._agenda[0][0] <= end:
            due, _, call = heapq.heappop(self._agenda)
            self.clock.advance(ns=due - self.clock.monotonic_ns())
            call()
        self.clock.advance(ns=end - self.clock.monotonic_ns())

    # -- what happens to the pipeline ----------------------------------------------------------------------

    def _acts(self) -> dict[Callable[[], None], float]:
        """What goes wrong, and about how often, in seconds."""
        return {
            self._kill_breaker: 10,
            self._kill_executor: 12,
            self._lose_gateway: 25,
            self._lose_ib: 30,
            self._freeze: 35,
            self._fill_disk: 20,
            self._change_mood: 2,
            self._trip: 6,
            self._reset: 1,
            self._rival: 8,
        }

    def _now_and_then(self, act: Callable[[], None], mean_secs: float) -> None:
        def happen() -> None:
            if not self.calm:
                act()
                self._now_and_then(act, mean_secs)

        self.after(self.chance.expovariate(1 / mean_secs), happen)

    def _kill_breaker(self) -> None:
        self.breaker.crash_next = self.chance.choice(("before_save", "after_save", "after_send"))

    def _kill_executor(self) -> None:
        self.executor.crash_next = self.chance.choice(("before_save", "after_save", "amid_sending", "after_send"))

    def _lose_gateway(self) -> None:
        self.market.lose_connection(self.chance.choice((0.1, 1.0, 4.0)))

    def _lose_ib(self) -> None:
        self.market.lose_ib(self.chance.choice((0.2, 1.0, 6.0)))

    def _freeze(self) -> None:
        self.market.freeze(self.chance.choice((0.5, 4.0, 8.0)))

    def _fill_disk(self) -> None:
        self.executor.fill_disk(self.chance.choice((0.02, 0.5, 3.0)))

    def _change_mood(self) -> None:
        self.market.change_mood(self.chance.choice((0.0, 0.0, 0.9)))

    def _trip(self) -> None:
        cancel: CancelScope | None = self.chance.choice((None, "none", "ours", "all"))
        self.breaker.ask(TripRequest(id=1, reason="person", scope=self._some_scope(), cancel=cancel))

    def _reset(self) -> None:
        """A person mostly leaves to its timer what ends by itself."""
        scope = self._some_scope()
        circuit = self.breaker.stage.core.scopes.find(scope) if self.breaker.stage is not None else None
        if circuit is None or circuit.get_state()["latched"] or self.chance.random() < 0.2:
            self.breaker.ask(ResetRequest(id=1, reason="person", scope=scope))

    def _some_scope(self) -> str:
        return self.chance.choice(("system", "system", "strategy:alpha"))

    def _rival(self) -> None:
        if self.maybe(0.3):
            gateway = GatewayStatus(host="h", port=1, connected=True, usable=True)
            hello = Hello(executor_id="rival", journal_id="another", gateway=gateway)
            self.breaker.hear(FromDispatch(b"rival", hello))


class Fifo:
    """One direction of a connection: late, but in order."""

    def __init__(self, world: World) -> None:
        self._world, self._last_ns = world, 0

    def send(self, call: Callable[[], None]) -> None:
        """Have something arrive behind all that was sent before."""
        now = self._world.clock.monotonic_ns()
        self._last_ns = max(self._last_ns, now + round(self._world.latency() * SECOND))
        self._world.after((self._last_ns - now) / SECOND, call)
