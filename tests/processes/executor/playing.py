"""A paper gateway, the real engine on it through the real ib_insync, and what it tells: for stories at the wire."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orderfuse.bus.codec import decode
from orderfuse.settings import IbSettings
from services.executor.journal import Journal
from services.paper.faults.kinds import make_fault
from services.paper.server.gateway import PaperGateway
from services.wire.dispatch import ReplaceOrder
from services.wire.feedback import Feedback
from tests.orders import MARKET, STOCK, submit
from tests.processes.executor.support import (
    DEADLINE_SECS,
    QUICK,
    Connection,
    Engine,
    orders_on_the_wire,
    paper,
    run,
    until,
)

# Below the market, which stands still; `Play.sell_off` takes it there.
LIMIT = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 150.0}
# What only leads to an end, and depends on how much of it there was to hear.
STEPS = {"Written", "Accepted", "Working", "Commission"}


@dataclass
class Play:
    """A paper gateway, an executor on it, and what it has told."""

    gateway: PaperGateway
    engine: Engine

    def arm(self, kind: str, **fields: Any) -> None:
        self.gateway.play(make_fault(kind, fields))

    def write(self, order_id: str, order: dict[str, Any] = MARKET) -> None:
        assert self.engine.write(self.engine.check(submit(order_id, order=order))) is None

    async def works(self, order_id: str) -> None:
        self.write(order_id, LIMIT)
        await self.tells(order_id, "Working")

    async def works_as(self, order_id: str, **fields: Any) -> None:
        """A resting order with these fields works, and IB has had it for so long that it may end by itself."""
        self.write(order_id, {**LIMIT, **fields})
        await self.tells(order_id, "Working")

    async def wait(self, secs: float) -> None:
        """Let so much of the executor's time pass."""
        clock = self.engine.connection.clock
        until_then = clock() + secs
        await until(lambda: clock() >= until_then, f"{secs:g} s of the executor's clock")

    def outcomes(self, order_id: str) -> list[str]:
        return [feedback.outcome for feedback in self.told(order_id) if feedback.outcome]

    def connections(self) -> int:
        """How often the executor has connected."""
        return len(list(self.gateway.record.entries("startApi", direction="in")))

    def sell_off(self) -> None:
        self.gateway.move_price("AAPL", 149.0)

    def told(self, order_id: str) -> list[Feedback]:
        return [decode(payload, Feedback) for _, payload in self.engine.journal.feedback_of(order_id)]

    def facts(self, order_id: str, kind: str) -> list[Any]:
        return [feedback.fact for feedback in self.told(order_id) if type(feedback.fact).__name__ == kind]

    def kinds(self, order_id: str) -> list[str]:
        return [type(feedback.fact).__name__ for feedback in self.told(order_id)]

    def tale(self, order_id: str) -> tuple[str, str, str]:
        """What was told of an order without the mere steps, what it counted as, and how it has ended."""
        record = self.engine.ledger.record(order_id)
        assert record is not None
        news = [kind for kind in self.kinds(order_id) if kind not in STEPS]
        outcomes = [feedback.outcome for feedback in self.told(order_id) if feedback.outcome]
        return " ".join(news), " ".join(outcomes), record.ended

    def filled(self, order_id: str) -> float:
        return self.engine.ledger.totals(order_id)[0]

    async def tells(self, order_id: str, kind: str, count: int = 1) -> None:
        await until(lambda: len(self.facts(order_id, kind)) >= count, f"{kind} of {order_id}")

    async def quiet(self) -> None:
        """Return when what the gateway had said is told: the answers to two rounds of questions came behind it."""
        await self._round()
        await self._round()

    async def _round(self) -> None:
        entries = self.gateway.record.entries
        ends = len(list(entries("completedOrdersEnd")))
        self.engine.connection.look_up()
        await until(lambda: len(list(entries("completedOrdersEnd"))) > ends, "a round of questions")


def play(story: Callable[[Play], Any], *, speed: float = 1.0, changes: int = 0) -> None:
    """Play a story. With `speed` the executor's clock runs so much faster, and with it all of its waits."""

    async def whole() -> None:
        async with paper(tick_secs=0, messages_per_second=0) as gateway:
            settings = IbSettings(port=gateway.port, messages_per_second=0)
            with contextlib.closing(Journal(None, settings.client_id)) as journal:
                connection = Connection(settings, journal, timing=QUICK, clock=lambda: time.monotonic() * speed)
                engine = Engine(connection)
                await connection.start(DEADLINE_SECS)
                try:
                    await story(Play(gateway, engine))
                finally:
                    await connection.stop()
            written = orders_on_the_wire(gateway)
            assert len(written) == len(set(written)) + changes, "an order was written twice"

    run(whole)


def replace_of(order_id: str, revision: int = 1, **changes: Any) -> ReplaceOrder:
    return ReplaceOrder(
        order_id=order_id,
        strategy_id="s1",
        account="",
        contract=STOCK,
        order={**LIMIT, **changes},
        request_id=f"r-{revision}",
        revision=revision,
        fence=1,
        scope="strategy:s1",
        ttl_left_ms=5000,
    )
