"""When an order of which IB has never said a word may be called not placed. Pure.

A wrong "not placed" makes a strategy send the order again, and both may be executed. So it takes all of: a
connection made after the doubt arose; two complete rounds of open orders, executions and completed orders
over it, far enough apart for what was still under way; IB behind the gateway all that time; and the day of
the order not over, since IB's lists are of today. Otherwise the doubt stays, and a person settles it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

# Between the first and the last round: what a gateway had in its buffers has long been executed by then.
ROUNDS_APART_SECS = 10.0

# IB keeps New York's day, with its summer time or without; TWS may keep the day of the machine it runs on.
_NEW_YORK = (timezone(timedelta(hours=-5)), timezone(timedelta(hours=-4)))


class Rounds:
    """The complete rounds of questions over one undisturbed connection."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._first = float("-inf")
        #: When the latest one was complete, monotonic seconds.
        self.last = float("-inf")

    def on_round(self, now: float, undisturbed_since: float) -> None:
        """All three lists have been answered completely.

        `undisturbed_since`: when the connection was made, or when IB came back behind it, if that is later.
        """
        if undisturbed_since != self._since:
            self._since, self._first = undisturbed_since, now
        self.last = now

    def settle(self, doubt_since: float) -> bool:
        """Whether a doubt that arose then is over, had the order been at IB it would have been seen."""
        return self._since > doubt_since and self.last - self._first >= ROUNDS_APART_SECS

    def another_due(self, now: float) -> bool:
        """Whether the next round would help."""
        return now - self.last >= ROUNDS_APART_SECS


def same_trading_day(placed_ns: int, now_ns: int, local: timezone = UTC) -> bool:
    """Whether both moments (wall clock) are of one day, wherever the day may be counted."""
    zones = (UTC, local, *_NEW_YORK)
    return all(_day(placed_ns, zone) == _day(now_ns, zone) for zone in zones)


def _day(ns: int, zone: timezone) -> object:
    return datetime.fromtimestamp(ns / 10**9, zone).date()
