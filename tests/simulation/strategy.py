"""A strategy: sends orders, and sends them again until it has read a decision; cancels some, and changes some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderfuse.bus.orders import Cancel, FromStrategy, Replace, Submit
from services.breaker.inputs import FromOrders
from tests.unit.breaker.harness import BUY, STOCK, wall_ns_of

if TYPE_CHECKING:
    from tests.simulation.world import World


class Strategy:
    """Its links lose what they may."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self._number = 0
        self._waiting: dict[str, FromStrategy] = {}

    def live(self) -> None:
        """Send an order now and then, until calm comes."""
        if not self.world.calm:
            self._submit()
            self.world.after(self.world.chance.expovariate(2.5), self.live)

    def _submit(self) -> None:
        world = self.world
        self._number += 1
        order_id = f"{self.name}-{self._number}"
        submit = Submit(
            order_id=order_id,
            strategy_id=self.name,
            sent_ns=wall_ns_of(world.clock),
            contract=STOCK,
            order=BUY,
            ttl_ms=world.chance.choice((300, 2000, 10_000)),
            protect=world.chance.random() < 0.2,
        )
        world.oracle.submitted.add(order_id)
        self._send(order_id, submit)
        if world.maybe(0.3):
            world.after(world.chance.choice((0.0, 0.05, 2.0)), lambda: self._cancel(order_id))
        if world.maybe(0.15):
            world.after(world.chance.choice((0.5, 2.0)), lambda: self._replace(order_id))

    def _cancel(self, order_id: str) -> None:
        request_id = f"c-{order_id}"
        self.world.oracle.requests_made.add(request_id)
        sent_ns = wall_ns_of(self.world.clock)
        cancel = Cancel(request_id=request_id, order_id=order_id, strategy_id=self.name, sent_ns=sent_ns)
        self._send(request_id, cancel)

    def _replace(self, order_id: str) -> None:
        request_id = f"r-{order_id}"
        self.world.oracle.requests_made.add(request_id)
        replace = Replace(
            request_id=request_id,
            order_id=order_id,
            strategy_id=self.name,
            sent_ns=wall_ns_of(self.world.clock),
            order={**BUY, "lmtPrice": 11.0},
            revision=1,
            ttl_ms=2000,
        )
        self._send(request_id, replace)

    def _send(self, key: str, message: FromStrategy) -> None:
        """Until it is answered."""
        self._waiting[key] = message
        self._send_again(key)

    def _send_again(self, key: str) -> None:
        message, world = self._waiting.get(key), self.world
        if message is None:
            return
        if not world.maybe(0.1):
            world.after(world.latency(), lambda: world.breaker.hear(FromOrders(message)))
        world.after(world.chance.uniform(0.25, 1), lambda: self._send_again(key))

    def read(self, event: dict[str, Any]) -> None:
        """An event of ours."""
        if event["kind"].startswith("request_"):
            self._waiting.pop(event["request_id"], None)
        elif event["kind"] in ("passed", "blocked", "expired", "invalid"):
            self._waiting.pop(event["order_id"], None)
