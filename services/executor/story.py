"""The story of one order at IB: which facts its reports make, in whatever order they come. Pure.

Three rules stand behind most of it. A rejection comes as an error, as the status Inactive, or as both, either first; so
a status that looks like an end and that nobody asked for waits a moment for its text. An end is told once IB's own
numbers and its executions agree. And only IB ends an order: an error that leaves it open whether the order lives makes
doubt, never an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from orderfuse.messages import (
    Accepted,
    CancelFailed,
    Cancelled,
    Commission,
    Filled,
    Outcome,
    Rejected,
    Replaced,
    ReplaceFailed,
    Unknown,
    Working,
)
from services.executor import cancels, twins
from services.executor.cancels import CancelWatch
from services.executor.ends import CANCELLED_STATUSES, Ending, ordinary_because, reason_for
from services.executor.outcomes import CANCEL, MODIFY, Meaning, Operation, Verdict, for_order
from services.executor.quantities import Numbers
from services.executor.records import Change, Effects, Ended, Execution, OrderRecord, Twin, split_exec_id
from services.gateway.reports import (
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
    StatusReport,
)

# A rejection's text and its status come milliseconds apart; a second later none will come.
TEXT_WAIT_SECS = 1.0
# The fill that ends an order's kin may be told after the end that it brings.
KIN_WAIT_SECS = 2.0
# Stops, and orders outside hours, rest in PreSubmitted: standing there this long is a success.
RESTING_SECS = 2.0
# Others that IB names under an order's number, each looked up once.
MAX_STRANGERS = 10
# IB's reasons can be long; an event's is not.
MAX_REASON = 500
# Quantities are sums of decimal numbers: beyond this many places there is only binary dust.
DECIMALS = 8

SUCCESS_STATUSES = frozenset({"Submitted", "Filled"})
# These prove that an order lives which was believed to be over; PendingCancel and the like prove nothing.
PROOFS_OF_LIFE = frozenset({"PreSubmitted", "Submitted", "Filled"})
# IB's word that an order to sell short is held until shares are found: its Inactive is no rejection.
HELD_CODE = 404
# An answer to an order that names no state: only what it is about.
CANCELLED_CODE = 202


@dataclass(slots=True)
class Story:
    """One order: its record, its executions by base id, and what it waits for."""

    record: OrderRecord
    executions: dict[str, Execution] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    cancels: CancelWatch = field(default_factory=CancelWatch)
    resting_since: float | None = None
    ending: Ending | None = None
    # IB has said that it waits for shares to sell short.
    locating: bool = False
    # Whether IB has it was open for a moment: its next status is told even if it is the old one.
    doubtful: bool = False
    # Permanent ids of others that IB has named under its number.
    strangers: tuple[int, ...] = ()
    # When the change that has no answer left for IB, monotonic seconds; -inf: before this process.
    changed_at: float = float("-inf")
    # When IB last showed that it has it, monotonic seconds. An error shows no such thing: it may say the contrary.
    heard_at: float = float("-inf")
    # Since when IB is asked whether it still has it, although this connection has shown it.
    asked_after: float = float("-inf")
    # When IB first showed it; -inf: before this process.
    accepted_at: float = float("-inf")
    # What IB said of the last change; and of the one that is under way, in words that nobody knows.
    change_said: ErrorReport | None = None
    change_doubt: ErrorReport | None = None

    @property
    def filled(self) -> float:
        """The quantity filled, counted from the executions, and what was filled before the order was found at IB."""
        return round(self.record.filled_before + self._executed, DECIMALS)

    @property
    def had_fill(self) -> bool:
        """Whether any of it was filled, by its executions or by IB's own word."""
        return self.filled > 0 or bool(self.numbers.filled)

    @property
    def _executed(self) -> float:
        return sum(e.shares for e in self.executions.values() if e.counts)

    @property
    def _filled_of_its_own(self) -> float:
        """What IB's own numbers speak of: without what was filled of another order under the same reference."""
        if not self.record.twins:
            return self.filled
        others = {base for twin in self.record.twins for base in twin.bases}
        return round(self.filled - sum(e.shares for base, e in self.executions.items() if base in others), DECIMALS)

    @property
    def remaining(self) -> float:
        """The quantity not filled."""
        return max(0.0, round(self.record.quantity - self.filled, DECIMALS))

    @property
    def avg_price(self) -> float:
        """The average price of the executions that are known, 0 without any."""
        paid = sum(e.shares * e.price for e in self.executions.values() if e.counts)
        return round(paid / self._executed, DECIMALS) if self._executed else 0.0

    @property
    def cancel_wanted(self) -> bool:
        """Whether a cancel was asked for that has not left yet."""
        record = self.record
        return record.cancel_asked and not record.cancel_sent and not record.ended

    @property
    def cancel_number(self) -> int:
        """IB's order id that the next cancel is for: of what lives under the reference."""
        living = twins.living(self.record)
        return living[0].ib_order_id if living and self.ending is not None else self.record.ib_order_id

    @property
    def waits(self) -> bool:
        """Whether the mere passing of time can bring a fact."""
        stamps = (self.resting_since, self.ending, self.numbers.unfit_since)
        seeking = self.numbers.sought and not self.record.ended
        return self.cancels.waits or seeking or any(each is not None for each in stamps)

    @property
    def lacks_fills(self) -> bool:
        """Whether IB says that more is filled than it has shown, although asked, and nobody has been told so."""
        return self.numbers.sought and not (self.record.ended or self.doubtful)

    def ask(self, now: float) -> None:
        """IB is asked from now on whether it still has it; until it says so, the first time counts."""
        if self.asked_after <= self.heard_at:
            self.asked_after = now

    def is_news(self, perm_id: int) -> bool:
        """Whether this stranger is named for the first time; of so many, since ids are given out again."""
        if perm_id in self.strangers or len(self.strangers) >= MAX_STRANGERS:
            return False
        self.strangers = (*self.strangers, perm_id)
        return True

    def restore(self, execution: Execution) -> None:
        """Take an execution from the journal; the highest revision stands."""
        base, revision = split_exec_id(execution.exec_id)
        before = self.executions.get(base)
        if before is None or revision > split_exec_id(before.exec_id)[1]:
            self.executions[base] = execution

    # -- reports ------------------------------------------------------------------------------------------

    def on_status(self, report: StatusReport, now: float, effects: Effects) -> None:
        """`orderStatus`."""
        self.numbers.on_said(report.filled, report.remaining)
        self._compare(now)
        held = report.locating or self.locating
        self._see_status(report.status, now, effects, held=held, numbered=True)

    def on_open_order(self, report: OpenOrderReport, now: float, effects: Effects) -> None:
        """`openOrder`. It does not say why an Inactive order is held; the status before it did."""
        change = self.record.change
        if change is not None and all(report.terms.get(name) == value for name, value in change.terms.items()):
            self._replaced(change, effects)
        if 0 < report.quantity < float("inf") and report.quantity != self.record.quantity:
            # IB may reduce an order (code 481): what remains follows IB.
            self.record.quantity = report.quantity
            effects.keep(self.record)
        if report.status == "Filled":
            self.numbers.on_said(self.record.quantity, 0.0)
        self._compare(now)
        held = self.locating or self.record.status == "Inactive"
        self._see_status(report.status, now, effects, held=held)

    def _see_status(self, status: str, now: float, effects: Effects, *, held: bool, numbered: bool = False) -> None:
        if status in CANCELLED_STATUSES:
            self._see_end(Ending("cancelled", now, numbered=numbered), now, effects)
        elif status == "Inactive" and not held:
            self._see_end(Ending("inactive", now, numbered=numbered), now, effects)
        elif not self.record.ended:
            self._on_working(status, now, effects)
        elif status in PROOFS_OF_LIFE and self.remaining and (status != "Filled" or self.record.ended != "filled"):
            self._live_on(status, now, effects)

    def _live_on(self, status: str, now: float, effects: Effects) -> None:
        """It was over, and IB shows that it lives; or it is larger there than it was when it was filled."""
        record = self.record
        effects.notes.append(f"{record.order_id}: IB says {status} after it was {record.ended}: it lives")
        record.ended = ""
        effects.look_up = True
        if record.accepted:
            record.status = status
            effects.tell(record, Working(**self.ids, status=status, lives=True))
        self._on_working(status, now, effects)

    def on_execution(self, report: ExecutionReport, now: float, effects: Effects, twin: Twin | None = None) -> None:
        """`execDetails`: a fill, the correction of one, or either again. `twin`: of which order under our reference."""
        base, revision = split_exec_id(report.exec_id)
        before = self.executions.get(base)
        if before and revision <= split_exec_id(before.exec_id)[1]:
            return
        if twin is not None and base not in twin.bases:
            twin.bases.append(base)
        # Unknown or not, it has just traded; if it is unknown for all that, that is said once more.
        self.doubtful = False
        counts = not self.record.combo or report.sec_type == "BAG"
        execution = Execution(report.exec_id, self.record.order_id, report.shares, report.price, counts)
        self.executions[base] = execution
        effects.executions.append(execution)
        if twin is not None:
            twin.executed = round(sum(self.executions[each].shares for each in twin.bases), DECIMALS)
        if counts:
            if self.record.ended in ("cancelled", "rejected") and self.remaining:
                # A part that was filled before its end: to say that it was accepted would give it a new life.
                self.record.accepted = True
            self._accept("Submitted" if self.remaining else "Filled", now, effects)
            self._on_fill(execution, before, effects)
            self._compare(now)
            self.try_end(now, effects)
            twins.see(self, now, effects)

    def on_commission(self, report: CommissionReport, effects: Effects) -> None:
        """`commissionReport` of one of our executions; once for each."""
        base = split_exec_id(report.exec_id)[0]
        execution = self.executions.get(base)
        if execution is None or execution.exec_id != report.exec_id or execution.commission:
            return
        self.executions[base] = replace(execution, commission=True)
        effects.executions.append(self.executions[base])
        fact = Commission(
            **self.ids,
            exec_id=report.exec_id,
            commission=report.commission,
            currency=report.currency,
            realized_pnl=report.realized_pnl,
        )
        effects.tell(self.record, fact)

    def on_completed(self, report: CompletedOrderReport, now: float, effects: Effects) -> None:
        """The order was over when we asked. Its fills came before this, with the executions."""
        self._see_last_terms(report, effects)
        if self.is_over:
            return
        self.numbers.on_completed(report.filled, whole=report.status == "Filled")
        if not self.record.quantity:
            # Found after both journals were lost: only this list says how large it was.
            self.record.quantity = max(report.quantities, default=0.0)
        self._compare(now)
        text = report.completed_status
        rejected = report.status == "Inactive" or "reject" in text.lower()
        if report.status == "Filled":
            self._on_working("Filled", now, effects)
        elif rejected:
            self._see_end(Ending("rejected", now, text or "Inactive", explained=True, numbered=True), now, effects)
        elif report.status in CANCELLED_STATUSES:
            self._see_end(Ending("cancelled", now, text, explained=True, numbered=True), now, effects)
        else:
            effects.notes.append(f"{self.record.order_id}: IB completed it with the status {report.status!r} ({text})")

    def _see_last_terms(self, report: CompletedOrderReport, effects: Effects) -> None:
        """A change that was under way when the order ended was done before it, or never was."""
        change = self.record.change
        if change is None:
            return
        wanted = dict(change.terms)
        quantity = wanted.pop("totalQuantity", None)
        if (quantity is None or quantity in report.quantities) and wanted == {
            at: report.terms.get(at) for at in wanted
        }:
            self.record.quantity = self.record.quantity if quantity is None else quantity
            self._replaced(change, effects)
        else:
            self.fail_change(0, "the order was over first", "neutral", effects)

    # -- errors -------------------------------------------------------------------------------------------

    def on_error(self, report: ErrorReport, now: float, effects: Effects) -> Verdict:
        """`error` with this order's id."""
        effects.notes.append(f"{self.record.order_id}: IB says {report.code} {report.text}")
        operation = self._operation(report)
        verdict = for_order(report.code, report.text, operation)
        self.locating = self.locating or report.code == HELD_CODE
        if verdict.meaning is Meaning.REDUCED:
            self.record.reduced = True
            effects.keep(self.record)
        elif operation == "modify":
            self._on_error_of_change(report, verdict, now, effects)
        elif operation == "cancel" and (verdict.meaning in _ABOUT_CANCELS or self._unclear(verdict)):
            self._on_error_of_cancel(report, verdict, now, effects)
        else:
            self._on_error_of_order(report, verdict, now, effects)
        return verdict

    def _operation(self, said: ErrorReport) -> Operation:
        """What of ours an error answers. A fill may be faster than the refusal of a cancel, which wants its answer."""
        record, code = self.record, said.code
        # Some codes are IB's answer to either: what it says of a change, it says of the one that is under way.
        of_a_cancel = record.cancel_left and code in CANCEL and code not in MODIFY
        if record.change is not None and code != CANCELLED_CODE and not of_a_cancel:
            return "modify"
        if record.cancel_sent and record.ended != "cancelled":
            return "cancel"
        if record.revision and (code in MODIFY or said == self.change_said):
            return "modify"  # Its answer has been told; said once more, it is no news.
        return "cancel" if record.cancel_left else "new"

    def _unclear(self, verdict: Verdict) -> bool:
        """Whether this may be about the cancel that is under way as well as about the order."""
        return not verdict.known and (self.record.cancel_sent or self.cancels.out > 0)

    def _on_error_of_order(self, report: ErrorReport, verdict: Verdict, now: float, effects: Effects) -> None:
        record = self.record
        match verdict.meaning:
            case Meaning.REJECTED | Meaning.MARGIN | Meaning.MALFORMED | Meaning.CANCELLED if twins.living(record):
                # An error names the number, which both have: only the status of either says whose end it is.
                effects.look_up = True
            case Meaning.REJECTED | Meaning.MARGIN | Meaning.MALFORMED:
                end = Ending("rejected", now, report.text, explained=True, code=report.code, outcome=verdict.outcome)
                self._see_end(end, now, effects)
            case Meaning.CANCELLED:
                self._see_end(Ending("cancelled", now, report.text, explained=True), now, effects)
            case Meaning.DOUBT:
                effects.look_up = True
                if not record.ended and not self.doubtful:
                    self.doubtful = True
                    effects.tell(record, Unknown(**self.ids, reason=_words(report)), self._failure(verdict.outcome))
            case _:
                pass

    def _on_error_of_cancel(self, report: ErrorReport, verdict: Verdict, now: float, effects: Effects) -> None:
        """IB does not cancel: it says why, or in words that nobody knows, or before it knows the order at all."""
        record = self.record
        self.cancels.on_word()
        if not record.cancel_sent or record.ended == "cancelled":
            return  # Its answer has been told; said once more, or of an earlier one, it is no news.
        effects.look_up = True
        if twins.living(record) and self.ending is not None:
            self.fail_cancel(report.code, f"{twins.why(record)}: {report.text}", effects)
        elif verdict.meaning is Meaning.CANCELLING:
            return  # An earlier one is at work; its end is the answer to both.
        elif not record.ended and (not verdict.known or not record.accepted):
            self.cancels.hold(report, resends=verdict.known)
            self.ask(now)
        else:
            self.ask(now)
            self.fail_cancel(report.code, report.text, effects)

    def _replaced(self, change: Change, effects: Effects) -> None:
        self.record.change = self.change_doubt = None
        effects.tell(self.record, Replaced(**self.ids, request_id=change.request_id), "success")

    def fail_change(self, code: int, text: str, outcome: Outcome | None, effects: Effects) -> None:
        """The change that is under way did not happen; the order is what its own reports say."""
        change, self.record.change = self.record.change, None
        doubt, self.change_doubt = self.change_doubt, None
        if doubt is not None:
            # What that counts as was told when it came.
            code, outcome = code or doubt.code, "neutral"
            text = f"{text}; IB had said {doubt.code}: {doubt.text}"
        if change is not None:
            fact = ReplaceFailed(**self.ids, request_id=change.request_id, ib_code=code, reason=short(text))
            effects.tell(self.record, fact, outcome)

    def _on_error_of_change(self, report: ErrorReport, verdict: Verdict, now: float, effects: Effects) -> None:
        self.change_said = report
        match verdict.meaning:
            case Meaning.NOTICE | Meaning.CONNECTION | Meaning.DISCONNECTED | Meaning.RESTORED:
                return
            case Meaning.DOUBT if self.record.change is not None:
                # Which terms hold is open, the order itself is not: IB's list tells.
                if self.change_doubt is None:
                    doubts, said = self.record.change.request_id, _words(report)
                    answered = Working(**self.ids, status=self.record.status, doubts=doubts, said=said)
                    effects.tell(self.record, answered, verdict.outcome)
                self.change_doubt = report
                self.changed_at = now
            case _:
                self.fail_change(report.code, report.text, verdict.outcome or "neutral", effects)
        # Whether the order has survived the refusal, only its status tells.
        effects.look_up = True
        self.ask(now)

    # -- time and doubt -----------------------------------------------------------------------------------

    def poll(self, now: float, effects: Effects) -> None:
        """Let due time pass."""
        record = self.record
        if self.numbers.look_up_due(self._filled_of_its_own, now):
            effects.look_up = True
            effects.notes.append(f"{record.order_id}: {self._unfit}")
        self.try_end(now, effects)
        if self.resting_since is not None and now - self.resting_since >= RESTING_SECS:
            self.resting_since = None
            outcome = self._success()
            if outcome:
                effects.tell(record, Working(**self.ids, status=record.status), outcome)
        if record.ended and self.cancels.overdue(now):
            self.fail_cancel(0, f"the order was {record.ended} first", effects)
        elif not record.ended and self.cancels.look_up_due(now):
            effects.look_up = True
            self.ask(now)
            effects.notes.append(f"{record.order_id}: its cancel has no answer; IB's lists are asked")

    def on_lost(self, effects: Effects) -> None:
        """IB's lists no longer have this order, neither as open nor as over, or not its fills: how it ended is open."""
        if self.doubtful:
            return
        self.doubtful = True
        if self.numbers.sought:
            why = self._unfit
        else:
            asked = self.asked_after > self.heard_at and (self.record.cancel_left or self.record.revision)
            why = "IB lists it no longer; it may have ended on an earlier day"
            if asked:
                why = "IB does not list it, neither as open nor as over, since it was asked to cancel or to change it"
            self.fail_change(0, "IB lists the order no longer", "neutral", effects)
        effects.notes.append(f"{self.record.order_id}: {why}. Look it up in TWS")
        effects.tell(self.record, Unknown(**self.ids, reason=why))

    @property
    def _unfit(self) -> str:
        said, executed = self.numbers.filled or 0.0, self._filled_of_its_own
        if self.numbers.fits(executed):
            left = self.numbers.remaining or 0.0
            return f"IB says that {left:g} of {self.record.quantity:g} remain, {executed:g} are filled"
        return f"IB says that {said:g} are filled, and lists executions of {executed:g}"

    def _compare(self, now: float) -> None:
        self.numbers.see(self._filled_of_its_own, self._quantity_now, now)

    @property
    def _quantity_now(self) -> float:
        """What IB's numbers should add up to; while a change is under way, whatever they do."""
        numbers = self.numbers
        unsettled = self.record.change is not None or self.record.ended
        return (numbers.filled or 0.0) + (numbers.remaining or 0.0) if unsettled else self.record.quantity

    # -- what they make -----------------------------------------------------------------------------------

    def _on_working(self, status: str, now: float, effects: Effects) -> None:
        record = self.record
        if self.doubtful and (self.numbers.sought or twins.living(record)):
            # That it works is not what is open about it.
            record.status = status
            effects.keep(record)
            if status == "Filled" and not self.numbers.sought:
                text = "it and the other order under its reference are over"
                self._see_end(Ending("cancelled", now, text, explained=True, numbered=True), now, effects)
            return
        changed = status != record.status or self.doubtful
        first = not record.accepted
        record.status, self.doubtful, self.ending = status, False, None
        self._accept(status, now, effects)
        outcome = self._success() if status in SUCCESS_STATUSES else None
        if outcome or (changed and not first):
            effects.tell(record, Working(**self.ids, status=status), outcome)
        rests = status in {"PreSubmitted", "Inactive"} and not record.counted
        self.resting_since = (now if self.resting_since is None else self.resting_since) if rests else None
        nothing_left = self.numbers.remaining == 0 and self.numbers.fits(self._filled_of_its_own)
        if status == "Filled" and (not self.remaining or nothing_left):
            # A replace took off what was left, or IB did, so that no further fill can end it.
            if nothing_left:
                record.quantity = self.filled
            self._see_end(Ending("cancelled", now, explained=True, numbered=True), now, effects)
        elif status in PROOFS_OF_LIFE or status == "Inactive":
            self._cancel_again(effects)

    def _cancel_again(self, effects: Effects) -> None:
        """It lives: a cancel that was refused when IB did not know it goes again, or has failed."""
        refusal = self.cancels.refusal
        if refusal is None:
            return
        self.cancels.refusal = None
        if self.cancels.resends:
            self.record.cancel_sent = False
            effects.keep(self.record)
        else:
            self.fail_cancel(refusal.code, refusal.text, effects)

    def _on_fill(self, execution: Execution, before: Execution | None, effects: Effects) -> None:
        record = self.record
        done = self.remaining == 0 and not twins.living(record)
        fact = Filled(
            **self.ids,
            exec_id=execution.exec_id,
            shares=execution.shares,
            price=execution.price,
            cum_qty=self.filled,
            avg_price=self.avg_price,
            remaining=self.remaining,
            done=done,
            corrects=before.exec_id if before else None,
        )
        self.resting_since = None
        effects.tell(record, fact, self._success())
        if done:
            self._end("filled", effects)
        elif record.ended == "filled":
            # A correction took shares away again: not done after all.
            record.ended = ""

    def _accept(self, status: str, now: float, effects: Effects) -> None:
        record = self.record
        if record.accepted:
            return
        record.accepted = True
        self.accepted_at = now
        fact = Accepted(
            **self.ids,
            ib_order_id=record.ib_order_id,
            perm_id=record.perm_id,
            status=status,
            filled_before=record.filled_before or None,
        )
        effects.tell(record, fact)

    # -- ends ---------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether an end was told that only a proof of life takes back."""
        return bool(self.record.ended) and self.record.ended != "settled"

    def _see_end(self, end: Ending, now: float, effects: Effects) -> None:
        """IB has told of an end; it is told on when nothing more is to be heard that belongs to it."""
        if self.is_over:
            return
        self.resting_since = None
        before = self.ending
        if before is None:
            end.accepted_for = now - self.accepted_at if self.record.accepted else 0.0
            self.ending = end
        else:
            self.ending = before.with_word(end)
        if before is None and self.record.twins:
            twins.chase(self, effects)
        self.try_end(now, effects)
        twins.see(self, now, effects)

    def try_end(self, now: float, effects: Effects) -> None:
        """Tell the end that IB has told of, if nothing is to be heard any more that it has to wait for."""
        ending = self.ending
        if ending is None or twins.living(self.record) or not self.numbers.fits(self._filled_of_its_own):
            return
        waited = now - ending.since
        asked = self.record.cancel_asked or self.record.cancel_left
        if not ending.is_whole(asked=asked) and waited < TEXT_WAIT_SECS:
            return
        if ending.how != "cancelled":
            self._reject(ending, effects)
            return
        ordinary = ordinary_because(ending, self.record, self.filled, self._left)
        has_kin = bool(self.record.oca_group or self.record.parent)
        if ordinary or not has_kin or waited >= KIN_WAIT_SECS:
            self._cancel(ending, ordinary, effects)
        else:
            # What has become of its kin may have been lost on the way.
            effects.look_up = effects.look_up or not waited

    @property
    def _left(self) -> float:
        """What is not filled: IB's own number of it, where that was said with what is filled."""
        said = self.numbers.remaining
        return self.remaining if said is None or self.record.twins else said

    def _reject(self, ending: Ending, effects: Effects) -> None:
        silent = ending.how == "inactive"
        ordinary = silent and (self.record.cancel_left or self.record.kin_over)
        outcome = self._neutral() if ordinary else self._failure(ending.outcome)
        text = "Inactive, and IB gave no reason" if silent else ending.text
        self._end("rejected", effects)
        effects.tell(self.record, Rejected(**self.ids, ib_code=ending.code, reason=short(text)), outcome)

    def _cancel(self, ending: Ending, ordinary: str, effects: Effects) -> None:
        record = self.record
        outcome = self._neutral() if ordinary else self._failure("failure")
        self.cancels.on_answered()
        requests = cancels.end_requests(record)
        fact = Cancelled(
            **self.ids,
            filled=self.filled,
            remaining=self._left,
            reason=short(reason_for(ending.text, ordinary)),
            request_id=requests[0] if requests else None,
            request_ids=tuple(requests) if len(requests) > 1 else (),
        )
        self._end("cancelled", effects)
        effects.tell(record, fact, outcome)

    def fail_cancel(self, code: int, text: str, effects: Effects) -> None:
        """The cancel that is under way has no effect: answer all who asked for it."""
        record = self.record
        requests: list[str | None] = [*cancels.end_requests(record)]
        record.cancel_asked = record.cancel_sent = False
        self.cancels.on_answered()
        effects.keep(record)
        for request_id in requests or [None]:
            fact = CancelFailed(**self.ids, request_id=request_id, ib_code=code, reason=short(text))
            effects.tell(record, fact)
        # Often it has just been filled; IB's own lists tell.
        effects.look_up = True

    def _success(self) -> Outcome | None:
        if self.record.counted:
            return None
        self.record.counted = "success"
        return "success"

    def _neutral(self) -> Outcome:
        self.record.counted = self.record.counted or "neutral"
        return "neutral"

    def _failure(self, outcome: Outcome | None) -> Outcome | None:
        """A failure counts once, also after a success: whichever IB happens to say first."""
        if self.record.counted == "failure":
            return None
        self.record.counted = "failure"
        return outcome

    def _end(self, how: Ended, effects: Effects) -> None:
        # Whether a change came before the end, only IB's list of what is over tells: the fill may be its doing.
        effects.look_up = effects.look_up or self.record.change is not None
        self.record.ended = how
        self.resting_since = self.ending = None

    @property
    def ids(self) -> dict[str, Any]:
        """What names the order in each fact."""
        return {"order_id": self.record.order_id, "strategy_id": self.record.strategy_id}


_ABOUT_CANCELS = frozenset({Meaning.CANCEL_FAILED, Meaning.CANCELLING})


def _words(report: ErrorReport) -> str:
    return f"IB says {report.code}: {short(report.text)}"[:MAX_REASON]


def short(text: str) -> str:
    """A text of IB's as one line of bounded length."""
    return " ".join(text.split())[:MAX_REASON]
