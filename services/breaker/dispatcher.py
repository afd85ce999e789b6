"""Where the decision stands: each order is judged when it is sent on, not when it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.messages import Passed, Place
from services.breaker import brackets
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.intake import Intake
from services.breaker.orders import OrderRecord
from services.breaker.scopes import SECOND_NS, strategy_scope

# Answering an order costs about 0.1 ms. After a trip the fence must leave before a long queue has been answered.
MAX_SERVED_AT_ONCE = 100


@dataclass(slots=True)
class Dispatcher:
    """Serves the queues in turn, within the window.

    `unfinished`: orders that can be decided are still waiting for the next call.
    """

    core: Core
    intake: Intake
    unfinished: bool = False

    def serve(self) -> None:
        """Answer or pass the waiting orders that can be decided now, a bounded number of them.

        An order that would pass waits for a place in the window and for an executor whose lease runs. One
        that would not is answered without waiting, which could only make its answer late.
        """
        left = MAX_SERVED_AT_ONCE
        waiting = self.core.queues.in_turn()
        while waiting and left > 0:
            waiting = [strategy_id for strategy_id in waiting if self._serve_one(strategy_id)]
            left -= len(waiting)
        self.unfinished = bool(waiting)

    def finish(self) -> None:
        """Decide on all that can be decided."""
        self.serve()
        while self.unfinished:
            self.serve()

    def _serve_one(self, strategy_id: str) -> bool:
        """Decide on the next order of a strategy; False if there is none or it has to wait."""
        record = self.core.queues.head(strategy_id)
        if record is None:
            return False
        if self.core.now() > record.expires_ns():
            self.intake.expire(self.core.queues.pop(strategy_id))
            return True
        if self.core.scopes.would_admit(strategy_id) and not self._has_room():
            return False
        self.core.queues.pop(strategy_id)
        refusal = self.core.scopes.admit(record)
        if refusal is not None:
            self.intake.block(record, refusal)
        else:
            self._pass(record)
        return True

    def _has_room(self) -> bool:
        core = self.core
        return len(core.out) < core.window and core.executor.is_ready(core.now())

    def _pass(self, record: OrderRecord) -> None:
        core = self.core
        now = core.now()
        attached = brackets.attached_of(core, record)
        core.out.add(record.order_id)
        for leg in (record, *brackets.legs_of(core, record)):
            leg.state = "out"
            leg.passed_ns = now
            leg.passed_wall_ns = core.wall_ns()
            leg.executor_journal = core.executor.journal_id
            core.tell(
                leg,
                Passed(
                    order_id=leg.order_id,
                    strategy_id=leg.strategy_id,
                    generation=record.system_generation,
                    trial=record.trial,
                ),
            )
            self.watch(leg)
        core.send(
            Place(
                order_id=record.order_id,
                strategy_id=record.strategy_id,
                account=record.account,
                contract=record.contract,
                order=record.order,
                attached=attached,
                protect=record.protect,
                fence=core.fence_of(strategy_scope(record.strategy_id)),
                scope=strategy_scope(record.strategy_id),
                ttl_left_ms=(record.expires_ns() - now) // 1_000_000,
            )
        )

    def watch(self, record: OrderRecord) -> None:
        """See to it that an order without IB's answer becomes unknown at its deadline."""
        self.core.at(record.passed_ns + ACK_DEADLINE_NS, lambda: self._give_up(record))

    def _give_up(self, record: OrderRecord) -> None:
        """No answer in time. It counts as a failure, but nobody is told that it was not filled."""
        if record.state == "out":
            self.core.become_unknown(record, "failure", f"no answer in {ACK_DEADLINE_NS // SECOND_NS} s")
