"""The executor's memory of orders: intents, reports of IB and the time go in, facts come out.

Pure: no socket, no clock, no file. The caller writes each step's `Effects` to the journal in one
transaction and only then tells anybody. What has left the memory is asked back from the journal (`History`).
Orders of others are ignored: an order is ours if its `orderRef` or its permanent id is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orderfuse.messages import Accepted, Adopted, CancelFailed, ExpectedChange, Fact, NotPlaced, Tripped, Written
from services.executor import cancels, twins
from services.executor.brackets import Brackets
from services.executor.doubts import Doubt
from services.executor.foundlings import Foundling
from services.executor.kin import GROUP_OVER, Kin
from services.executor.outcomes import NO_SUCH_ORDER, Meaning, for_system, may_be_read_only
from services.executor.records import Change, Effects, History, OrderRecord, split_exec_id
from services.executor.retold import retold
from services.executor.story import MAX_REASON, Story, short
from services.gateway.reports import (
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
    OrderReport,
    StatusReport,
)

# Written and unanswered for this long, an order leaves the window: the breaker has counted it as unknown.
ANSWER_SECS = 5.0
# An ended order stays in memory this long for late commissions and corrections; the journal keeps it.
KEEP_ENDED_SECS = 600.0
# A full collection looks at them all: 30,000 took 79 ms, and the journal has those that do not stay.
MAX_ENDED = 10_000
# An order may be sent to an OCA group behind the fill that ends it; a name that is used again later is another group.
GROUP_ENDS_SECS = 10.0
# Commissions that came before their execution: never seen, but cheap to survive.
MAX_EARLY_COMMISSIONS = 1000
# Each code that nobody knows is told once; a gateway that made up more of them would fill the memory.
MAX_CODES_TOLD = 1000
# Before this process began; whatever it finds out comes later.
_LONG_AGO = float("-inf")


class Ledger:
    """All orders of this executor.

    Args:
        history: where orders are found that are not in memory.
        client_id: our API client id; IB's order ids mean something only together with it.
    """

    def __init__(self, history: History, client_id: int) -> None:
        self._history = history
        self._client_id = client_id
        self._stories: dict[str, Story] = {}
        self._kin = Kin(self._stories)
        self._brackets = Brackets(self._stories, self._kin, lambda order_id: self._find(order_id=order_id))
        self._by_perm: dict[int, str] = {}
        self._by_ib_id: dict[int, str] = {}
        # By the execution's id without its revision.
        self._by_exec: dict[str, str] = {}
        # What a tick has to look at. Ended orders are in the order in which they may be forgotten.
        self._waiting: dict[str, Story] = {}
        self._ended: dict[str, float] = {}
        self._cancels: dict[str, Story] = {}
        self._changing: set[str] = set()
        # Ended orders with a change that IB has not answered, and when they ended.
        self._over_unchanged: dict[str, float] = {}
        # Orders without all of their fills, and since when those are sought.
        self._sought: dict[str, float] = {}
        # Orders of which IB was asked whether it still has them, and has not said so since.
        self._asked: dict[str, float] = {}
        # Orders that IB may or may not have, and since when that is open.
        self._doubts: dict[str, Doubt] = {}
        self._unanswered: dict[str, float] = {}
        self._early_commissions: dict[str, CommissionReport] = {}
        self._codes_told: set[int] = set()
        # IB's id of the last order that was refused with 321 in another language, if nothing else came since.
        self._foreign_321 = 0
        self._now = 0.0

    # -- what we do ---------------------------------------------------------------------------------------

    def knows(self, order_id: str) -> bool:
        """Whether an order with this id was ever meant to be written."""
        return self._find(order_id=order_id) is not None

    def knows_perm_id(self, perm_id: int) -> bool:
        """Whether this is the permanent id of an order of ours."""
        return bool(perm_id) and self._find(perm_id=perm_id) is not None

    def record(self, order_id: str) -> OrderRecord | None:
        """A copy of what is known of an order."""
        story = self._find(order_id=order_id)
        return replace(story.record) if story else None

    def totals(self, order_id: str) -> tuple[float, float]:
        """Filled quantity and average price."""
        story = self._find(order_id=order_id)
        return (story.filled, story.avg_price) if story else (0.0, 0.0)

    def restore(self, records: list[OrderRecord]) -> None:
        """Take the orders that have not ended from the journal, at the start."""
        for record in records:
            self._remember(record)
            if not record.accepted:
                self._doubts[record.order_id] = Doubt(_LONG_AGO)
            if not record.answered:
                self._unanswered[record.order_id] = _LONG_AGO

    def intend(self, record: OrderRecord) -> None:
        """Remember an order whose intent is in the journal and whose bytes have not left."""
        self._remember(record)
        for order_id in self._kin.filled_of_group(record):
            if self._now - self._ended.get(order_id, self._now) < GROUP_ENDS_SECS:
                # It comes to a group that is over.
                record.kin_over = GROUP_OVER

    def on_written(self, order_id: str, now: float) -> Effects:
        """The order's bytes have left for IB."""
        self._now = now
        effects = Effects()
        record = self._stories[order_id].record
        record.written = True
        self._unanswered[order_id] = now
        effects.tell(record, Written(**_ids(record), ib_order_id=record.ib_order_id))
        return effects

    def expect(self, record: OrderRecord) -> Effects:
        """Remember an order of which only IB's lists can tell what became of it."""
        effects = Effects(look_up=True)
        effects.keep(record)
        self._remember(record)
        if not record.accepted:
            self._doubts[record.order_id] = Doubt(_LONG_AGO)
        return effects

    def expect_change(self, order_id: str, change: Change) -> Effects:
        """A change of a known order that may have been done; nothing if it is known too."""
        effects = Effects(look_up=True)
        if not self.knows_change(order_id, change.revision):
            effects = self.on_change(order_id, change)
            effects.look_up = True
        return effects

    def told_open(self) -> list[Adopted]:
        """Each order that has no end, as somebody has to be told of it who knows nothing."""
        return [
            Adopted(
                **_ids(story.record),
                ib_order_id=story.record.ib_order_id,
                perm_id=story.record.perm_id,
                contract={},
                order={"totalQuantity": story.record.quantity},
                status=story.record.status if story.record.accepted else "",
                filled=story.filled,
                # One that is still looked for at IB, too: whoever lost it once must not lose it again.
                doubtful=story.doubtful or story.record.adopting or not story.record.accepted,
                change=_told_change(story.record.change),
            )
            for story in self._stories.values()
            if not story.record.ended
        ]

    def told_again(self, order_id: str) -> list[Fact]:
        """What has become of this order, for a breaker that has forgotten it."""
        story = self._find(order_id=order_id)
        return retold(story) if story and not story.record.adopting else []

    def adopting(self) -> list[str]:
        """Orders whose reports are held back until IB's lists are complete."""
        return [order_id for order_id, story in self._stories.items() if story.record.adopting]

    def adopt(self, order_id: str, found: Foundling) -> Effects:
        """IB's lists are complete: from now on the order is what its reports say; those that were held come next."""
        effects = Effects()
        story = self._stories[order_id]
        record = story.record
        record.adopting = False
        record.filled_before = found.filled_before(combo=record.combo)
        # That it works is told once more, and with it what had been filled before.
        record.accepted = found.open is None and (record.accepted or bool(found.reports))
        effects.keep(record)
        self._settle(story)
        return effects

    def doubts(self) -> dict[str, Doubt]:
        """Orders that IB may or may not have."""
        return dict(self._doubts)

    def in_doubt(self) -> list[str]:
        """Orders of which nobody knows whether IB has them, or how they ended."""
        lost = [order_id for order_id, story in self._stories.items() if story.doubtful and not story.record.ended]
        return list({**self._doubts, **dict.fromkeys(lost)})

    def on_settled(self, order_id: str) -> Effects:
        """A person has said how this order ended."""
        effects = Effects()
        story = self._find(order_id=order_id)
        if story is not None and not story.record.ended:
            story.record.ended = "settled"
            story.fail_change(0, "a person has settled the order", "neutral", effects)
            effects.keep(story.record)
            effects.notes.append(f"{order_id}: settled by a person; it is looked up no more")
            self._settle(story)
        return effects

    def on_reconciled(self, order_id: str) -> Effects:
        """It is proven that IB never had this order."""
        effects = Effects()
        story = self._stories[order_id]
        story.record.ended = "not_placed"
        reason = "IB does not list it: not among open orders, executions and completed orders"
        reason += self._brackets.missing(story)
        effects.tell(story.record, NotPlaced(**_ids(story.record), code="reconciled", reason=reason), "neutral")
        self._settle(story)
        return effects

    def may_not_change(self, order_id: str, since: float) -> str:
        """Why an order may not be changed now; empty if it may. `since`: when this connection was made.

        A change of an order that IB has lost would be a new order.
        """
        story = self._find(order_id=order_id)
        if story is None:
            return "the executor never had this order"
        record = story.record
        if record.ended:
            return f"the order was {record.ended}"
        if not record.accepted or story.doubtful or story.heard_at < since:
            return "IB has not confirmed the order on this connection"
        if record.cancel_asked:
            return "the order is being cancelled"
        return "another change is under way" if record.change else ""

    def knows_change(self, order_id: str, revision: int) -> bool:
        """Whether this change, or a later one, was ever meant to be written."""
        story = self._find(order_id=order_id)
        return story is not None and story.record.revision >= revision

    def on_change(self, order_id: str, change: Change) -> Effects:
        """Remember a change; its intent must be in the journal before its bytes leave."""
        effects = Effects()
        record = self._stories[order_id].record
        record.revision, record.change = change.revision, change
        effects.keep(record)
        self._changing.add(order_id)
        return effects

    def on_change_written(self, order_id: str, now: float) -> None:
        """The change's bytes have left for IB."""
        self._stories[order_id].changed_at = now

    def on_change_failed(self, order_id: str, reason: str) -> Effects:
        """The change was not written, or is proven not to have happened."""
        effects = Effects()
        story = self._stories[order_id]
        story.fail_change(0, reason, "neutral", effects)
        self._settle(story)
        return effects

    def changes(self) -> dict[str, Doubt]:
        """Orders with a change of which it is not known whether IB has done it."""
        pending = {at: self._stories[at] for at in self._changing if at in self._stories}
        self._changing = {at for at, story in pending.items() if story.record.change and not story.record.ended}
        return {at: Doubt(pending[at].changed_at, pending[at].change_doubt is None) for at in self._changing}

    def is_heard_since(self, order_id: str, when: float) -> bool:
        """Whether IB has shown this order since then (monotonic seconds)."""
        return self._stories[order_id].heard_at >= when

    def see_listed(self, since: float, now: float) -> Effects:
        """IB has listed all open orders that it had then: a working one that it did not list has to be looked up."""
        self._now = now
        effects = Effects()
        for story in self._stories.values():
            record = story.record
            if record.accepted and not (record.ended or story.doubtful) and story.heard_at < since:
                story.ask(since)
                effects.look_up = True
                self._settle(story)
        return effects

    def changes_of_ended(self) -> dict[str, float]:
        """Orders that ended while a change of them had no answer, and when (monotonic seconds)."""
        return dict(self._over_unchanged)

    def unheard_since(self, when: float) -> dict[str, Doubt]:
        """Orders that IB had, and of which it has said nothing since `when` (monotonic seconds), or since it was asked.

        Orders that are unknown already are not among them.
        """
        asked = {
            order_id: max(when, story.asked_after)
            for order_id, story in self._stories.items()
            if story.record.accepted and not (story.record.ended or story.doubtful)
        }
        return {at: Doubt(since, False) for at, since in asked.items() if self._stories[at].heard_at < since}

    def seeks(self) -> bool:
        """Whether there is an order that IB was asked about and that its lists have not settled."""
        return bool(self._asked or self._sought or self._over_unchanged)

    def fills_sought(self) -> dict[str, float]:
        """Orders that IB calls Filled without listing all of their fills, and since when those were asked for."""
        return dict(self._sought)

    def on_lost(self, order_id: str) -> Effects:
        """IB's complete lists no longer have this order, which it once had."""
        effects = Effects()
        story = self._stories[order_id]
        story.on_lost(effects)
        self._settle(story)
        return effects

    def on_not_written(self, fact: NotPlaced) -> Effects:
        """The intent is in the journal, but nothing of the order left after all. Its id stays used."""
        effects = Effects()
        story = self._stories[fact.order_id]
        story.record.ended = "not_placed"
        effects.tell(story.record, fact, "neutral")
        self._settle(story)
        return effects

    def unprotected(self) -> list[str]:
        """Orders that may be at IB and that no automatic cancel must spare.

        A leg whose parent has fills protects them, a parent with fills and a living leg would take that leg along,
        and a leg whose parent lives is ended by IB together with it.
        """
        return [
            order_id
            for order_id, story in self._stories.items()
            if not (story.record.ended or story.record.protect or story.record.cancel_asked)
            and not self._brackets.protects(story)
        ]

    def on_cancel_asked(self, order_id: str, request_id: str | None, why: str = "") -> Effects:
        """Somebody wants this order cancelled; `cancels_to_send` has it until its cancel has left.

        `why`: why orderfuse itself does.
        """
        effects = Effects()
        story = self._find(order_id=order_id)
        if story is not None and request_id is not None and request_id == story.record.answered_cancel:
            return effects  # It has been told, to a breaker that died before it took it.
        if story is not None and story.record.ended == "cancelled":
            # So has this, and it is what was asked for; should the order live after all, it goes to IB.
            cancels.ask(story.record, request_id, why)
            effects.keep(story.record)
            return effects
        if story is None or story.record.ended:
            no = f"the order was {story.record.ended}" if story else "the executor does not know this order"
            if story is not None and request_id is not None and request_id == story.record.cancel_request_id:
                # IB's own answer, which is still to come, is no news then.
                story.fail_cancel(0, no, effects)
                return effects
            strategy_id = story.record.strategy_id if story else ""
            fact = CancelFailed(order_id=order_id, strategy_id=strategy_id, request_id=request_id, ib_code=0, reason=no)
            effects.facts.append((fact, None))
            if story is not None:
                story.record.answered_cancel = request_id
                effects.keep(story.record)
            return effects
        cancels.ask(story.record, request_id, why)
        story.cancels.on_asked()
        effects.keep(story.record)
        self._settle(story)
        return effects

    def on_cancel_sent(self, order_id: str, now: float) -> Effects:
        """The cancel's bytes have left for IB."""
        self._now = now
        effects = Effects()
        story = self._stories[order_id]
        story.record.cancel_sent = story.record.cancel_left = True
        story.cancels.on_sent(now)
        effects.keep(story.record)
        self._settle(story)
        return effects

    def on_global_cancel(self) -> Effects:
        """`reqGlobalCancel` has left: every order that is cancelled now was asked to be."""
        effects = Effects()
        for story in self._stories.values():
            if not story.record.ended:
                story.record.cancel_asked = story.record.cancel_sent = story.record.cancel_left = True
                effects.keep(story.record)
                self._settle(story)
        return effects

    def on_new_connection(self) -> Effects:
        """Cancels that left over an earlier connection and had no effect must leave again."""
        effects = Effects()
        for story in list(self._stories.values()):
            if story.record.cancel_sent and not story.record.ended:
                story.record.cancel_sent = story.record.denied = False
                story.cancels.on_new_connection()
                effects.keep(story.record)
                self._settle(story)
        return effects

    def cancels_to_send(self) -> dict[str, int]:
        """Orders whose cancel was asked for and has not left yet, and the number of IB's that it is for."""
        # One that was never heard of here has no number of IB's yet, until its lists tell.
        wanted = {order_id: story.cancel_number for order_id, story in self._cancels.items()}
        return {order_id: number for order_id, number in wanted.items() if number > 0}

    def unanswered(self) -> list[str]:
        """What is written to IB and not answered: orders, and changes as `order_id~revision`."""
        changes = [f"{order_id}~{self._stories[order_id].record.revision}" for order_id in self.changes()]
        return [*self._unanswered, *changes]

    def window_used(self, now: float) -> int:
        """How many orders are written and unanswered, without those too old to hold up the line."""
        # A bracket takes one place: that of its parent.
        orders = [at for order_id, at in self._unanswered.items() if not self._stories[order_id].record.parent]
        # What IB has answered in words that nobody knows takes no place.
        changes = [doubt.since for doubt in self.changes().values() if doubt.bytes_lost]
        waiting = (*orders, *changes)
        return sum(1 for written_at in waiting if now - written_at < ANSWER_SECS)

    # -- what IB says -------------------------------------------------------------------------------------

    def on_report(self, report: OrderReport, now: float) -> Effects:
        """Take one report of IB."""
        self._now = now
        effects = Effects()
        match report:
            case CommissionReport():
                self._on_commission(report, effects)
            case ErrorReport():
                self._on_error(report, effects)
            case _:
                story = self._whose(report)
                if story is None or story.record.adopting:
                    effects.held.append((report, story.record.order_id if story else ""))
                elif self._has_perm_id(story, report.perm_id, effects):
                    self._learn_number(story, report, effects)
                    if not isinstance(report, ExecutionReport):
                        # An execution is listed all day, also of an order that is gone.
                        story.heard_at = now
                    self._answered(story, effects)
                    before = story.record.ended
                    _tell_story(story, report, now, effects)
                    self._see_kin(story, before, effects)
                else:
                    self._on_other(story, report, effects)
        if any(isinstance(fact, Accepted) for fact, _ in effects.facts):
            self._foreign_321 = 0
        for execution in effects.executions:
            self._by_exec[split_exec_id(execution.exec_id)[0]] = execution.order_id
            early = self._early_commissions.pop(execution.exec_id, None)
            if early:
                self._on_commission(early, effects)
        return effects

    def poll(self, now: float, *, forget: bool = True) -> Effects:
        """Let due time pass: texts that never came, orders that rest, memory that may go.

        `forget`: False while the journal cannot be written: what it does not have must stay here.
        """
        self._now = now
        effects = Effects()
        for story in list(self._waiting.values()):
            before = story.record.ended
            story.poll(now, effects)
            self._see_kin(story, before, effects)
        for order_id, written_at in self._unanswered.items():
            if now - written_at >= ANSWER_SECS:
                self._doubts.setdefault(order_id, Doubt(written_at + ANSWER_SECS))
        while forget and self._ended:
            order_id, ended_at = next(iter(self._ended.items()))
            if now - ended_at < KEEP_ENDED_SECS and len(self._ended) <= MAX_ENDED:
                break
            self._forget(order_id)
        return effects

    # -- kin ----------------------------------------------------------------------------------------------

    def is_provable(self, order_id: str) -> bool:
        """Whether IB's lists can show that it does not have this order."""
        story = self._find(order_id=order_id)
        return story is None or self._brackets.is_provable(story)

    def broken_brackets(self) -> list[str]:
        """What to cancel where IB does not list a whole bracket."""
        return self._brackets.broken()

    def _see_kin(self, story: Story, before: str, effects: Effects) -> None:
        """What was said of an order may concern those that go together with it. `before`: how it had ended."""
        if before != "rejected":
            parent_id = self._brackets.see_refused_leg(story, effects)
            if parent_id:
                effects.orders.update(self.on_cancel_asked(parent_id, None).orders)
        for order_id in self._kin.see(story, effects):
            relative = self._stories[order_id]
            relative.try_end(self._now, effects)
            self._settle(relative)
        self._settle(story)

    def _on_commission(self, report: CommissionReport, effects: Effects) -> None:
        order_id = self._by_exec.get(split_exec_id(report.exec_id)[0])
        if order_id is None:
            stored = self._history.find_execution(report.exec_id)
            order_id = stored.order_id if stored else None
        story = self._find(order_id=order_id) if order_id else None
        if story:
            story.on_commission(report, effects)
            return
        if len(self._early_commissions) >= MAX_EARLY_COMMISSIONS:
            self._early_commissions.pop(next(iter(self._early_commissions)))
        self._early_commissions[report.exec_id] = report

    def _on_error(self, report: ErrorReport, effects: Effects) -> None:
        story = self._find(ib_order_id=report.req_id) if report.req_id > 0 else None
        if story:
            self._answered(story, effects)
            record, before = story.record, story.record.ended
            if report.code in NO_SUCH_ORDER and record.cancel_sent and not record.accepted:
                record.denied = True
                effects.keep(record)
            verdict = story.on_error(report, self._now, effects)
            if verdict.meaning is Meaning.DOUBT or story.cancels.refusal is report:
                self._doubts[record.order_id] = Doubt(self._now, verdict.bytes_lost)
            elif verdict.meaning in (Meaning.NOTICE, Meaning.REDUCED) and not record.accepted:
                # IB has read it, and has not shown it yet: where that was its last word, its lists must tell.
                self._doubts.setdefault(record.order_id, Doubt(self._now, bytes_lost=False))
            self._see_kin(story, before, effects)
            self._see_validation(report, effects)
        else:
            verdict = for_system(report.code, report.text)
        if verdict.trip:
            effects.facts.append((Tripped(ib_code=report.code, reason=short(report.text)), None))
        if not verdict.known and report.code not in self._codes_told and len(self._codes_told) < MAX_CODES_TOLD:
            self._codes_told.add(report.code)
            effects.alarms.append(f"IB's code {report.code} is in no table: {short(report.text)}")

    def _see_validation(self, report: ErrorReport, effects: Effects) -> None:
        """A read-only API refuses every order with 321, in the language of its TWS: two orders in a row are enough."""
        if not may_be_read_only(report.code, report.text):
            self._foreign_321 = 0
        elif self._foreign_321 in (0, report.req_id):
            self._foreign_321 = report.req_id
        else:
            self._foreign_321 = 0
            text = f"two orders in a row were refused with 321, is the API read-only there? {short(report.text)}"
            effects.facts.append((Tripped(ib_code=report.code, reason=text[:MAX_REASON]), None))

    def _on_other(
        self,
        story: Story,
        report: StatusReport | OpenOrderReport | ExecutionReport | CompletedOrderReport,
        effects: Effects,
    ) -> None:
        """Something is said under this order's reference, or number, of an order with another permanent id."""
        record = story.record
        known = len(record.twins)
        twin = twins.find(record, report, self._client_id)
        if twin is None:
            if isinstance(report, StatusReport) and story.is_news(report.perm_id):
                # It may be the first word of a second order of ours: only IB's list says whose reference it has.
                effects.look_up = True
            effects.notes.append(
                f"{record.order_id} has the permanent id {record.perm_id}: a report with {report.perm_id} is ignored"
            )
            return
        if len(record.twins) > known:
            self._by_perm[twin.perm_id] = record.order_id
        before = record.ended
        twins.on_report(story, twin, report, self._now, effects)
        self._see_kin(story, before, effects)

    def _answered(self, story: Story, effects: Effects) -> None:
        self._unanswered.pop(story.record.order_id, None)
        if not story.record.answered:
            story.record.answered = story.record.written = True
            effects.keep(story.record)

    # -- keeping and finding ------------------------------------------------------------------------------

    def _settle(self, story: Story) -> None:
        """Put the order where the next tick looks for it."""
        order_id = story.record.order_id
        if story.waits:
            self._waiting[order_id] = story
        else:
            self._waiting.pop(order_id, None)
        if story.cancel_wanted:
            self._cancels[order_id] = story
        else:
            self._cancels.pop(order_id, None)
        if story.record.ended or story.record.accepted:
            self._doubts.pop(order_id, None)
        if story.record.ended:
            self._unanswered.pop(order_id, None)
        self._mark(self._ended, order_id, holds=bool(story.record.ended) and story.record.change is None)
        self._mark(self._sought, order_id, holds=story.lacks_fills)
        living = story.record.accepted and not (story.record.ended or story.doubtful)
        asked = living and story.asked_after > story.heard_at
        self._mark(self._asked, order_id, holds=asked or twins.is_unsettled(story.record))
        self._mark(self._over_unchanged, order_id, holds=bool(story.record.ended) and story.record.change is not None)

    def _mark(self, marks: dict[str, float], order_id: str, *, holds: bool) -> None:
        if holds:
            marks.setdefault(order_id, self._now)
        else:
            marks.pop(order_id, None)

    def _remember(self, record: OrderRecord) -> Story:
        story = Story(record)
        self._stories[record.order_id] = story
        if record.ib_order_id > 0:
            self._by_ib_id[record.ib_order_id] = record.order_id
        if record.perm_id:
            self._by_perm[record.perm_id] = record.order_id
        for twin in record.twins:
            self._by_perm[twin.perm_id] = record.order_id
        if record.change:
            self._changing.add(record.order_id)
        for execution in self._history.find_executions(record.order_id):
            story.restore(execution)
            self._by_exec[split_exec_id(execution.exec_id)[0]] = record.order_id
        # Anew after a restart, if that found it so.
        story.doubtful = bool(twins.living(record))
        self._kin.add(record)
        self._settle(story)
        return story

    def _forget(self, order_id: str) -> None:
        story = self._stories.pop(order_id)
        self._ended.pop(order_id, None)
        self._waiting.pop(order_id, None)
        self._asked.pop(order_id, None)
        self._by_ib_id.pop(story.record.ib_order_id, None)
        self._by_perm.pop(story.record.perm_id, None)
        for twin in story.record.twins:
            self._by_perm.pop(twin.perm_id, None)
        self._kin.forget(story.record)
        for base in story.executions:
            self._by_exec.pop(base, None)

    def _find(self, *, order_id: str = "", perm_id: int = 0, ib_order_id: int = 0) -> Story | None:
        if perm_id:
            order_id = self._by_perm.get(perm_id, "")
        elif ib_order_id:
            order_id = self._by_ib_id.get(ib_order_id, "")
        if order_id in self._stories:
            return self._stories[order_id]
        record = self._history.find_order(order_id=order_id, perm_id=perm_id, ib_order_id=ib_order_id)
        if record is None:
            return None
        return self._stories.get(record.order_id) or self._remember(record)

    def _whose(self, report: StatusReport | OpenOrderReport | ExecutionReport | CompletedOrderReport) -> Story | None:
        """IB's order id comes last, and only with our client id: gateways have given it to another order."""
        order_ref = "" if isinstance(report, StatusReport) else report.order_ref
        story = self._find(order_id=order_ref) if order_ref else None
        if story is None and report.perm_id:
            story = self._find(perm_id=report.perm_id)
        if story is None and not order_ref and not isinstance(report, CompletedOrderReport):
            ours = report.client_id == self._client_id and report.ib_order_id > 0
            story = self._find(ib_order_id=report.ib_order_id) if ours else None
        return story

    def _learn_number(self, story: Story, report: OrderReport, effects: Effects) -> None:
        """Learn IB's order id of an order that was found in its lists."""
        record = story.record
        told = report.ib_order_id if isinstance(report, OpenOrderReport | ExecutionReport) else 0
        if record.ib_order_id <= 0 < told:
            record.ib_order_id = told
            self._by_ib_id[told] = record.order_id
            effects.keep(record)
            self._settle(story)

    def _has_perm_id(self, story: Story, perm_id: int, effects: Effects) -> bool:
        """Learn the permanent id; whether a report is about the order that has it."""
        record = story.record
        if perm_id and not record.perm_id:
            record.perm_id = perm_id
            self._by_perm[perm_id] = record.order_id
            effects.keep(record)
        return not perm_id or record.perm_id == perm_id


def _tell_story(
    story: Story,
    report: StatusReport | OpenOrderReport | ExecutionReport | CompletedOrderReport,
    now: float,
    effects: Effects,
) -> None:
    match report:
        case StatusReport():
            story.on_status(report, now, effects)
        case OpenOrderReport():
            story.on_open_order(report, now, effects)
        case ExecutionReport():
            story.on_execution(report, now, effects)
        case CompletedOrderReport():
            story.on_completed(report, now, effects)


def _told_change(change: Change | None) -> ExpectedChange | None:
    if change is None:
        return None
    return ExpectedChange(request_id=change.request_id, revision=change.revision, terms=dict(change.terms))


def _ids(record: OrderRecord) -> dict[str, Any]:
    return {"order_id": record.order_id, "strategy_id": record.strategy_id}
