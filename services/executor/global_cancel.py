"""The global cancel that is owed: sent again until IB lists none of the orders that it listed then. Pure.

One `reqGlobalCancel` may be lost with its connection or its process, and nobody answers it. So the orders that IB
lists right after it are remembered, and it goes again while any of them is listed; never for one that came later.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.wire.dispatch import GlobalCancel

# Cancels take effect within a second, outside of hours perhaps never; each try is a message of the pacing.
AGAIN_EVERY_SECS = 10.0
_NEVER = float("-inf")


@dataclass(slots=True)
class OwedCancel:
    """What the journal keeps.

    Attributes:
        number: the breaker's number of it.
        listed: permanent ids of the orders that it is for; None until IB has listed them.
    """

    number: int
    listed: list[int] | None = None


class GlobalCancelDebt:
    """At most one global cancel: it takes everything there is, so a later one takes the place of an earlier."""

    def __init__(self, kept: OwedCancel | None) -> None:
        self.owed = kept
        # After a restart the breaker has to say first that it is still wanted.
        self._wanted = False
        self._sent_at = _NEVER
        # From then on it is given up, because a person may have placed other orders since.
        self._until = _NEVER

    def ask(self, message: GlobalCancel, now: float) -> bool:
        """The breaker wants it, or still does; whether it is a new one."""
        new = self.owed is None or message.number > self.owed.number
        if new:
            self.owed, self._sent_at = OwedCancel(message.number), _NEVER
        if self.owed is not None and message.number == self.owed.number:
            self._wanted, self._until = True, now + message.left_ms / 1000
        return new

    def keep_only(self, number: int) -> bool:
        """Drop it unless it has this number; whether one was dropped."""
        if self.owed is None or self.owed.number == number:
            return False
        self._end()
        return True

    def drop(self, number: int) -> bool:
        """It is not wanted any more; whether it was there."""
        if self.owed is None or self.owed.number != number:
            return False
        self._end()
        return True

    def give_up(self, now: float) -> bool:
        """Drop it if its time is up; whether it was."""
        if self.owed is None or not self._wanted or now < self._until:
            return False
        self._end()
        return True

    def is_due(self, now: float) -> bool:
        """Whether it has to be sent now."""
        return self.owed is not None and self._wanted and now - self._sent_at >= AGAIN_EVERY_SECS

    def waits_for_list(self) -> bool:
        """Whether IB has to be asked what is still open."""
        return self.owed is not None and self._sent_at > _NEVER

    def on_sent(self, now: float) -> None:
        """Its bytes have left."""
        self._sent_at = now

    def on_new_connection(self) -> None:
        """What left over the connection before may not have arrived."""
        self._sent_at = _NEVER

    def on_listed(self, open_ids: set[int], asked_at: float) -> int | None:
        """IB has listed what is open, asked at this time. Returns the number if it is done."""
        if self.owed is None or asked_at < self._sent_at or self._sent_at == _NEVER:
            return None
        before = open_ids if self.owed.listed is None else set(self.owed.listed)
        self.owed.listed = sorted(before & open_ids)
        if self.owed.listed:
            return None
        number = self.owed.number
        self._end()
        return number

    def _end(self) -> None:
        self.owed, self._wanted, self._sent_at = None, False, _NEVER
