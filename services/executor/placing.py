"""Orders and changes on their way to IB: judged at their turn, their intents saved, then written. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from msgspec import structs

from orderfuse.bus.events import Invalid, NotPlaced, ReplaceFailed
from orderfuse.bus.orders import Attached
from orderfuse.ibfields.checks import TERMS, InvalidFields
from orderfuse.text import cut
from services.executor.breaker_link import BreakerLink
from services.executor.core import Core, JournalUnread
from services.executor.final_check import AlreadyPlaced, Refuse, Surroundings, Wait, WriteNow, final_check
from services.executor.inputs import Unsent
from services.executor.orders.records import Change, OrderRecord
from services.gateway.checks import CheckedOrder, check
from services.gateway.diagnosis import Trouble
from services.gateway.frames import ChangeOrder, PlaceOrders, WireOrder
from services.runtime.notes import error, info
from services.wire.dispatch import Place, ReplaceOrder
from services.wire.standing import GatewayStatus


class Placing:
    """Takes orders from the breaker's inbox, one for each tick: what an order depends on is looked at anew for each.

    Args:
        core: the shared state.
        window: how many orders may be written and unanswered.
        allow_order_fields: order fields that are refused unless named here (`executor.allow_order_fields`).
    """

    def __init__(self, core: Core, window: int, allow_order_fields: frozenset[str]) -> None:
        self._core = core
        self._window = window
        self._allow = allow_order_fields

    def check(self, order: Place | ReplaceOrder) -> CheckedOrder:
        """Check everything about an order that can be known before it is sent.

        Raises:
            InvalidFields: nothing may be sent; the text says why.
        """
        return check(order, self._core.life.account, self._allow)

    # -- the breaker's inbox ------------------------------------------------------------------------------

    def write_next(self, link: BreakerLink, gateway: GatewayStatus, *, stopped: bool, buffer_empty: bool) -> bool:
        """Judge what waits in the order in which it came, until one is written or has to wait on.

        Returns whether the next one can be judged at once.
        """
        inbox = link.inbox
        while inbox:
            message, received_at = inbox[0].message, inbox[0].received_at
            if isinstance(message, ReplaceOrder) and self._knows_change(message):
                self._resend(message.order_id)
                inbox.popleft()
                continue
            around = self._surroundings(message, link, gateway, stopped=stopped, buffer_empty=buffer_empty)
            finding = final_check(message, received_at, around)
            if isinstance(finding, Wait):
                return False
            self._carry_out(finding, message, link.lease_until)
            # Not before: what the journal does not tell of it leaves it where it waits.
            inbox.popleft()
            if isinstance(finding, WriteNow):
                return bool(inbox)
        return False

    def _carry_out(
        self, finding: WriteNow | Refuse | AlreadyPlaced, message: Place | ReplaceOrder, until: float
    ) -> None:
        match finding:
            case Refuse(fact) if isinstance(message, ReplaceOrder):
                reason = fact.reason if isinstance(fact, NotPlaced) else f"it was {fact.age_ms} ms old at its turn"
                self.refuse_replace(message, reason)
            case Refuse(fact):
                self._core.tell(fact, "neutral")
            case AlreadyPlaced():
                self.tell_again(message.order_id)
            case WriteNow() if isinstance(message, ReplaceOrder):
                self.replace(message, until)
            case WriteNow():
                self._place(message, until)
            case _:
                assert_never(finding)

    def _surroundings(
        self,
        order: Place | ReplaceOrder,
        link: BreakerLink,
        gateway: GatewayStatus,
        *,
        stopped: bool,
        buffer_empty: bool,
    ) -> Surroundings:
        core, now = self._core, self._core.now.secs
        return Surroundings(
            now=now,
            stopped=stopped,
            fence=link.fence_of(order.scope),
            lease_until=link.lease_until,
            known=isinstance(order, Place) and core.was_at_ib(order.order_id),
            usable=gateway.usable,
            detail=gateway.detail,
            window_free=core.ledger.window_used(now) < self._window,
            buffer_empty=buffer_empty,
            token_free=core.life.pacer.free(now, count=1 + len(order.attached) if isinstance(order, Place) else 1),
        )

    def _knows_change(self, message: ReplaceOrder) -> bool:
        return self._core.ledger.changes.knows(message.order_id, message.revision)

    def tell_again(self, order_id: str, *, waits: bool = True) -> None:
        """An order that has been on its way to IB is never written again; what is known of it is told again.

        `waits`: it is still in the inbox, where it stays if the journal does not tell.
        """
        core = self._core
        try:
            told = core.history.feedback_of(order_id)
        except JournalUnread:
            if waits:
                raise
            # Nothing would bring it back: what the memory has of it has to do.
            told = []
        under_way = bool(told) and told[-1][0] > core.history.taken
        # A breaker that has forgotten it takes it as news.
        again = [] if under_way else core.ledger.told_again(order_id)
        text = f"{order_id}: handed over again, but it was on its way to IB before; not written"
        core.batch.notes.append(error(text))
        core.batch.resend += told if under_way else []
        core.keep.facts += [(fact, "neutral") for fact in again]

    def _resend(self, order_id: str) -> None:
        self._core.batch.resend += self._core.history.feedback_of(order_id)

    # -- orders -------------------------------------------------------------------------------------------

    def _place(self, place: Place, until: float) -> None:
        try:
            orders = [self.check(place), *(self._checked_leg(place, leg) for leg in place.attached)]
        except InvalidFields as problem:
            reason = cut(str(problem))
            self._core.tell(Invalid(order_id=place.order_id, strategy_id=place.strategy_id, reason=reason), "neutral")
            return
        self.write(orders, until)

    def _checked_leg(self, place: Place, leg: Attached) -> CheckedOrder:
        if self._core.was_at_ib(leg.order_id):
            raise InvalidFields(f"the attached order {leg.order_id}: an order with this id was on its way to IB before")
        try:
            return self.check(structs.replace(place, order_id=leg.order_id, order=leg.order, attached=()))
        except InvalidFields as problem:
            raise InvalidFields(f"the attached order {leg.order_id}: {problem}") from None

    def write(self, orders: Sequence[CheckedOrder], until: float = float("inf")) -> None:
        """Write an order, and the legs of its bracket: all intents in one record, then all bytes with nothing between.

        `until`: not after this, monotonic seconds.
        """
        core = self._core
        records = [self._record(order, orders[0]) for order in orders]
        records[0].legs = len(orders) - 1
        try:
            for record in records:
                record.ib_order_id = core.life.ids.take()
        except Trouble as trouble:
            core.tell(_not_placed(records[0], str(trouble)), "neutral")
            return
        core.keep.intents += records
        for record in records:
            core.ledger.intend(record)
        # A leg is held back until the last of its bracket is transmitted.
        wired = tuple(
            WireOrder(
                order_id=order.order_id,
                ib_order_id=record.ib_order_id,
                contract=order.contract,
                order=order.order,
                account=core.life.account,
                parent_id=0 if record is records[0] else records[0].ib_order_id,
                transmit=record is records[-1],
            )
            for order, record in zip(orders, records, strict=True)
        )
        core.life.send(PlaceOrders(wired, until), core.now.secs)

    def _record(self, order: CheckedOrder, parent: CheckedOrder) -> OrderRecord:
        return OrderRecord(
            order_id=order.order_id,
            strategy_id=order.strategy_id,
            ib_order_id=0,
            quantity=order.quantity,
            tif=order.order.get("tif", ""),
            oca_group=order.order.get("ocaGroup", ""),
            combo=order.combo,
            placed_ns=self._core.now.wall_ns,
            protect=order.protect,
            parent="" if order is parent else parent.order_id,
        )

    def on_sent(self, frame: PlaceOrders, unsent: Unsent | None) -> None:
        """What became of the bytes of an order, or of a bracket."""
        core = self._core
        written = len(frame.orders) if unsent is None else unsent.written
        for order in frame.orders[:written]:
            core.batch.notes.append(info(f"{order.order_id}: written to IB as {order.ib_order_id}"))
            # Kept with the next turn's news: one sync of the disk less, and a crash before it leaves a doubt.
            core.take(core.ledger.on_written(order.order_id, core.now.secs))
        self._check_window()
        if unsent is None:
            return
        for order in frame.orders[written:]:
            record = core.ledger.record(order.order_id)
            assert record is not None, f"{order.order_id} was handed out without an intent"
            fact = structs.replace(_not_placed(record, unsent.reason), code=unsent.code)
            core.take(core.ledger.on_not_written(fact))
        if written:
            # What has left is held back at IB without its last leg; it must not stay there.
            core.take(core.ledger.cancels.on_asked(frame.orders[0].order_id, None))

    # -- changes ------------------------------------------------------------------------------------------

    def replace(self, message: ReplaceOrder, until: float = float("inf")) -> None:
        """Change an order at IB: first the intent to the disk, then the bytes; or say why not."""
        core, order_id = self._core, message.order_id
        complaint = core.ledger.changes.why_not(order_id, core.life.undisturbed_since)
        record = core.ledger.record(order_id)
        if complaint or record is None:
            self.refuse_replace(message, complaint)
            return
        try:
            checked = self.check(message)
        except InvalidFields as problem:
            self.refuse_replace(message, str(problem))
            return
        terms = {name: checked.order[name] for name in TERMS if name in checked.order}
        core.take(core.ledger.changes.intend(order_id, Change(message.request_id, message.revision, terms)))
        wired = WireOrder(order_id, record.ib_order_id, checked.contract, checked.order, core.life.account)
        core.life.send(ChangeOrder(wired, until), core.now.secs)

    def refuse_replace(self, message: ReplaceOrder, reason: str) -> None:
        """Say that a change will never be written; of one that may have been, the ledger tells the truth."""
        if self._knows_change(message):
            return
        ids: dict[str, Any] = {"order_id": message.order_id, "strategy_id": message.strategy_id}
        self._core.tell(ReplaceFailed(**ids, request_id=message.request_id, reason=cut(reason)), "neutral")

    def on_change_sent(self, frame: ChangeOrder, unsent: Unsent | None) -> None:
        """What became of the bytes of a change."""
        core, order_id = self._core, frame.order.order_id
        if unsent is not None:
            core.take(core.ledger.changes.on_failed(order_id, unsent.reason))
            return
        core.batch.notes.append(info(f"{order_id}: its change is written to IB"))
        core.ledger.changes.on_written(order_id, core.now.secs)
        self._check_window()

    def _check_window(self) -> None:
        used = self._core.ledger.window_used(self._core.now.secs)
        assert used <= self._window, f"{used} orders are written and unanswered, {self._window} may be"


def _not_placed(record: OrderRecord, reason: str) -> NotPlaced:
    return NotPlaced(order_id=record.order_id, strategy_id=record.strategy_id, code="undelivered", reason=cut(reason))
