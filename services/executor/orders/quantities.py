"""IB's own numbers of an order beside the sum of its executions. Pure.

IB tells the two over different callbacks that nothing ties to each other (its page on order submission), and either may
be lost. An end that was told with the wrong quantity is a position that nobody knows of, so what does not fit is looked
up before an end is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from services.wire.standing import DUST

# The execution comes within milliseconds of its status; after this it is asked for.
MISSING_FILL_SECS = 2.0
# Quantities that IB's lists have not explained are asked for again this often.
LOOK_AGAIN_SECS = 60.0


@dataclass(slots=True)
class Numbers:
    """What IB says is filled and what remains, of one order.

    Attributes:
        filled, remaining: as its latest status has them; None before the first.
        sought: the missing executions have been asked for.
        unfit_since: since when IB's numbers and the executions differ and nobody was asked, monotonic seconds.
    """

    filled: float | None = None
    remaining: float | None = None
    sought: bool = False
    unfit_since: float | None = None
    _looked_at: float = float("-inf")
    _rest_sought: bool = False

    def on_said(self, filled: float, remaining: float) -> None:
        """IB has said both; what is no quantity is no word of it."""
        if 0 <= filled < inf and 0 <= remaining < inf:
            self.filled, self.remaining = filled, remaining

    def on_completed(self, filled: float, *, whole: bool) -> None:
        """IB lists it as over and says how much was filled; 0 may mean that it does not say. `whole`: all of it."""
        if filled:
            self.filled, self.remaining = max(filled, self.filled or 0.0), 0.0 if whole else None

    def fits(self, executed: float) -> bool:
        """Whether the executions are what IB says."""
        return self.filled is None or abs(self.filled - executed) <= DUST

    def see(self, executed: float, quantity: float, now: float) -> None:
        """Compare, now that either has changed."""
        if self.fits(executed) and self._rest_fits(quantity):
            self.unfit_since = None
            self.sought = False
        elif self.fits(executed):
            self.sought = False
            if not self._rest_sought:
                self._begin(now)
        elif not self.sought:
            self._begin(now)

    def look_up_due(self, executed: float, now: float) -> bool:
        """Whether IB's lists must be asked for now; once, and where they do not explain it, rarely again."""
        if self.unfit_since is not None and now - self.unfit_since >= MISSING_FILL_SECS:
            self.unfit_since = None
            self._looked_at = now
            # What remains is only looked up: the list of open orders has the quantity that holds.
            self._rest_sought = self._rest_sought or self.fits(executed)
            self.sought = not self.fits(executed)
            return True
        if self.sought and now - self._looked_at >= LOOK_AGAIN_SECS:
            self._looked_at = now
            return True
        return False

    def _begin(self, now: float) -> None:
        if self.unfit_since is None:
            self.unfit_since = now

    def _rest_fits(self, quantity: float) -> bool:
        if self.filled is None or self.remaining is None or self.remaining <= 0:
            # Of an order that is over IB may say that nothing remains, whatever was left.
            return True
        return abs(self.filled + self.remaining - quantity) <= DUST
