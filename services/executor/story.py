"""The story of one order at IB: which facts its reports make, in whatever order they come. Pure.

Two rules stand behind most of it. A rejection comes as an error, as the status Inactive, or as both, either
first; so a status that looks like an end and that nobody asked for waits a moment for its text. And only IB
ends an order: an error that leaves it open whether the order lives makes doubt, never an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from orderfuse.messages import (
    Accepted,
    CancelFailed,
    Cancelled,
    Commission,
    Fact,
    Filled,
    NotPlaced,
    Outcome,
    Rejected,
    Replaced,
    ReplaceFailed,
    Unknown,
    Working,
)
from services.executor.outcomes import Meaning, Operation, Verdict, for_order
from services.executor.records import Change, Effects, Ended, Execution, OrderRecord, split_exec_id
from services.gateway.reports import (
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
)

# A rejection's text and its status come milliseconds apart; a second later none will come.
TEXT_WAIT_SECS = 1.0
# Stops, and orders outside hours, rest in PreSubmitted: standing there this long is a success.
RESTING_SECS = 2.0
# The last fill comes within milliseconds of the status Filled; after this it is asked for, once.
MISSING_FILL_SECS = 2.0
# IB's reasons can be long; an event's is not.
MAX_REASON = 500
# Quantities are sums of decimal numbers: beyond this many places there is only binary dust.
DECIMALS = 8

# Orders of these times in force end by themselves: that nobody asked for the end is no failure.
ENDS_BY_ITSELF = frozenset({"IOC", "FOK", "GTD", "DTC", "OPG", "AUC"})
CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
SUCCESS_STATUSES = frozenset({"Submitted", "Filled"})
# These prove that an order lives which was believed to be over; PendingCancel and the like prove nothing.
PROOFS_OF_LIFE = frozenset({"PreSubmitted", "Submitted", "Filled"})


@dataclass(slots=True)
class Story:
    """One order: its record, its executions by base id, and what it waits for."""

    record: OrderRecord
    executions: dict[str, Execution] = field(default_factory=dict)
    resting_since: float | None = None
    end_waits_since: float | None = None
    end_waits_for: str = ""
    fill_missing_since: float | None = None
    # The missing fills of an order that IB calls Filled have been asked for.
    fills_sought: bool = False
    # Whether IB has it was open for a moment: its next status is told even if it is the old one.
    doubtful: bool = False
    # When the change that has no answer left for IB, monotonic seconds; -inf: before this process.
    changed_at: float = float("-inf")
    # When IB last showed that it has it, monotonic seconds. An error shows no such thing: it may say the contrary.
    heard_at: float = float("-inf")
    # The code with which IB refused the last cancel: said once more, it is no news.
    cancel_refused: int = 0

    @property
    def filled(self) -> float:
        """The quantity filled, counted from the executions, and what was filled before the order was found at IB."""
        return round(self.record.filled_before + self._executed, DECIMALS)

    @property
    def _executed(self) -> float:
        return sum(e.shares for e in self.executions.values() if e.counts)

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
    def waits(self) -> bool:
        """Whether the mere passing of time can bring a fact."""
        stamps = (self.resting_since, self.end_waits_since, self.fill_missing_since)
        return any(stamp is not None for stamp in stamps)

    @property
    def lacks_fills(self) -> bool:
        """Whether IB calls it Filled and, although asked, has not shown all of its fills."""
        return self.fills_sought and self.remaining > 0 and not (self.record.ended or self.doubtful)

    def restore(self, execution: Execution) -> None:
        """Take an execution from the journal; the highest revision stands."""
        base, revision = split_exec_id(execution.exec_id)
        before = self.executions.get(base)
        if before is None or revision > split_exec_id(before.exec_id)[1]:
            self.executions[base] = execution

    # -- reports ------------------------------------------------------------------------------------------

    def on_status(self, status: str, why_held: str, now: float, effects: Effects) -> None:
        """`orderStatus`, or the status inside `openOrder`."""
        held = why_held == "locate"
        if status in CANCELLED_STATUSES:
            self._on_cancelled(now, effects)
        elif status == "Inactive" and not held:
            if not self.record.ended:
                self._wait_for_text("Inactive", now)
        elif not self.record.ended:
            self._on_working(status, now, effects)
        elif self.record.ended != "filled" and status in PROOFS_OF_LIFE:
            effects.notes.append(f"{self.record.order_id}: IB says {status} after it was {self.record.ended}: it lives")
            self.record.ended = ""
            self._on_working(status, now, effects)

    def on_open_order(self, report: OpenOrderReport, now: float, effects: Effects) -> None:
        """`openOrder`. It does not say why an Inactive order is held; the status before it did."""
        change = self.record.change
        if change is not None and all(report.terms.get(name) == value for name, value in change.terms.items()):
            self._replaced(change, effects)
        if report.quantity > 0 and report.quantity != self.record.quantity:
            # IB may reduce an order (code 481): what remains follows IB.
            self.record.quantity = report.quantity
            effects.keep(self.record)
        self.on_status(report.status, "locate" if self.record.status == "Inactive" else "", now, effects)

    def on_execution(self, report: ExecutionReport, now: float, effects: Effects) -> None:
        """`execDetails`: a fill, the correction of one, or either again."""
        base, revision = split_exec_id(report.exec_id)
        before = self.executions.get(base)
        if before and revision <= split_exec_id(before.exec_id)[1]:
            return
        # Unknown or not, it has just traded; if IB's lists lack it once more, that is said once more.
        self.doubtful = False
        counts = not self.record.combo or report.sec_type == "BAG"
        execution = Execution(report.exec_id, self.record.order_id, report.shares, report.price, counts)
        self.executions[base] = execution
        effects.executions.append(execution)
        if counts:
            self._accept("Submitted" if self.remaining else "Filled", effects)
            self._on_fill(execution, before, now, effects)

    def on_commission(self, report: CommissionReport, effects: Effects) -> None:
        """`commissionReport` of one of our executions; once for each."""
        base = split_exec_id(report.exec_id)[0]
        execution = self.executions.get(base)
        if execution is None or execution.exec_id != report.exec_id or execution.commission:
            return
        self.executions[base] = replace(execution, commission=True)
        effects.executions.append(self.executions[base])
        fact = Commission(
            **self._ids,
            exec_id=report.exec_id,
            commission=report.commission,
            currency=report.currency,
            realized_pnl=report.realized_pnl,
        )
        effects.tell(self.record, fact)

    def on_completed(self, report: CompletedOrderReport, now: float, effects: Effects) -> None:
        """The order was over when we asked. Its fills came before this, with the executions."""
        self._see_last_terms(report, effects)
        if self.record.ended and self.record.ended != "settled":
            return
        text = report.completed_status
        rejected = report.status == "Inactive" or "reject" in text.lower()
        if report.status == "Filled":
            self._on_working("Filled", now, effects)
        elif rejected:
            self._reject(0, text or "Inactive", "failure", effects)
        elif report.status in CANCELLED_STATUSES:
            self._cancel(text, effects)
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

    def on_error(self, report: ErrorReport, effects: Effects) -> Verdict:
        """`error` with this order's id."""
        record = self.record
        # A fill may be faster than the refusal, and the cancel still wants its answer.
        cancelling = record.cancel_sent and record.accepted and record.ended != "cancelled"
        repeated = report.code == self.cancel_refused
        changing = record.change is not None
        operation: Operation = "cancel" if cancelling or repeated else "modify" if changing else "new"
        verdict = for_order(report.code, report.text, operation)
        effects.notes.append(f"{record.order_id}: IB says {report.code} {report.text}")
        if operation == "modify":
            self._on_error_of_change(report, verdict, effects)
            return verdict
        match verdict.meaning:
            case Meaning.REJECTED | Meaning.MARGIN | Meaning.MALFORMED:
                if not record.ended:
                    self._reject(report.code, report.text, verdict.outcome, effects)
            case Meaning.CANCELLED:
                if not record.ended:
                    self._cancel(report.text, effects)
            case Meaning.CANCEL_FAILED:
                if cancelling:
                    self._cancel_failed(report, effects)
            case Meaning.DOUBT:
                effects.look_up = True
                if not record.ended and not self.doubtful:
                    self.doubtful = True
                    said = f"IB says {report.code}: {short(report.text)}"[:MAX_REASON]
                    effects.tell(record, Unknown(**self._ids, reason=said), self._failure(verdict.outcome))
            case _:
                pass
        return verdict

    def _replaced(self, change: Change, effects: Effects) -> None:
        self.record.change = None
        effects.tell(self.record, Replaced(**self._ids, request_id=change.request_id), "success")

    def fail_change(self, code: int, text: str, outcome: Outcome | None, effects: Effects) -> None:
        """The change that is under way did not happen; the order is what its own reports say."""
        change, self.record.change = self.record.change, None
        if change is not None:
            fact = ReplaceFailed(**self._ids, request_id=change.request_id, ib_code=code, reason=short(text))
            effects.tell(self.record, fact, outcome)

    def _on_error_of_change(self, report: ErrorReport, verdict: Verdict, effects: Effects) -> None:
        match verdict.meaning:
            case Meaning.NOTICE | Meaning.CONNECTION | Meaning.DISCONNECTED | Meaning.RESTORED:
                return
            case Meaning.DOUBT:
                # Which terms hold is open, the order itself is not: IB's list tells.
                pass
            case _:
                self.fail_change(report.code, report.text, verdict.outcome or "neutral", effects)
        # Whether the order has survived the refusal, only its status tells.
        effects.look_up = True

    def on_lost(self, effects: Effects) -> None:
        """IB's lists no longer have this order, neither as open nor as over, or not its fills: how it ended is open."""
        if self.doubtful:
            return
        self.doubtful = True
        why = "IB lists it no longer; it may have ended on an earlier day"
        if self.record.status == "Filled":
            why = f"IB says it is filled and lists no execution of {self.remaining:g} of it"
        effects.notes.append(f"{self.record.order_id}: {why}. Look it up in TWS")
        effects.tell(self.record, Unknown(**self._ids, reason=why))

    def told_again(self) -> list[Fact]:
        """What has become of the order, for a breaker that has forgotten it and was sent its id once more."""
        record = self.record
        again: dict[str, Any] = {**self._ids, "again": True}
        facts: list[Fact] = []
        if record.accepted:
            numbers: dict[str, Any] = {"ib_order_id": record.ib_order_id, "perm_id": record.perm_id}
            before = record.filled_before or None
            facts.append(Accepted(**again, **numbers, status=record.status or "Submitted", filled_before=before))
        filled = record.filled_before
        for execution in (each for each in self.executions.values() if each.counts):
            filled = round(filled + execution.shares, DECIMALS)
            left = max(0.0, round(record.quantity - filled, DECIMALS))
            done = record.ended == "filled" and filled >= self.filled
            prices: dict[str, Any] = {"shares": execution.shares, "price": execution.price, "avg_price": self.avg_price}
            facts.append(
                Filled(**again, **prices, exec_id=execution.exec_id, cum_qty=filled, remaining=left, done=done)
            )
        why = f"the order was {record.ended} when this breaker's journal was lost"
        match record.ended:
            case "cancelled":
                facts.append(Cancelled(**again, filled=self.filled, remaining=self.remaining, reason=why))
            case "rejected":
                facts.append(Rejected(**again, ib_code=0, reason=why))
            case "not_placed":
                facts.append(NotPlaced(**again, code="undelivered", reason=why))
            case "settled":
                facts.append(Unknown(**again, reason="a person had settled it before this breaker's journal was lost"))
            case "":
                facts += [Unknown(**again, reason=why)] if self.doubtful else []
        return facts

    def poll(self, now: float, effects: Effects) -> None:
        """Let due time pass."""
        record = self.record
        if _over(self.end_waits_since, TEXT_WAIT_SECS, now):
            self.end_waits_since = None
            if self.end_waits_for == "Inactive":
                self._reject(0, "Inactive, and IB gave no reason", "failure", effects)
            else:
                self._cancel("", effects)
        if _over(self.resting_since, RESTING_SECS, now):
            self.resting_since = None
            outcome = self._success()
            if outcome:
                effects.tell(record, Working(**self._ids, status=record.status), outcome)
        if _over(self.fill_missing_since, MISSING_FILL_SECS, now):
            self.fill_missing_since = None
            self.fills_sought = effects.look_up = True
            effects.notes.append(f"{record.order_id}: Filled, but {self.remaining:g} of its fills are missing")

    # -- what they make -----------------------------------------------------------------------------------

    def _on_working(self, status: str, now: float, effects: Effects) -> None:
        record = self.record
        if status == record.status == "Filled" and self.fills_sought and self.remaining:
            return  # Said again without its fills it is no news; they are being asked for, or it is unknown.
        changed = status != record.status or self.doubtful
        first = not record.accepted
        record.status, self.doubtful, self.end_waits_since = status, False, None
        self._accept(status, effects)
        outcome = self._success() if status in SUCCESS_STATUSES else None
        if outcome or (changed and not first):
            effects.tell(record, Working(**self._ids, status=status), outcome)
        rests = status in {"PreSubmitted", "Inactive"} and not record.counted
        self.resting_since = (self.resting_since or now) if rests else None
        if status == "Filled" and self.remaining:
            self.fill_missing_since = self.fill_missing_since or now
        if status == "Filled" and not self.remaining and not record.ended:
            # A replace took off what was left, so that no further fill can end it.
            self._cancel("its quantity was lowered to what is filled", effects)

    def _on_fill(self, execution: Execution, before: Execution | None, now: float, effects: Effects) -> None:
        record = self.record
        done = self.remaining == 0
        fact = Filled(
            **self._ids,
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
        if self.end_waits_since is not None and not done:
            # A fill in between proves nothing about the end that follows; the wait for its text goes on.
            self.end_waits_since = now

    def _on_cancelled(self, now: float, effects: Effects) -> None:
        if self.record.ended and self.record.ended != "settled":
            return
        if self.record.cancel_asked:
            self._cancel("", effects)
        else:
            # The error behind it says why, and may turn this into a rejection.
            self._wait_for_text("Cancelled", now)

    def _accept(self, status: str, effects: Effects) -> None:
        record = self.record
        if record.accepted:
            return
        record.accepted = True
        fact = Accepted(
            **self._ids,
            ib_order_id=record.ib_order_id,
            perm_id=record.perm_id,
            status=status,
            filled_before=record.filled_before or None,
        )
        effects.tell(record, fact)

    def _reject(self, code: int, text: str, outcome: Outcome | None, effects: Effects) -> None:
        counted = None if self.record.counted == "failure" else outcome
        self.record.counted = "failure"
        self._end("rejected", effects)
        effects.tell(self.record, Rejected(**self._ids, ib_code=code, reason=short(text)), counted)

    def _cancel(self, text: str, effects: Effects) -> None:
        record = self.record
        asked = record.cancel_asked
        by_itself = (record.tif in ENDS_BY_ITSELF or bool(record.parent)) and not _gives_reason(text)
        outcome: Outcome | None = "neutral"
        if asked or by_itself:
            record.counted = record.counted or "neutral"
        else:
            outcome = None if record.counted == "failure" else "failure"
            record.counted = "failure"
        over = f"the bracket of {record.parent}" if record.parent else record.tif
        why = f"{over} is over" if by_itself else "nobody here asked for it"
        if asked:
            why = record.cancel_why or "as asked"
        fact = Cancelled(
            **self._ids,
            filled=self.filled,
            remaining=self.remaining,
            reason=short(text) or why,
            request_id=record.cancel_request_id,
        )
        self._end("cancelled", effects)
        effects.tell(record, fact, outcome)

    def _cancel_failed(self, report: ErrorReport, effects: Effects) -> None:
        record = self.record
        fact = CancelFailed(
            **self._ids,
            request_id=record.cancel_request_id,
            ib_code=report.code,
            reason=short(report.text),
        )
        record.cancel_asked = record.cancel_sent = False
        record.cancel_request_id = None
        self.cancel_refused = report.code
        effects.tell(record, fact)
        # Often it has just been filled; IB's own lists tell.
        effects.look_up = True

    def _success(self) -> Outcome | None:
        if self.record.counted:
            return None
        self.record.counted = "success"
        return "success"

    def _failure(self, outcome: Outcome | None) -> Outcome | None:
        """A failure counts once, also after a success: whichever IB happens to say first."""
        if self.record.counted == "failure":
            return None
        self.record.counted = "failure"
        return outcome

    def _wait_for_text(self, status: str, now: float) -> None:
        self.resting_since = None
        if self.end_waits_since is None:
            self.end_waits_since, self.end_waits_for = now, status

    def _end(self, how: Ended, effects: Effects) -> None:
        # Whether a change came before the end, only IB's list of what is over tells: the fill may be its doing.
        effects.look_up = effects.look_up or self.record.change is not None
        self.record.ended = how
        self.resting_since = self.end_waits_since = None
        if how == "filled":
            self.fill_missing_since = None

    @property
    def _ids(self) -> dict[str, Any]:
        return {"order_id": self.record.order_id, "strategy_id": self.record.strategy_id}


def short(text: str) -> str:
    """A text of IB's as one line of bounded length."""
    return " ".join(text.split())[:MAX_REASON]


def _over(since: float | None, wait_secs: float, now: float) -> bool:
    return since is not None and now - since >= wait_secs


def _gives_reason(text: str) -> bool:
    """IB's 202 is `Order Canceled - reason:` and then nothing, or why."""
    return bool(text.partition("reason:")[2].strip())
