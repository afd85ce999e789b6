"""Where the decision stands: each order is judged when it is sent on, not when it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.messages import Passed, Place
from services.breaker import brackets
from services.breaker.answers import Answers
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.orders import OrderRecord
from services.breaker.queues import Waiting, WaitingReplace
from services.breaker.replacing import Replacer
from services.breaker.scopes import SECOND_NS, strategy_scope

# Answering an order costs about 0.1 ms. After a trip the fence must leave before a long queue has been answered.
MAX_SERVED_AT_ONCE = 100


@dataclass(slots=True)
class Dispatcher:
    """Serves the queues in turn, within the window.

    `unfinished`: orders that can be decided are still waiting for the next call.
    """

    core: Core
    answers: Answers
    replacer: Replacer
    unfinished: bool = False

    def serve(self) -> None:
        """Answer or pass what waits and can be decided now, a bounded number of it.

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

    def watch_newcomers(self) -> None:
        """See to it that what is new and has to wait is answered when it is too old.

        Most orders are answered at once. A timer for each of those would be kept for its whole time to live.
        """
        for item in self.core.queues.take_newcomers():
            if self.core.queues.has(item):
                self._watch_waiting(item)

    def _watch_waiting(self, item: Waiting) -> None:
        # One nanosecond later: at exactly its time to live it may still be sent.
        self.core.at(item.expires_ns() + 1, lambda: self._expire_if_waiting(item))

    def _expire_if_waiting(self, item: Waiting) -> None:
        if not self.core.queues.has(item):
            return
        if isinstance(item, WaitingReplace):
            self.replacer.expire(item)
        else:
            self.answers.expire(item)
        self.core.queues.remove(item)

    def _serve_one(self, strategy_id: str) -> bool:
        """Decide on the next of a strategy; False if nothing of it waits or it has to wait on."""
        item = self.core.queues.head(strategy_id)
        # One that has just lost its place is answered as a whole.
        if item is None or strategy_id not in self.core.scopes.strategies:
            return False
        decided = self.replacer.judge(item) if isinstance(item, WaitingReplace) else self._judge(item)
        if decided:
            self.core.queues.pop(strategy_id)
        return decided

    def _judge(self, record: OrderRecord) -> bool:
        """An order's turn has come: whether it is decided now, or waits on for a place in the window."""
        if self.core.now() > record.expires_ns():
            self.answers.expire(record)
            return True
        if self.core.scopes.would_admit(record.strategy_id) and not self.core.has_room():
            return False
        is_first = not self.core.scopes.has_passed(record.strategy_id)
        refusal = self.core.scopes.admit(record)
        if refusal is not None:
            self.answers.block(record, refusal)
            return True
        if is_first:
            self.answers.on_first_pass(record.strategy_id)
        self._pass(record)
        return True

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
