"""Where the decision stands: each order is judged when it is sent on, not when it arrives. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.bus.events import Passed
from services.breaker import brackets
from services.breaker.answers import Answers
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, Refusal, strategy_scope
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.gates import AT_ITS_TURN, Fault, Turn, Wait, first_no, turn_of
from services.breaker.orders import Move, OrderRecord
from services.breaker.queues import Waiting, WaitingReplace
from services.breaker.replacing import Replacer
from services.wire.dispatch import Place

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
    # Whether the system's circuit let orders through when it was looked at last.
    _system_allows: bool = True

    def serve(self) -> None:
        """Answer or hand over what waits and can be decided now, a bounded number of it.

        While there is room, whoever has its turn is decided on. While there is none, only what would be refused can be
        answered, and only those are looked at of which something has changed.
        """
        queues = self.core.queues
        queues.begin_turns()
        for scope in self.core.scopes.touched:
            queues.look_at(scope.removeprefix("strategy:"))
        left = MAX_SERVED_AT_ONCE
        while (strategy_id := self._next()) is not None:
            if left == 0:
                self.unfinished = True
                return
            if self._serve_one(strategy_id):
                left -= 1
            else:
                queues.looked_at(strategy_id)
        self.unfinished = False

    def _next(self) -> str | None:
        """The strategy to be decided on."""
        core = self.core
        allowed, self._system_allows = self._system_allows, core.scopes.system.is_trading_allowed()[0]
        if allowed and not self._system_allows:
            core.queues.look_at_all()
        return core.queues.whose_turn() if core.has_room() else core.queues.to_look_at()

    def answer_who_was_put_out(self) -> None:
        """What waits of strategies that have lost their place is answered: before anything is served, it must be."""
        put_out, self.core.scopes.put_out = self.core.scopes.put_out, []
        reason = "a strategy of another program needed its place (breaker.max_strategies)"
        refusal = Refusal("too_many_strategies", reason, SYSTEM)
        for strategy_id in put_out:
            for item in self.core.queues.of(strategy_id):
                match item:
                    case WaitingReplace():
                        self.replacer.refuse(item, refusal)
                    case OrderRecord():
                        self.answers.block(item, refusal)

    def finish(self) -> None:
        """Decide on all that can be decided."""
        self.answer_who_was_put_out()
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
        what, order_id = Due.TTL, item.order_id
        if isinstance(item, WaitingReplace):
            what = Due.TTL_OF_CHANGE
        # One nanosecond later: at exactly its time to live it may still be sent.
        self.core.deadlines.set(Deadline(what, order_id), item.expires_ns() + 1)

    def expire_waiting(self, order_id: str) -> None:
        """This order, if it waits, is too old."""
        record = self.core.orders.get(order_id)
        if record is not None and self.core.queues.has(record):
            self.answers.expire(record)

    def _serve_one(self, strategy_id: str) -> bool:
        """Decide on the next of a strategy; False if it has to wait on."""
        core = self.core
        assert strategy_id in core.scopes.strategies, f"an order of {strategy_id} waits, which has no circuit"
        is_first = not core.scopes.has_passed(strategy_id)
        item = core.queues.head(strategy_id)
        turn = turn_of(core, item)
        no = first_no(AT_ITS_TURN, core, turn)
        if isinstance(no, Wait):
            return False
        core.queues.serve(strategy_id)
        match item:
            case WaitingReplace():
                self._decide_change(item, turn, no)
            case OrderRecord():
                self._decide_order(item, no, is_first=is_first)
        beyond = len(core.out)
        assert no or beyond <= core.window, f"{beyond} orders are beyond the breaker, allowed are {core.window}"
        return True

    def _decide_change(self, waiting: WaitingReplace, turn: Turn, no: Refusal | Fault | None) -> None:
        if no is not None:
            self.replacer.refuse(waiting, no)
            return
        assert turn.record is not None, "a replace has passed, and there is no order"
        assert turn.change is not None, "a replace has passed that changes nothing"
        self.replacer.hand_over(turn.record, turn.change, waiting)

    def _decide_order(self, record: OrderRecord, no: Refusal | Fault | None, *, is_first: bool) -> None:
        match no:
            case None:
                if is_first:
                    self.answers.on_first_pass(record.strategy_id)
                self._pass(record)
            case Refusal():
                self.answers.block(record, no)
            case Fault():
                # The only one that an order can meet at its turn: it is too old.
                self.answers.expire(record)

    def _pass(self, record: OrderRecord) -> None:
        core = self.core
        attached = brackets.attached_of(core, record)
        for leg in (record, *brackets.legs_of(core, record)):
            core.move(leg, Move.HAND_OVER)
            core.tell(
                leg,
                Passed(
                    order_id=leg.order_id,
                    strategy_id=leg.strategy_id,
                    generation=record.system_generation,
                    trial=record.trial,
                ),
            )
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
                ttl_left_ms=(record.expires_ns() - core.now) // 1_000_000,
            )
        )

    def give_up(self, order_id: str) -> None:
        """No answer in time. It counts as a failure, but nobody is told that it was not filled."""
        record = self.core.orders.get(order_id)
        if record is not None and record.state == "out":
            self.core.become_unknown(record, "failure", f"no answer in {ACK_DEADLINE_NS // SECOND_NS} s")
