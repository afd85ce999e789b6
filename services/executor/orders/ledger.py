"""The executor's memory of orders: intents, reports of IB and the time go in, facts come out.

Pure: no socket, no clock, no file. The caller writes each step's `Effects` to the journal in one
transaction and only then tells anybody.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from orderfuse.bus.events import NotPlaced
from services.executor.orders import changes, overdue
from services.executor.orders.attribution import Attribution
from services.executor.orders.cancels_under_way import CancelsUnderWay
from services.executor.orders.changes_under_way import ChangesUnderWay
from services.executor.orders.doubts import Doubt
from services.executor.orders.found_orders import FoundOrder
from services.executor.orders.kin import GROUP_OVER
from services.executor.orders.memory import Memory
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.records import Change, Effects, History, OrderRecord
from services.executor.orders.retold import retold
from services.gateway.reports import OrderReport
from services.wire.dispatch import ExpectedChange
from services.wire.feedback import Adopted, Fact, Written

# Written and unanswered for this long, an order leaves the window: the breaker has counted it as unknown.
ANSWER_SECS = 5.0
# An ended order stays in memory this long for late commissions and corrections; the journal keeps it.
KEEP_ENDED_SECS = 600.0
# A full collection looks at them all: 30,000 took 79 ms, and the journal has those that do not stay.
MAX_ENDED = 10_000
# At each look, twenty times a second: more than IB takes orders in that time.
MAX_FORGOTTEN_AT_ONCE = 100
# An order may be sent to an OCA group behind the fill that ends it; a name that is used again later is another group.
GROUP_ENDS_SECS = 10.0
# Before this process began; whatever it finds out comes later.
_LONG_AGO = float("-inf")


class Ledger:
    """All orders of this executor.

    Args:
        history: where orders are found that are not in memory.
        client_id: our API client id; IB's order ids mean something only together with it.
    """

    def __init__(self, history: History, client_id: int) -> None:
        self.memory = Memory(history, client_id)
        self.cancels = CancelsUnderWay(self.memory)
        self.changes = ChangesUnderWay(self.memory)
        self._attribution = Attribution(self.memory, self.cancels)
        self._marks = self.memory.marks

    # -- what is known of an order ------------------------------------------------------------------------

    def knows(self, order_id: str) -> bool:
        """Whether an order with this id was ever meant to be written."""
        return self.memory.find(order_id) is not None

    def knows_perm_id(self, perm_id: int) -> bool:
        """Whether this is the permanent id of an order of ours."""
        return bool(perm_id) and self.memory.with_perm_id(perm_id) is not None

    def record(self, order_id: str) -> OrderRecord | None:
        """A copy of what is known of an order."""
        order = self.memory.find(order_id)
        return replace(order.record) if order else None

    def totals(self, order_id: str) -> tuple[float, float]:
        """Filled quantity and average price."""
        order = self.memory.find(order_id)
        return (order.filled, order.avg_price) if order else (0.0, 0.0)

    # -- what we do ---------------------------------------------------------------------------------------

    def restore(self, records: list[OrderRecord]) -> None:
        """Take the orders that have not ended from the journal, at the start."""
        for record in records:
            self.memory.restore(record)
            if not (record.accepted or record.ended):
                self._marks.doubts[record.order_id] = Doubt(_LONG_AGO)
            if not (record.answered or record.ended):
                self._marks.unanswered[record.order_id] = _LONG_AGO

    def intend(self, record: OrderRecord) -> None:
        """Remember an order whose intent is in the journal and whose bytes have not left."""
        self.memory.add(record)
        now = self._marks.now
        for order_id in self.memory.kin.filled_of_group(record):
            if now - self._marks.ended.get(order_id, now) < GROUP_ENDS_SECS:
                # It comes to a group that is over.
                record.kin_over = GROUP_OVER

    def on_written(self, order_id: str, now: float) -> Effects:
        """The order's bytes have left for IB."""
        self._marks.now = now
        effects = Effects()
        order = self.memory.orders[order_id]
        self._marks.unanswered[order_id] = now
        effects.tell(order.record, Written(**order.ids, ib_order_id=order.record.ib_order_id))
        return effects

    def on_not_written(self, fact: NotPlaced) -> Effects:
        """The intent is in the journal, but nothing of the order left after all. Its id stays used."""
        return self._end_unplaced(self.memory.orders[fact.order_id], fact)

    def on_resolved_by_hand(self, order_id: str) -> Effects:
        """A person has said how this order ended."""
        effects = Effects()
        order = self.memory.find(order_id)
        if order is not None and not order.record.ended:
            order.record.end("settled")
            changes.fail(order, 0, "a person has settled the order", "neutral", effects)
            effects.keep(order.record)
            self._marks.see(order)
        return effects

    def unanswered(self) -> list[str]:
        """What is written to IB and not answered: orders, and changes as `order_id~revision`."""
        return [*self._marks.unanswered, *self.changes.names()]

    def window_used(self, now: float) -> int:
        """How many orders are written and unanswered, without those too old to hold up the line."""
        # A bracket takes one place: that of its parent.
        orders = [at for order_id, at in self._marks.unanswered.items() if not self._is_leg(order_id)]
        # What IB has answered in words that nobody knows takes no place.
        changing = [doubt.since for doubt in self.changes.in_doubt().values() if doubt.bytes_lost]
        waiting = (*orders, *changing)
        return sum(1 for written_at in waiting if now - written_at < ANSWER_SECS)

    def _is_leg(self, order_id: str) -> bool:
        return bool(self.memory.orders[order_id].record.parent)

    def _end_unplaced(self, order: OrderAtIb, fact: NotPlaced) -> Effects:
        effects = Effects()
        order.record.end("not_placed")
        effects.tell(order.record, fact, "neutral")
        self._marks.see(order)
        return effects

    # -- what IB says, and the time -----------------------------------------------------------------------

    def on_report(self, report: OrderReport, now: float) -> Effects:
        """Take one report of IB."""
        self._marks.now = now
        return self._attribution.on_report(report)

    def poll(self, now: float, *, forget: bool = True) -> Effects:
        """Let due time pass: texts that never came, orders that rest, memory that may go.

        `forget`: False while the journal cannot be written: what it does not have must stay here.
        """
        marks = self._marks
        marks.now = now
        effects = Effects()
        for order in list(marks.waiting.values()):
            before = order.record.ended
            overdue.on_time(order, now, effects)
            self._attribution.see_kin(order, before, effects)
        for order_id, written_at in marks.unanswered.items():
            if now - written_at >= ANSWER_SECS:
                marks.doubts.setdefault(order_id, Doubt(written_at + ANSWER_SECS))
        if forget:
            self._forget_old(now)
        return effects

    def _forget_old(self, now: float) -> None:
        marks = self._marks
        for order_id, ended_at in list(islice(marks.ended.items(), MAX_FORGOTTEN_AT_ONCE)):
            if now - ended_at < KEEP_ENDED_SECS and len(marks.ended) <= MAX_ENDED:
                break
            if self.memory.kin.legs(order_id):
                # What becomes of a leg depends on its parent: it stays, and is looked at again later.
                del marks.ended[order_id]
                marks.ended[order_id] = now
            else:
                self.memory.forget(order_id)

    # -- orders that others know of -----------------------------------------------------------------------

    def expect(self, record: OrderRecord) -> Effects:
        """Remember an order of which only IB's lists can tell what became of it."""
        effects = Effects(look_up=True)
        effects.keep(record)
        self.memory.add(record)
        if not record.accepted:
            self._marks.doubts[record.order_id] = Doubt(_LONG_AGO)
        return effects

    def adopting(self) -> list[str]:
        """Orders whose reports are held back until IB's lists are complete."""
        return [order_id for order_id, order in self.memory.orders.items() if order.record.adopting]

    def adopt(self, order_id: str, found: FoundOrder) -> Effects:
        """IB's lists are complete: from now on the order is what its reports say; those that were held come next."""
        effects = Effects()
        order = self.memory.orders[order_id]
        record = order.record
        record.adopting = False
        record.filled_before = found.filled_before(combo=record.combo)
        # That it works is told once more, and with it what had been filled before.
        record.accepted = found.open is None and (record.accepted or bool(found.reports))
        effects.keep(record)
        self._marks.see(order)
        return effects

    def told_open(self) -> list[Adopted]:
        """Each order that has no end, as somebody has to be told of it who knows nothing."""
        return [_adopted(order) for order in self.memory.orders.values() if not order.record.ended]

    def told_again(self, order_id: str) -> list[Fact]:
        """What has become of this order, for a breaker that has forgotten it."""
        order = self.memory.find(order_id)
        return retold(order) if order and not order.record.adopting else []

    # -- doubt --------------------------------------------------------------------------------------------

    def doubts(self) -> dict[str, Doubt]:
        """Orders that IB may or may not have."""
        return dict(self._marks.doubts)

    def in_doubt(self) -> list[str]:
        """Orders of which nobody knows whether IB has them, or how they ended."""
        lost = [at for at, order in self.memory.orders.items() if order.doubtful and not order.record.ended]
        return list({**self._marks.doubts, **dict.fromkeys(lost)})

    def is_provable(self, order_id: str) -> bool:
        """Whether IB's lists can show that it does not have this order."""
        order = self.memory.find(order_id)
        return order is None or self.memory.brackets.is_provable(order)

    def on_reconciled(self, order_id: str) -> Effects:
        """It is proven that IB never had this order."""
        order = self.memory.orders[order_id]
        reason = "IB does not list it: not among open orders, executions and completed orders"
        reason += self.memory.brackets.missing(order)
        return self._end_unplaced(order, NotPlaced(**order.ids, code="reconciled", reason=reason))

    def is_heard_since(self, order_id: str, when: float) -> bool:
        """Whether IB has shown this order since then (monotonic seconds)."""
        return self.memory.orders[order_id].heard_at >= when

    def see_listed(self, since: float, now: float) -> Effects:
        """IB has listed all open orders that it had then: a working one that it did not list has to be looked up."""
        self._marks.now = now
        effects = Effects()
        for order in self.memory.orders.values():
            if _works(order) and order.heard_at < since:
                order.ask(since)
                effects.look_up = True
                self._marks.see(order)
        return effects

    def unheard_since(self, when: float) -> dict[str, Doubt]:
        """Orders that IB had, and of which it has said nothing since `when` (monotonic seconds), or since it was asked.

        Orders that are unknown already are not among them.
        """
        unheard = {}
        for order_id, order in self.memory.orders.items():
            since = max(when, order.asked_after)
            if _works(order) and order.heard_at < since:
                unheard[order_id] = Doubt(since, bytes_lost=False)
        return unheard

    def seeks(self) -> bool:
        """Whether there is an order that IB was asked about and that its lists have not explained."""
        return bool(self._marks.asked or self._marks.sought or self._marks.over_unchanged)

    def fills_sought(self) -> dict[str, float]:
        """Orders that IB calls Filled without listing all of their fills, and since when those were asked for."""
        return dict(self._marks.sought)

    def on_lost(self, order_id: str) -> Effects:
        """IB's complete lists no longer have this order, which it once had."""
        effects = Effects()
        order = self.memory.orders[order_id]
        overdue.on_lost(order, effects)
        self._marks.see(order)
        return effects

    def broken_brackets(self) -> list[str]:
        """What to cancel where IB does not list a whole bracket."""
        return self.memory.brackets.broken()


def _works(order: OrderAtIb) -> bool:
    """Whether IB has it as far as anybody knows."""
    return order.record.accepted and not (order.record.ended or order.doubtful)


def _adopted(order: OrderAtIb) -> Adopted:
    record = order.record
    return Adopted(
        **order.ids,
        ib_order_id=record.ib_order_id,
        perm_id=record.perm_id,
        contract={},
        order={"totalQuantity": record.quantity},
        status=record.status if record.accepted else "",
        filled=order.filled,
        # One that is still looked for at IB, too: whoever lost it once must not lose it again.
        doubtful=order.doubtful or record.adopting or not record.accepted,
        change=_told_change(record.change),
    )


def _told_change(change: Change | None) -> ExpectedChange | None:
    if change is None:
        return None
    return ExpectedChange(request_id=change.request_id, revision=change.revision, terms=dict(change.terms))
