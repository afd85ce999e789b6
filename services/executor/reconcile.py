"""What IB lists beside what we know: doubts are answered, orders that nobody here knows are taken on. Pure.

Only a complete round of lists proves anything (`doubts`). What it shows of orders that the journal does not have
is held back until the round is complete (`found_orders`).
"""

from __future__ import annotations

from datetime import timedelta, timezone

from orderfuse.text import cut
from services.executor.account.others_in_account import OthersInAccount
from services.executor.account.position_breaks import LegFill
from services.executor.cancelling import Cancelling
from services.executor.core import Core
from services.executor.orders.doubts import Doubt, Rounds, same_trading_day
from services.executor.orders.found_orders import expected
from services.executor.orders.ledger import ANSWER_SECS
from services.executor.orders.records import Change, Effects, OrderRecord, split_exec_id
from services.gateway.position_list import NOT_COUNTED
from services.gateway.reports import ExecutionReport, OpenOrderReport, OrderReport, Unreadable
from services.runtime.notes import error, warning
from services.wire.dispatch import Expect
from services.wire.feedback import Tripped

# A connection is not given up for an order in doubt more often than this.
RENEW_EVERY_SECS = 10.0
_NEVER = float("-inf")


class Reconciliation:
    """Hears what IB says of orders, and finds out what became of those that it says nothing of.

    Args:
        core: the shared state.
        cancelling: hears of new connections and of what is open.
        others: hears of fills, and of orders that are not ours.
        had_baseline: fills that a first list of positions has in it already must not be counted on top of it.
        may_adopt: orders that nobody here knows may be taken on; False: once the breaker has said which ones it knows.
    """

    def __init__(
        self, core: Core, cancelling: Cancelling, others: OthersInAccount, *, had_baseline: bool, may_adopt: bool
    ) -> None:
        self._core = core
        self._cancelling = cancelling
        self._others = others
        self._had_baseline = had_baseline
        self._may_adopt = may_adopt
        self._rounds = Rounds()
        self._round_begun_at = self._orders_asked_at = _NEVER
        self._lists_complete = False
        self._last_connection = _NEVER
        self._expected_at: dict[str, float] = {}
        # Orders that IB once had and did not list in the last round.
        self._unheard: dict[str, Doubt] = {}
        # The permanent ids of all open orders of the account, of any client, as IB has listed them so far.
        self._open_now: set[int] = set()

    # -- reports ------------------------------------------------------------------------------------------

    def on_report(self, report: OrderReport) -> None:
        """IB reported something about an order."""
        if isinstance(report, OpenOrderReport) and report.perm_id:
            self._open_now.add(report.perm_id)
        if isinstance(report, OpenOrderReport) and self._is_foreign(report):
            self._others.on_foreign_order(report)
        self._hear(report)

    def on_unreadable(self, report: Unreadable) -> None:
        """Something about orders could not be read: what is true of them, only a person can find out."""
        if report.order is not None and self._is_foreign(report.order):
            self._others.on_foreign_order(report.order)
        if report.order_ref is not None and not self._core.ledger.knows(report.order_ref):
            return  # Somebody else's order, of a kind that ib_insync cannot read.
        text = f"a message of IB about orders cannot be read, look the orders up: {report.text}"
        self._core.tell(Tripped(ib_code=0, reason=cut(text)))

    def _is_foreign(self, report: OpenOrderReport) -> bool:
        """Whether an open order is in this account and not ours. A login may have several accounts."""
        core = self._core
        if report.account not in ("", core.life.account):
            return False
        return not (core.found_orders.is_ours(report) or core.ledger.knows_perm_id(report.perm_id))

    def _hear(self, report: OrderReport, *, counts: bool = True) -> None:
        """Take a report. `counts`: an execution moves what the positions should be."""
        core = self._core
        # Asked before anything changes: what a disk does not tell leaves this report for the next list.
        counted = self._counted_before(report)
        effects = core.ledger.on_report(report, core.now.secs)
        for held, order_id in effects.held:
            if core.found_orders.hold(held, order_id) and not order_id and self._lists_complete:
                # Nobody waits for its list.
                core.life.look_up()
        if counts and isinstance(report, ExecutionReport) and report.sec_type not in NOT_COUNTED and effects.executions:
            self._count(report, counted, effects)
        core.take(effects)

    def _counted_before(self, report: OrderReport) -> float:
        """The shares that were counted for an execution which this one corrects."""
        base, revision = split_exec_id(report.exec_id) if isinstance(report, ExecutionReport) else ("", 0)
        before = self._core.fill_of(base) if revision > 1 else None
        return before.shares if before else 0.0

    def _count(self, report: ExecutionReport, counted: float, effects: Effects) -> None:
        """Count a new execution of ours, or a correction of what was `counted`, in what the positions should be."""
        base, _ = split_exec_id(report.exec_id)
        shares = report.shares if report.side == "BOT" else -report.shares
        fill = LegFill(base, report.con_id, report.symbol, shares, report.traits)
        effects.fills.append(fill)
        self._others.on_fill(fill, counted)

    # -- what the breaker knows ---------------------------------------------------------------------------

    def expect(self, message: Expect) -> None:
        """IB may have this order, which was handed over under another journal: its lists tell."""
        core, order_id = self._core, message.order_id
        if core.ledger.knows(order_id):
            if message.change is not None:
                change = message.change
                wanted = Change(change.request_id, change.revision, dict(change.terms))
                core.take(core.ledger.changes.expect(order_id, wanted))
            return
        text = f"{order_id}: handed over before, and this journal does not know it; IB's lists tell"
        core.batch.notes.append(warning(text))
        self._expected_at[order_id] = core.now.secs
        # Lists of before it was sought prove nothing about it.
        self._rounds = Rounds()
        core.take(core.ledger.expect(expected(message)))

    def tell_open(self) -> None:
        """A breaker knows nothing of this journal: tell it of each order that has no end."""
        self._core.keep.facts += [(fact, None) for fact in self._core.ledger.told_open()]

    def adopt_now(self) -> None:
        """The breaker has said which orders it knows: what else IB lists as ours is taken on."""
        if not self._may_adopt:
            self._may_adopt = True
            if self._lists_complete:
                self._adopt()

    def _adopt(self) -> None:
        """IB's lists are complete: tell what became of each order that was waited for, or that nobody knows."""
        core = self._core
        for order_id in core.found_orders.ids() if self._may_adopt else ():
            if not core.ledger.knows(order_id):
                found = core.found_orders.of(order_id)
                record = found.record(core.now.wall_ns)
                text = f"{order_id}: at IB with our client id, and nobody here knows it; it is taken on"
                core.batch.notes.append(warning(text))
                core.tell(found.told(record))
                core.take(core.ledger.expect(record))
        for order_id in core.ledger.adopting():
            if self._expected_at.get(order_id, _NEVER) > self._round_begun_at:
                continue
            self._expected_at.pop(order_id, None)
            found = core.found_orders.of(order_id)
            core.take(core.ledger.adopt(order_id, found))
            for report in found.in_order:
                self._hear(report, counts=self._had_baseline)

    # -- rounds -------------------------------------------------------------------------------------------

    def on_round_begun(self) -> None:
        """IB is asked for everything."""
        self._round_begun_at, self._lists_complete = self._core.now.secs, False
        self._core.found_orders.on_round_begun()
        self._open_now.clear()

    def on_round(self, undisturbed_since: float) -> None:
        """IB has listed everything; what it should have listed and did not, it never had."""
        core, now = self._core, self._core.now.secs
        self._lists_complete = True
        self._adopt()
        self._cancelling.on_listed(self._open_now, self._round_begun_at)
        if undisturbed_since != self._last_connection:
            self._last_connection = undisturbed_since
            self._on_new_connection()
        # A round that was under way when an order ended may not show it; the one after that round does.
        listed_before = self._rounds.last
        self._rounds.on_round(self._round_begun_at, now, undisturbed_since)
        for order_id, doubt in core.ledger.doubts().items():
            record = core.ledger.record(order_id)
            provable = core.ledger.is_provable(order_id)
            if record and provable and self._rounds.answers(doubt) and self._is_of_today(record):
                core.take(core.ledger.on_reconciled(order_id))
        self._answer_changes(listed_before)
        self._see_what_is_lost(undisturbed_since, listed_before)

    def _on_new_connection(self) -> None:
        core = self._core
        # A cancel that was under way when the connection broke may never have arrived.
        self._cancelling.on_new_connection()
        for order_id in core.ledger.broken_brackets():
            core.batch.notes.append(error(f"{order_id}: IB does not list its whole bracket; it is cancelled"))
            core.take(core.ledger.cancels.on_asked(order_id, None))

    def _answer_changes(self, listed_before: float) -> None:
        ledger = self._core.ledger
        for order_id, doubt in ledger.changes.in_doubt().items():
            if self._rounds.answers(doubt) and ledger.is_heard_since(order_id, doubt.since):
                self._core.take(ledger.changes.on_failed(order_id, "IB lists the order unchanged"))
        for order_id, ended_at in ledger.changes.of_ended().items():
            if ended_at <= listed_before:
                why = "the order is over, and IB does not say with which terms it ended"
                self._core.take(ledger.changes.on_failed(order_id, why))

    def _see_what_is_lost(self, undisturbed_since: float, listed_before: float) -> None:
        ledger = self._core.ledger
        self._unheard = ledger.unheard_since(undisturbed_since)
        for order_id in [each for each, doubt in self._unheard.items() if self._rounds.answers(doubt)]:
            self._core.take(ledger.on_lost(order_id))
            del self._unheard[order_id]
        for order_id, sought_at in ledger.fills_sought().items():
            if sought_at <= listed_before:
                self._core.take(ledger.on_lost(order_id))

    def on_orders_asked(self) -> None:
        """IB is asked for all open orders of the account."""
        self._orders_asked_at = self._core.now.secs

    def on_orders_listed(self) -> None:
        """IB has listed all open orders of the account."""
        core = self._core
        if core.life.usable:
            core.take(core.ledger.see_listed(self._orders_asked_at, core.now.secs))

    def look_into_doubts(self) -> None:
        """Whatever it takes to know whether IB has the orders that it has not answered."""
        core, now = self._core, self._core.now.secs
        life, ledger = core.life, core.ledger
        if not life.usable:
            return
        wanted = bool(self._unheard) or ledger.seeks() or self._cancelling.waits_for_list
        if wanted and self._rounds.another_due(now):
            life.look_up()
        doubts = ledger.doubts()
        records = (ledger.record(order_id) for order_id in doubts)
        if not any(record and self._is_of_today(record) for record in records):
            # IB's lists are of today: they can answer none of these.
            doubts = {}
        # Open orders are listed on any day, and with them the terms that hold.
        changes = ledger.changes.in_doubt().items()
        doubts |= {order_id: doubt for order_id, doubt in changes if now - doubt.since >= ANSWER_SECS}
        if not doubts:
            return
        made_at = life.undisturbed_since
        old = any(doubt.bytes_lost and doubt.since >= made_at for doubt in doubts.values())
        if old and not ledger.window_used(now) and now - made_at >= RENEW_EVERY_SECS:
            life.renew(f"a new connection for the orders in doubt: {', '.join(list(doubts)[:5])}")
        elif not old and self._rounds.another_due(now):
            life.look_up()

    def _is_of_today(self, record: OrderRecord) -> bool:
        now = self._core.now
        local = timezone(timedelta(seconds=now.utc_offset_secs))
        return same_trading_day(record.placed_ns, now.wall_ns, local)
