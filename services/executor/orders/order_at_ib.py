"""One order at IB: what is known of it at this moment, and what follows from that alone. Pure.

How it changes stands beside it, a file for each subject, as functions over this state: what IB's reports make of it
(`order_reports`, `order_states`), its errors (`order_errors`), how its end is told (`order_ends`), its changes and
cancels (`changes`, `cancels`), a second order under its reference (`twins`), and what is overdue (`overdue`).

Three rules stand behind most of it. A rejection comes as an error, as the status Inactive, or as both, either first; so
a status that looks like an end and that nobody asked for waits a moment for its text. An end is told once IB's own
numbers and its executions agree. And only IB ends an order: an error that leaves it open whether the order lives makes
doubt, never an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orderfuse.text import cut, folded
from services.executor.orders.cancel_watch import CancelWatch
from services.executor.orders.ends import Ending
from services.executor.orders.quantities import Numbers
from services.executor.orders.records import DECIMALS, Execution, OrderRecord, split_exec_id
from services.gateway.reports import ErrorReport
from services.wire.feedback import Outcome

# Others that IB names under an order's number, each looked up once.
MAX_STRANGERS = 10


@dataclass(slots=True)
class OrderAtIb:
    """One order: its record, its executions by base id, and what it waits for.

    Attributes:
        resting_since: since when it rests in a status that may be a success; None: it does not.
        ending: an end of which IB has told and which is not told on yet.
        locating: IB has said that it waits for shares to sell short.
        doubtful: whether IB has it was open for a moment: its next status is told even if it is the old one.
        strangers: permanent ids of others that IB has named under its number.
        changed_at: when the change that has no answer left for IB.
        heard_at: when IB last showed that it has it. An error shows no such thing: it may say the contrary.
        asked_after: since when IB is asked whether it still has it, although this connection has shown it.
        accepted_at: when IB first showed it.
        change_said: what IB said of the last change.
        change_doubt: what it said of the one that is under way, in words that nobody knows.

    Moments are monotonic seconds; -inf: before this process.
    """

    record: OrderRecord
    executions: dict[str, Execution] = field(default_factory=dict)
    numbers: Numbers = field(default_factory=Numbers)
    cancels: CancelWatch = field(default_factory=CancelWatch)
    resting_since: float | None = None
    ending: Ending | None = None
    locating: bool = False
    doubtful: bool = False
    strangers: tuple[int, ...] = ()
    changed_at: float = float("-inf")
    heard_at: float = float("-inf")
    asked_after: float = float("-inf")
    accepted_at: float = float("-inf")
    change_said: ErrorReport | None = None
    change_doubt: ErrorReport | None = None

    @property
    def ids(self) -> dict[str, Any]:
        """What names the order in each fact."""
        return {"order_id": self.record.order_id, "strategy_id": self.record.strategy_id}

    # -- quantities ---------------------------------------------------------------------------------------

    @property
    def filled(self) -> float:
        """The quantity filled, counted from the executions, and what was filled before the order was found at IB."""
        return round(self.record.filled_before + self._executed, DECIMALS)

    @property
    def had_fill(self) -> bool:
        """Whether any of it was filled, by its executions or by IB's own word."""
        return self.filled > 0 or bool(self.numbers.filled)

    @property
    def filled_of_its_own(self) -> float:
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
    def left(self) -> float:
        """What is not filled: IB's own number of it, where that was said with what is filled."""
        said = self.numbers.remaining
        return self.remaining if said is None or self.record.twins else said

    @property
    def avg_price(self) -> float:
        """The average price of the executions that are known, 0 without any."""
        paid = sum(e.shares * e.price for e in self.executions.values() if e.counts)
        return round(paid / self._executed, DECIMALS) if self._executed else 0.0

    @property
    def _executed(self) -> float:
        return sum(e.shares for e in self.executions.values() if e.counts)

    def compare(self, now: float) -> None:
        """Compare IB's numbers with the executions, now that either has changed."""
        self.numbers.see(self.filled_of_its_own, self._quantity_now, now)

    @property
    def _quantity_now(self) -> float:
        """What IB's numbers should add up to; while a change is under way, whatever they do."""
        numbers = self.numbers
        open_still = self.record.change is not None or self.record.ended
        return (numbers.filled or 0.0) + (numbers.remaining or 0.0) if open_still else self.record.quantity

    @property
    def why_unfit(self) -> str:
        """How IB's numbers and its executions differ, for people."""
        said, executed = self.numbers.filled or 0.0, self.filled_of_its_own
        if self.numbers.fits(executed):
            left = self.numbers.remaining or 0.0
            return f"IB says that {left:g} of {self.record.quantity:g} remain, {executed:g} are filled"
        return f"IB says that {said:g} are filled, and lists executions of {executed:g}"

    def restore(self, execution: Execution) -> None:
        """Take an execution from the journal; the highest revision stands."""
        base, revision = split_exec_id(execution.exec_id)
        before = self.executions.get(base)
        if before is None or revision > split_exec_id(before.exec_id)[1]:
            self.executions[base] = execution

    # -- what it waits for --------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether an end was told that only a proof of life takes back."""
        return bool(self.record.ended) and self.record.ended != "settled"

    @property
    def cancel_wanted(self) -> bool:
        """Whether a cancel was asked for that has not left yet."""
        record = self.record
        return record.cancel_asked and not record.cancel_sent and not record.ended

    @property
    def cancel_number(self) -> int:
        """IB's order id that the next cancel is for: of what lives under the reference."""
        living = self.record.living_twins
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

    # -- what counts --------------------------------------------------------------------------------------

    def count_success(self) -> Outcome | None:
        """A success counts if nothing has counted before."""
        if self.record.counted:
            return None
        self.record.counted = "success"
        return "success"

    def count_neutral(self) -> Outcome:
        """Nothing that is said of the order later is its first outcome."""
        self.record.counted = self.record.counted or "neutral"
        return "neutral"

    def count_failure(self, outcome: Outcome | None) -> Outcome | None:
        """A failure counts once, also after a success: whichever IB happens to say first."""
        if self.record.counted == "failure":
            return None
        self.record.counted = "failure"
        return outcome


def short(text: str) -> str:
    """A text of IB's as one line of bounded length."""
    return cut(folded(text))


def words_of(report: ErrorReport) -> str:
    """What IB's error says, for people."""
    return cut(f"IB says {report.code}: {short(report.text)}")
