"""The engine: writes orders to IB, each at most once, and turns IB's reports into facts.

In a service the breaker stage decides, and the loop uses the synchronous part: `write`, `cancel`. A script
may use `place_order` alone, with a `TradingCircuitBreaker` or without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from loguru import logger
from msgspec import structs

from orderfuse.circuit import CircuitBreakerOpenException, TradingCircuitBreaker
from orderfuse.ibfields import TERMS, InvalidFields
from orderfuse.messages import (
    Accept,
    AllCancelled,
    Expect,
    Fact,
    GatewayStatus,
    GlobalCancel,
    NotPlaced,
    Outcome,
    Place,
    ReplaceFailed,
    ReplaceOrder,
    Submit,
    Tripped,
)
from services.crash_points import reach
from services.executor.account_watch import AccountWatch, ForeignPolicy
from services.executor.connection import IBConnectionManager
from services.executor.doubts import Doubt, Rounds, same_trading_day
from services.executor.drift import NOT_COUNTED, DriftCheck, Held, LegFill
from services.executor.foundlings import Foundlings, expected
from services.executor.global_cancel import GlobalCancelDebt
from services.executor.journal import JournalError
from services.executor.ledger import ANSWER_SECS, Ledger
from services.executor.records import Change, Effects, OrderRecord, split_exec_id
from services.executor.results import ExecutionResult, Status, log_fact, status_of
from services.gateway import ib_orders
from services.gateway.ib_orders import CheckedOrder
from services.gateway.reports import ExecutionReport, OpenOrderReport, OrderReport, Unreadable

# A full disk is asked again this often whether it has room.
JOURNAL_RETRY_SECS = 1.0
# IB repeats some codes with every message: one trip a minute for each says it all.
TRIP_AGAIN_SECS = 60.0
# A connection is not given up for an order in doubt more often than this.
RENEW_EVERY_SECS = 10.0

Permit = Callable[[], NotPlaced | None]
FeedbackSink = Callable[[int, bytes], None]


class OrderExecutionEngine:
    """Places orders over a connection, and keeps the ledger of what IB says about them.

    Args:
        connection: where orders go; the engine listens to it.
        circuit_breaker: asked by `place_order` before anything is sent, and told the outcome.
        allow_order_fields: order fields that are refused unless named here (`executor.allow_order_fields`).
        foreign_orders: what to do about open orders of others (`executor.foreign_orders`).
    """

    def __init__(
        self,
        connection: IBConnectionManager,
        circuit_breaker: TradingCircuitBreaker | None = None,
        *,
        allow_order_fields: frozenset[str] = frozenset(),
        foreign_orders: ForeignPolicy = "ignore",
    ) -> None:
        self.connection = connection
        self.circuit_breaker = circuit_breaker
        self.journal = connection.journal
        self.ledger = Ledger(self.journal, self.journal.client_id)
        self.ledger.restore(self.journal.open_orders())
        self.on_feedback: FeedbackSink = lambda _seq, _payload: None
        self.on_change: Callable[[], None] = lambda: None
        self.journal_error = ""
        self._account = AccountWatch(
            self.journal,
            foreign_orders,
            on_change=lambda: self.on_change(),
            on_journal_error=self._journal_failed,
        )
        connection.lists_orders = foreign_orders != "ignore"
        self._allow = allow_order_fields
        self._clock = connection.clock
        self._rounds = Rounds()
        # Orders that IB once had and did not list in the last round.
        self._unheard: dict[str, Doubt] = {}
        self._last_connection = float("-inf")
        self._unsaved = Effects()
        self._retry_at = 0.0
        self._tripped_at: dict[int, float] = {}
        self._global_cancel = GlobalCancelDebt(self.journal.owed_cancel())
        # The permanent ids of all open orders of the account, of any client, as IB has listed them so far.
        self._open_now: set[int] = set()
        self._foundlings = Foundlings(self.journal.client_id)
        self._expected_at: dict[str, float] = {}
        self._lists_complete = False
        self._round_begun_at = self._orders_asked_at = float("-inf")
        # Orders that nobody here knows are taken on once the breaker has said which ones it knows.
        self.may_adopt = True
        # Fills that a first list of positions has in it already must not be counted on top of it.
        self._had_baseline = self.journal.baselines() is not None
        # Orders of `place_order`: who waits for the result, and until when IB must have answered.
        self._placing: set[str] = set()
        self._waiters: dict[str, asyncio.Future[ExecutionResult]] = {}
        self._deadlines: dict[str, float] = {}
        connection.listener = self

    # -- for a script -------------------------------------------------------------------------------------

    async def place_order(self, order: Submit) -> ExecutionResult:
        """Place an order and return at IB's first decisive answer, or after 5 s without one.

        Raises:
            CircuitBreakerOpenException: the breaker said no; nothing was sent.
        """
        order_id = order.order_id
        if order_id in self._placing or self.ledger.knows(order_id):
            return ExecutionResult(order_id, "invalid", reason="an order with this id was placed before")
        self._admit(order_id)
        self._placing.add(order_id)
        sent = False
        try:
            refused = await self._send(order)
            if refused:
                return refused
            sent = True
            waiter: asyncio.Future[ExecutionResult] = asyncio.get_running_loop().create_future()
            self._waiters[order_id] = waiter
            return await waiter
        finally:
            self._placing.discard(order_id)
            self._waiters.pop(order_id, None)
            if not sent and self.circuit_breaker:
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

    async def _send(self, order: Submit) -> ExecutionResult | None:
        """Write the order as soon as pacing allows it; None if it is on its way."""
        expires_at = self._clock() + order.ttl_ms / 1000
        while True:
            status = self.gateway_status()
            if not status.usable:
                reason = f"the gateway cannot take orders: {status.detail}"
                return ExecutionResult(order.order_id, "not_placed", reason=reason)
            try:
                checked = self.check(order)
            except InvalidFields as error:
                return ExecutionResult(order.order_id, "invalid", reason=str(error))
            if self.connection.buffer_empty and self.connection.pacer.free(self._clock()):
                break
            if self._clock() >= expires_at:
                return ExecutionResult(order.order_id, "expired", reason=f"not sent within {order.ttl_ms} ms")
            await asyncio.sleep(0.01)
        refusal = self.write(checked)
        if refusal:
            return ExecutionResult(order.order_id, "not_placed", reason=refusal.reason)
        self._deadlines[order.order_id] = self._clock() + ANSWER_SECS
        return None

    @property
    def drift(self) -> DriftCheck:
        """What of the account's positions our fills make."""
        return self._account.drift

    # -- for the loop -------------------------------------------------------------------------------------

    def check(self, order: Submit | Place | ReplaceOrder) -> CheckedOrder:
        """Check everything about an order that can be known before it is sent.

        Raises:
            InvalidFields: nothing may be sent; the text says why.
        """
        return ib_orders.check(order, self.connection.account, self._allow)

    def write(
        self, order: CheckedOrder, permit: Permit = lambda: None, legs: Sequence[CheckedOrder] = ()
    ) -> NotPlaced | None:
        """Write an order to IB: first its intent to the disk, then its bytes. The facts go their usual way.

        The legs of its bracket go with it: all intents in one record, then all bytes with nothing in between.

        `permit` is asked once more between the two, since the disk may take its time. Returns why the order
        was not written, or None.
        """
        orders = (order, *legs)
        records = [self._new_record(each, order) for each in orders]
        records[0].legs = len(legs)
        try:
            for record in records:
                record.ib_order_id = self.connection.take_order_id()
            self.journal.intend(*records)
        except (JournalError, ConnectionError) as error:
            if isinstance(error, JournalError):
                self._journal_failed(error)
            refusal = _undelivered(records[0], str(error))
            self.tell(refusal, "neutral")
            return refusal
        for record in records:
            self.ledger.intend(record)
        refused = permit()
        if refused is None:
            refused = self._place_all(orders, records)
        else:
            self._not_written(records, refused)
        return refused

    def _new_record(self, order: CheckedOrder, parent: CheckedOrder) -> OrderRecord:
        return OrderRecord(
            order_id=order.order_id,
            strategy_id=order.strategy_id,
            ib_order_id=0,
            quantity=order.quantity,
            tif=order.order.get("tif", ""),
            oca_group=order.order.get("ocaGroup", ""),
            combo=order.combo,
            placed_ns=self.journal.wall_ns(),
            protect=order.protect,
            parent="" if order is parent else parent.order_id,
        )

    def _place_all(self, orders: Sequence[CheckedOrder], records: list[OrderRecord]) -> NotPlaced | None:
        """Write one after the other, with nothing in between; the last one transmits the whole bracket."""
        parent_id = records[0].ib_order_id
        for number, (order, record) in enumerate(zip(orders, records, strict=True)):
            bracket = {"parent_id": parent_id if number else 0, "transmit": record is records[-1]}
            refused = self._place(order, record, **bracket)
            if refused:
                self._not_written(records[number:], refused)
                if number:
                    # What has left is held back at IB without its last leg; it must not stay there.
                    self._take(self.ledger.on_cancel_asked(records[0].order_id, None))
                return refused if not number else None
            logger.info("{}: written to IB as {}", record.order_id, record.ib_order_id)
            # Kept with the next turn's news: one sync of the disk less, and a crash before it leaves a doubt.
            self._take(self.ledger.on_written(record.order_id, self._clock()))
        return None

    def _not_written(self, records: list[OrderRecord], refused: NotPlaced) -> None:
        for record in records:
            fact = _undelivered(record, refused.reason)
            self._take(self.ledger.on_not_written(structs.replace(fact, code=refused.code)))
        self._save()

    def _place(self, order: CheckedOrder, record: OrderRecord, **bracket: Any) -> NotPlaced | None:
        try:
            self.connection.place(record.ib_order_id, order.contract, order.order, record.order_id, **bracket)
        except Exception as error:  # noqa: BLE001 - ib_insync builds the whole message before it writes a byte
            logger.error("{}: nothing went to IB, it could not be written: {!r}", record.order_id, error)
            return _undelivered(record, f"it could not be written: {error}")
        reach("executor.order.written")
        return None

    def replace(self, message: ReplaceOrder, permit: Permit = lambda: None) -> None:
        """Change an order at IB: first the intent to the disk, then the bytes; or say why not."""
        order_id = message.order_id
        complaint = self.ledger.may_not_change(order_id, self.connection.undisturbed_since)
        try:
            checked = self.check(message)
        except InvalidFields as error:
            complaint = complaint or str(error)
        if complaint:
            self.refuse_replace(message, complaint)
            return
        terms = {name: checked.order[name] for name in TERMS if name in checked.order}
        self._take(self.ledger.on_change(order_id, Change(message.request_id, message.revision, terms)))
        self._save()
        refused = permit()
        why = self.journal_error or (refused.reason if refused else "") or self._place_change(checked)
        if why:
            self._take(self.ledger.on_change_failed(order_id, why))
            self._save()
        else:
            logger.info("{}: change {} written to IB", order_id, message.revision)
            self.ledger.on_change_written(order_id, self._clock())

    def _place_change(self, checked: CheckedOrder) -> str:
        record = self.ledger.record(checked.order_id)
        if record is None:
            return "the executor never had this order"
        try:
            self.connection.place(record.ib_order_id, checked.contract, checked.order, record.order_id)
        except Exception as error:  # noqa: BLE001 - ib_insync builds the whole message before it writes a byte
            return f"it could not be written: {error}"
        return ""

    def refuse_replace(self, message: ReplaceOrder, reason: str) -> None:
        """Say that a change will never be written; of one that may have been, the ledger tells the truth."""
        if self.ledger.knows_change(message.order_id, message.revision):
            return
        ids: dict[str, Any] = {"order_id": message.order_id, "strategy_id": message.strategy_id}
        self.tell(ReplaceFailed(**ids, request_id=message.request_id, reason=reason[:500]), "neutral")

    def cancel(self, order_id: str, request_id: str | None) -> None:
        """Cancel an order at IB, now or as soon as it can be sent."""
        logger.info("{}: cancel asked for (request {})", order_id, request_id or "of orderfuse itself")
        self._take(self.ledger.on_cancel_asked(order_id, request_id))
        # Before it leaves: after a crash nobody else knows that an end is of our own making.
        self._save()
        self._send_cancels()
        self._save()

    def accept(self, message: Accept) -> None:
        """A person takes what others did in the account as it is."""
        self._account.accept(message)

    def settle(self, order_id: str) -> None:
        """A person has settled this order."""
        self._take(self.ledger.on_settled(order_id))
        self._save()

    def cancel_ours(self, why: str) -> None:
        """Cancel our orders, except those that protect a position, because orderfuse itself wants them gone."""
        chosen = self.ledger.unprotected()
        logger.warning("{} of our orders are cancelled: {}", len(chosen), why)
        for order_id in chosen:
            self._take(self.ledger.on_cancel_asked(order_id, None, why))
        self._save()
        self._send_cancels()
        self._save()

    def cancel_all(self, message: GlobalCancel) -> None:
        """Cancel every order of the account, manual ones too, until IB lists none of them."""
        if self._global_cancel.ask(message, self._clock()):
            logger.warning("cancelling every order of the account: {}", message.reason)
            self._keep_owed()
        self._send_cancels()
        self._save()

    def end_cancel_all(self, number: int) -> None:
        """The global cancel with this number is not wanted any more."""
        if self._global_cancel.drop(number):
            logger.warning("the cancel of every order of the account is not wanted any more; it is not sent again")
            self._keep_owed()

    def keep_only_cancel_all(self, number: int) -> None:
        """Of global cancels that are owed the breaker knows this one only; 0: none."""
        if self._global_cancel.keep_only(number):
            self._keep_owed()

    def expect(self, message: Expect) -> None:
        """IB may have this order, which was handed over under another journal: its lists tell."""
        order_id = message.order_id
        if self.ledger.knows(order_id):
            if message.change is not None:
                change = message.change
                wanted = Change(change.request_id, change.revision, dict(change.terms))
                self._take(self.ledger.expect_change(order_id, wanted))
        else:
            logger.warning("{}: handed over before, and this journal does not know it; IB's lists tell", order_id)
            self._expected_at[order_id] = self._clock()
            # Lists of before it was sought prove nothing about it.
            self._rounds = Rounds()
            self._take(self.ledger.expect(expected(message)))
        self._save()

    def tell_open(self) -> None:
        """A breaker knows nothing of this journal: tell it of each order that has no end."""
        self._take(Effects(facts=[(fact, None) for fact in self.ledger.told_open()]))
        self._save()

    def tell_again(self, order_id: str) -> None:
        """A breaker was sent this id once more, and has forgotten what became of it: tell it as news."""
        self._take(Effects(facts=[(fact, "neutral") for fact in self.ledger.told_again(order_id)]))
        self._save()

    def adopt_now(self) -> None:
        """The breaker has said which orders it knows: what else IB lists as ours is taken on."""
        if not self.may_adopt:
            self.may_adopt = True
            if self._lists_complete:
                self._adopt()
                self._save()

    def was_listed(self, order_id: str) -> bool:
        """Whether IB has listed an order under this id, also one that nobody here knows."""
        return self._foundlings.knows(order_id)

    def _adopt(self) -> None:
        """IB's lists are complete: tell the story of each order that was waited for, or that nobody knows."""
        for order_id in self._foundlings.ids() if self.may_adopt else ():
            if not self.ledger.knows(order_id):
                found = self._foundlings.of(order_id)
                record = found.record(self.journal.wall_ns())
                logger.warning("{}: at IB with our client id, and nobody here knows it; it is taken on", order_id)
                self._take(Effects(facts=[(found.told(record), None)]))
                self._take(self.ledger.expect(record))
        for order_id in self.ledger.adopting():
            if self._expected_at.get(order_id, float("-inf")) > self._round_begun_at:
                continue
            self._expected_at.pop(order_id, None)
            found = self._foundlings.of(order_id)
            self._take(self.ledger.adopt(order_id, found))
            for report in found.in_order:
                self._hear(report, counts=self._had_baseline)

    def tell(self, fact: Fact, outcome: Outcome | None = None) -> None:
        """Journal and send a fact about an order that is not in the ledger."""
        self._take(Effects(facts=[(fact, outcome)]))
        self._save()

    def gateway_status(self) -> GatewayStatus:
        """The connection's status; without a journal the gateway is of no use."""
        status = self._account.told(self.connection.status())
        if not self.journal_error:
            return status
        return structs.replace(status, usable=False, detail=self.journal_error, planned=False)

    # -- listening to the connection ----------------------------------------------------------------------

    def on_report(self, report: OrderReport) -> None:
        """IB reported something."""
        if isinstance(report, OpenOrderReport) and report.perm_id:
            self._open_now.add(report.perm_id)
        if isinstance(report, OpenOrderReport) and self._is_foreign(report):
            self._account.on_foreign_order(report)
        self._hear(report)

    def _is_foreign(self, report: OpenOrderReport) -> bool:
        """Whether an open order is in this account and not ours. A login may have several accounts."""
        if report.account not in ("", self.connection.account):
            return False
        return not (self._foundlings.is_ours(report) or self.ledger.knows_perm_id(report.perm_id))

    def _hear(self, report: OrderReport, *, counts: bool = True) -> None:
        """Take a report. `counts`: an execution moves what the positions should be."""
        effects = self.ledger.on_report(report, self._clock())
        for held, order_id in effects.held:
            if self._foundlings.hold(held, order_id) and not order_id and self._lists_complete:
                # Nobody waits for its list.
                self.connection.look_up()
        counted = counts and isinstance(report, ExecutionReport) and report.sec_type not in NOT_COUNTED
        if counted and isinstance(report, ExecutionReport) and effects.executions:
            self._count(report, effects)
        self._take(effects)

    def _count(self, report: ExecutionReport, effects: Effects) -> None:
        """Count a new execution of ours, or a correction, in what the positions should be."""
        base, revision = split_exec_id(report.exec_id)
        shares = report.shares if report.side == "BOT" else -report.shares
        fill = LegFill(base, report.con_id, report.symbol, shares, report.traits)
        effects.fills.append(fill)
        before = None
        if revision > 1:
            # It may be among what is not kept yet.
            self._save()
            before = self.journal.find_fill(base)
        self._account.on_fill(fill, before.shares if before else 0.0)

    def on_positions_asked(self) -> None:
        """A list of positions is asked for."""
        self.drift.on_asked()

    def on_positions(self, held: list[Held]) -> None:
        """IB has listed all positions: tell each new difference once."""
        if self.drift.has_baseline and not self.connection.usable:
            return  # Fills made while we were away are still being asked for.
        self._account.on_positions(held, self.connection.account)

    def on_position(self, held: Held) -> None:
        """IB tells of one position unasked."""
        self._account.on_push(held, self._clock())

    def on_orders_asked(self) -> None:
        """IB is asked for all open orders of the account."""
        self._orders_asked_at = self._clock()
        self._account.on_list_begun()

    def on_orders_listed(self) -> None:
        """IB has listed all open orders of the account."""
        self._account.on_list_end()
        if self.connection.usable:
            self._take(self.ledger.see_listed(self._orders_asked_at, self._clock()))

    def on_unreadable(self, report: Unreadable) -> None:
        """Something about orders could not be read: what is true of them, only a person can find out."""
        if report.order is not None and self._is_foreign(report.order):
            self._account.on_foreign_order(report.order)
        if report.order_ref is not None and not self.ledger.knows(report.order_ref):
            return  # Somebody else's order, of a kind that ib_insync cannot read.
        text = f"a message of IB about orders cannot be read, look the orders up: {report.text}"[:500]
        self._take(Effects(facts=[(Tripped(ib_code=0, reason=text), None)]))

    def on_turn(self) -> None:
        """Everything that has come was handed over; look at the time, and keep what is new."""
        now = self._clock()
        self._account.tell_new()
        if self._account.wants_orders(now):
            self.connection.list_orders_soon()
        self._take(self.ledger.poll(now, forget=not self.journal_error))
        self._send_cancels()
        self._look_into_doubts(now)
        self._save()
        for order_id in [order_id for order_id, at in self._deadlines.items() if now >= at]:
            self._no_answer(order_id)

    def on_status(self) -> None:
        """The connection has changed."""
        self.on_change()

    def on_round_begun(self) -> None:
        """IB is asked for everything."""
        self._round_begun_at, self._lists_complete = self._clock(), False
        self._foundlings.on_round_begun()
        self._open_now.clear()

    def on_round(self, undisturbed_since: float) -> None:
        """IB has listed everything; what it should have listed and did not, it never had."""
        reach("executor.round.complete")
        self._lists_complete = True
        self._adopt()
        self._see_what_is_open()
        if undisturbed_since != self._last_connection:
            # A cancel that was under way when the connection broke may never have arrived.
            self._last_connection = undisturbed_since
            self._take(self.ledger.on_new_connection())
            self._global_cancel.on_new_connection()
            for order_id in self.ledger.broken_brackets():
                logger.error("{}: IB does not list its whole bracket; it is cancelled", order_id)
                self._take(self.ledger.on_cancel_asked(order_id, None))
        # A round that was under way when an order ended may not show it; the one after that round does.
        listed_before = self._rounds.last
        self._rounds.on_round(self._round_begun_at, self._clock(), undisturbed_since)
        for order_id, doubt in self.ledger.doubts().items():
            record = self.ledger.record(order_id)
            provable = self.ledger.is_provable(order_id)
            if record and provable and self._rounds.settle(doubt) and self._is_of_today(record):
                self._take(self.ledger.on_reconciled(order_id))
        self._answer_changes(listed_before)
        self._unheard = self.ledger.unheard_since(undisturbed_since)
        for order_id in [each for each, doubt in self._unheard.items() if self._rounds.settle(doubt)]:
            self._take(self.ledger.on_lost(order_id))
            del self._unheard[order_id]
        for order_id, sought_at in self.ledger.fills_sought().items():
            if sought_at <= listed_before:
                self._take(self.ledger.on_lost(order_id))
        self._save()

    def _answer_changes(self, listed_before: float) -> None:
        for order_id, doubt in self.ledger.changes().items():
            if self._rounds.settle(doubt) and self.ledger.is_heard_since(order_id, doubt.since):
                self._take(self.ledger.on_change_failed(order_id, "IB lists the order unchanged"))
        for order_id, ended_at in self.ledger.changes_of_ended().items():
            if ended_at <= listed_before:
                why = "the order is over, and IB does not say with which terms it ended"
                self._take(self.ledger.on_change_failed(order_id, why))

    def _look_into_doubts(self, now: float) -> None:
        """Whatever it takes to know whether IB has the orders that it has not answered."""
        if not self.connection.usable:
            return
        wanted = bool(self._unheard) or self.ledger.seeks() or self._global_cancel.waits_for_list()
        if wanted and self._rounds.another_due(now):
            self.connection.look_up()
        doubts = self.ledger.doubts()
        records = (self.ledger.record(order_id) for order_id in doubts)
        if not any(record and self._is_of_today(record) for record in records):
            # IB's lists are of today: they can settle none of these.
            doubts = {}
        # Open orders are listed on any day, and with them the terms that hold.
        changes = self.ledger.changes().items()
        doubts |= {order_id: doubt for order_id, doubt in changes if now - doubt.since >= ANSWER_SECS}
        if not doubts:
            return
        made_at = self.connection.undisturbed_since
        old = any(doubt.bytes_lost and doubt.since >= made_at for doubt in doubts.values())
        if old and not self.ledger.window_used(now) and now - made_at >= RENEW_EVERY_SECS:
            self.connection.renew(f"a new connection for the orders in doubt: {', '.join(list(doubts)[:5])}")
        elif not old and self._rounds.another_due(now):
            self.connection.look_up()

    def _is_of_today(self, record: OrderRecord) -> bool:
        offset = datetime.now(UTC).astimezone().utcoffset() or timedelta()
        return same_trading_day(record.placed_ns, self.journal.wall_ns(), timezone(offset))

    def _send_cancels(self) -> None:
        """Cancels that were asked for leave as soon as there is a connection and room in the pacing."""
        if not self.connection.ready:
            return
        self._send_global_cancel()
        for order_id, ib_order_id in self.ledger.cancels_to_send().items():
            # Before the connection is reconciled IB may not know our orders yet.
            if not self.connection.usable or not self.connection.pacer.free(self._clock(), cancel=True):
                return
            reach("executor.cancel.unsent")
            self.connection.cancel(ib_order_id)
            reach("executor.cancel.sent")
            logger.info("{}: cancel written", order_id)
            self._take(self.ledger.on_cancel_sent(order_id, self._clock()))

    def _send_global_cancel(self) -> None:
        now = self._clock()
        if self._global_cancel.give_up(now):
            logger.error("the cancel of every order of the account is given up: IB lists some of them still")
            self._keep_owed()
        elif self._global_cancel.is_due(now) and self.connection.pacer.free(now, cancel=True):
            self.connection.global_cancel()
            self._global_cancel.on_sent(now)
            self._take(self.ledger.on_global_cancel())
            # What is open now is what it was for.
            self.connection.look_up()

    def _see_what_is_open(self) -> None:
        """IB has listed all open orders: is there still one that the global cancel was for?"""
        done = self._global_cancel.on_listed(self._open_now, self._round_begun_at)
        if done is not None:
            logger.info("IB lists none of the orders any more that were to be cancelled")
            self._take(Effects(facts=[(AllCancelled(number=done), None)]))
        self._keep_owed()

    def _keep_owed(self) -> None:
        try:
            self.journal.keep_owed_cancel(self._global_cancel.owed)
        except JournalError as error:
            # It is carried out all the same; only a restart would forget it, and then the breaker says it again.
            self._journal_failed(error)

    # -- keeping and telling ------------------------------------------------------------------------------

    def _take(self, effects: Effects) -> None:
        """Collect what a step brought; `_save` keeps it."""
        for note in effects.notes:
            logger.info("{}", note)
        for alarm in effects.alarms:
            logger.warning("{}", alarm)
        if effects.look_up:
            self.connection.look_up()
        self._unsaved.facts.extend(entry for entry in effects.facts if not self._is_repeat(entry[0]))
        self._unsaved.orders.update(effects.orders)
        self._unsaved.executions.extend(effects.executions)
        self._unsaved.fills.extend(effects.fills)

    def _is_repeat(self, fact: Fact) -> bool:
        if not isinstance(fact, Tripped):
            return False
        now = self._clock()
        before = self._tripped_at.get(fact.ib_code)
        self._tripped_at[fact.ib_code] = now if before is None or now - before >= TRIP_AGAIN_SECS else before
        return self._tripped_at[fact.ib_code] == before

    def _save(self) -> None:
        """Journal what is new, then tell it. Nothing is told that a crash could forget."""
        now = self._clock()
        if self.journal_error and now < self._retry_at:
            return
        effects = self._unsaved
        try:
            if self.journal_error:
                # Also without news: the error must go as soon as it is over.
                self.journal.prune()
            told = self.journal.commit(effects)
        except JournalError as error:
            self._journal_failed(error)
            return
        self._unsaved = Effects()
        if self.journal_error:
            logger.info("the journal can be written again")
            self.journal_error = ""
            self.on_change()
        for seq, feedback, payload in told:
            log_fact(feedback.fact, feedback.outcome)
            self.on_feedback(seq, payload)
        for fact, outcome in effects.facts:
            self._settle(fact, outcome)

    def _journal_failed(self, error: JournalError) -> None:
        self._retry_at = self._clock() + JOURNAL_RETRY_SECS
        if self.journal_error != str(error):
            self.journal_error = str(error)
            logger.error("{}; no order is placed until it can be", error)
            self.on_change()

    # -- results of place_order ---------------------------------------------------------------------------

    def _settle(self, fact: Fact, outcome: Outcome | None) -> None:
        if outcome is None or isinstance(fact, Tripped | AllCancelled) or fact.order_id not in self._deadlines:
            return
        del self._deadlines[fact.order_id]
        breaker = self.circuit_breaker
        if breaker and outcome == "success":
            breaker.record_success(fact.order_id)
        elif breaker and outcome == "neutral":
            breaker.record_neutral(fact.order_id)
        elif breaker:
            breaker.record_failure(fact.order_id)
        self._resolve(fact.order_id, status_of(fact), getattr(fact, "ib_code", 0), getattr(fact, "reason", ""))

    def _no_answer(self, order_id: str) -> None:
        del self._deadlines[order_id]
        logger.warning("{}: no answer of IB within {:g} s", order_id, ANSWER_SECS)
        if self.circuit_breaker:
            self.circuit_breaker.record_failure(order_id)
        self._resolve(order_id, "unknown", 0, f"no answer of IB within {ANSWER_SECS:g} s; it may have the order")

    def _resolve(self, order_id: str, status: Status, ib_code: int, reason: str) -> None:
        waiter = self._waiters.get(order_id)
        record = self.ledger.record(order_id)
        if waiter is None or waiter.done() or record is None:
            return
        filled, avg_price = self.ledger.totals(order_id)
        waiter.set_result(
            ExecutionResult(
                order_id,
                status,
                ib_order_id=record.ib_order_id,
                perm_id=record.perm_id,
                filled=filled,
                avg_price=avg_price,
                ib_code=ib_code,
                reason=reason,
            )
        )


def _undelivered(record: OrderRecord, reason: str) -> NotPlaced:
    return NotPlaced(order_id=record.order_id, strategy_id=record.strategy_id, code="undelivered", reason=reason[:500])
