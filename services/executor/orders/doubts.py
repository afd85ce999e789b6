"""When an order of which IB has never said a word may be called not placed. Pure.

A wrong "not placed" makes a strategy send the order again, and both may be executed. So it takes all of: a
connection made after the doubt arose, unless IB has answered the order's own bytes with an error; two complete rounds
of open orders, executions and completed orders begun after it, far enough apart for what was still under way; IB
behind the gateway all that time; and the day of the order not over, since IB's lists are of today. Otherwise the doubt
stays, and a person resolves it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

# Between the first and the last round: what a gateway had in its buffers has long been executed by then.
ROUNDS_APART_SECS = 10.0
# Rounds in quick succession need not all be remembered; a minute of them is enough for any two to be far apart.
KEPT_APART_SECS = 1.0
MAX_ROUNDS = 64

# IB keeps New York's day, with its summer time or without; TWS may keep the day of the machine it runs on.
_NEW_YORK = (timezone(timedelta(hours=-5)), timezone(timedelta(hours=-4)))


@dataclass(frozen=True, slots=True)
class Doubt:
    """That nobody knows whether IB has an order.

    Attributes:
        since: when it arose, monotonic seconds.
        bytes_lost: the order's bytes may still be under way, or may never have arrived: only a connection that was made
            later can tell. False once IB has answered under the order's own id, or its cancel: then it has read them.
    """

    since: float
    bytes_lost: bool = True


class Rounds:
    """The complete rounds of questions over one undisturbed connection."""

    def __init__(self) -> None:
        self._since = float("-inf")
        # When rounds began and were complete: the older ones of many in a row are not needed.
        self._kept: deque[tuple[float, float]] = deque(maxlen=MAX_ROUNDS)
        #: When the latest one was complete, monotonic seconds.
        self.last = float("-inf")

    def on_round(self, begun: float, now: float, undisturbed_since: float) -> None:
        """All three lists have been answered completely.

        `undisturbed_since`: when the connection was made, or when IB came back behind it, if that is later.
        """
        if undisturbed_since != self._since:
            self._since = undisturbed_since
            self._kept.clear()
        if not self._kept or begun - self._kept[-1][0] >= KEPT_APART_SECS:
            self._kept.append((begun, now))
        self.last = now

    def answers(self, doubt: Doubt) -> bool:
        """Whether a doubt is over: had the order been at IB, two rounds far enough apart would have shown it."""
        if doubt.bytes_lost and self._since <= doubt.since:
            return False
        first = next((done for begun, done in self._kept if begun >= doubt.since), None)
        return first is not None and self.last - first >= ROUNDS_APART_SECS

    def another_due(self, now: float) -> bool:
        """Whether the next round would help."""
        return now - self.last >= ROUNDS_APART_SECS


def same_trading_day(placed_ns: int, now_ns: int, local: timezone = UTC) -> bool:
    """Whether both moments (wall clock) are of one day, wherever the day may be counted."""
    zones = (UTC, local, *_NEW_YORK)
    return all(_day(placed_ns, zone) == _day(now_ns, zone) for zone in zones)


def _day(ns: int, zone: timezone) -> object:
    return datetime.fromtimestamp(ns / 10**9, zone).date()
