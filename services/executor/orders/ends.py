"""How IB ends an order, and which of its ends are ordinary. Pure.

IB ends orders by itself, and most of that is as it should be: the rest of an OCA group goes when one of it fills, a
DAY order goes at the close, an order that we cancelled goes because we did. None of these says anything against the
strategy or the broker, so none of them may open a circuit (BREAKER, ordinary ends).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from services.executor.orders.records import OrderRecord
from services.wire.feedback import Outcome

# Orders of these times in force are filled at once or end: IB's "Time in Force" page.
ENDS_AT_ONCE = frozenset({"IOC", "FOK"})
# These end at a moment that the order itself names: the close, the opening auction, a date. MOC and LOC are DAY orders
# (code 113), and an empty time in force is DAY.
ENDS_IN_TIME = frozenset({"DAY", "OPG", "GTD", "DTC", "AUC"})
# A broker that drops every order on its arrival says no word either; nothing is over so soon.
OLD_ENOUGH_SECS = 2.0
CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
_COLONS = (":", "\N{FULLWIDTH COLON}")


@dataclass(slots=True)
class Ending:
    """An end of which IB has told, and which is not told on yet.

    Attributes:
        how: `inactive` is a rejection whose text may still come.
        since: when IB first told of it, monotonic seconds.
        text: IB's reason.
        explained: the text has come, and no other will.
        numbered: IB has said with it what was filled.
        code: IB's error number, of a rejection.
        outcome: what a rejection counts as.
        accepted_for: how long IB had had the order by then, seconds; 0: it had never shown it.
    """

    how: Literal["cancelled", "rejected", "inactive"]
    since: float
    text: str = ""
    explained: bool = False
    numbered: bool = False
    code: int = 0
    outcome: Outcome | None = "failure"
    accepted_for: float = 0.0

    def is_whole(self, *, asked: bool) -> bool:
        """Whether nothing that usually belongs to it is still to come. `asked`: we know the reason ourselves."""
        if self.how == "cancelled":
            return self.numbered and (self.explained or asked)
        return self.explained

    def with_word(self, later: Ending) -> Ending:
        """IB has said more of the same end: the text, the numbers, or that it was a rejection."""
        numbered = self.numbered or later.numbered
        if self.how == "cancelled" or later.how == "inactive":
            # IB's own 202 stands, but for an error that refuses the order.
            stays = not later.explained or (self.explained and not later.code)
        else:
            # An error that refuses the order says more than any status.
            stays = self.how == "rejected" and later.how == "cancelled"
        chosen = self if stays else later
        return replace(chosen, since=self.since, accepted_for=self.accepted_for, numbered=numbered)


def ordinary_because(ending: Ending, record: OrderRecord, filled: float, remaining: float) -> str:
    """Why this cancellation is ordinary, for people; empty if it is a failure."""
    if record.cancel_asked or record.cancel_left:
        return record.cancel_why or "as asked"
    if filled and not remaining:
        return "its quantity was lowered to what is filled"
    if record.kin_over:
        return record.kin_over
    if gives_reason(ending.text):
        return ""
    if record.reduced:
        return "IB has cut its quantity"
    tif = record.tif or "DAY"
    in_time = tif in ENDS_IN_TIME and ending.accepted_for >= OLD_ENOUGH_SECS
    return f"{tif} is over" if in_time or tif in ENDS_AT_ONCE else ""


def reason_for(text: str, ordinary: str) -> str:
    """Why the order was cancelled, for people: IB's words, unless they are none."""
    if text.strip() and not text.rstrip().endswith(_COLONS):
        return text
    return ordinary or "nobody here asked for it, and IB gave no reason"


def gives_reason(text: str) -> bool:
    """Whether a text of IB's says why: its 202 is `Order Canceled - reason:` and then nothing, or the reason.

    In the languages of TWS other words stand before the colon, which is one of theirs.
    """
    return any(text.partition(colon)[2].strip() for colon in _COLONS)
