"""The attempts to make a connection: when the next one is due, how far this one came, why it led to nothing. Pure."""

from __future__ import annotations

from services.gateway import diagnosis
from services.gateway.reports import NotDialled
from services.gateway.timing import Timing

# A gateway notices the end of a connection by its own time-outs; a client id in use for longer is somebody's.
GHOST_SECS = 15.0
# Behind the deadline that the rim itself has for an attempt.
ANSWER_OF_RIM_SECS = 5.0
# While nobody answers, the log gets a line this often.
REMIND_SECS = 60.0


class Attempts:
    """One attempt after the other, with pauses that double until a connection was of use.

    Args:
        client_id: ours, for people.
        timing: how long an attempt may take, and the pauses.

    Attributes:
        number: of the attempt under way, or of the connection that it has become.
        accounts: what the gateway has named so far.
        client_id_in_use: it has said that somebody else has our client id.
    """

    def __init__(self, client_id: int, timing: Timing) -> None:
        self._client_id = client_id
        self._timing = timing
        self.number = 0
        self.accounts: tuple[str, ...] = ()
        self.client_id_in_use = False
        # All moments are monotonic seconds.
        self._begun_at = float("-inf")
        self._next_at = float("-inf")
        self._pause = timing.first_pause
        # How often in a row a connection was waited for in vain.
        self._waited_in_vain = 0
        self._failed = 0
        self._reminded_at = float("-inf")
        # When a connection ended last that the gateway may not have given up yet.
        self._connected_until = float("-inf")

    def due(self, now: float) -> bool:
        """Whether to begin the next one."""
        return now >= self._next_at

    def begin(self, now: float) -> int:
        """The next one begins; its number."""
        self.number += 1
        self._begun_at = now
        self.client_id_in_use, self.accounts = False, ()
        return self.number

    def overdue(self, now: float) -> OSError | None:
        """The end of one that the rim, which has a deadline of its own, says nothing of: nothing waits for ever."""
        longest = self._timing.connect + ANSWER_OF_RIM_SECS
        if now - self._begun_at < longest:
            return None
        return TimeoutError(f"nobody has said within {longest:g} s what became of the attempt")

    def on_connected(self) -> OSError | None:
        """The gateway has named all that a connection needs. Returns what ends it all the same."""
        if self.client_id_in_use:
            return diagnosis.client_id_in_use(self._client_id)
        self._waited_in_vain = 0
        return None

    def why_not(self, outcome: NotDialled) -> OSError:
        """What a person should hear of an attempt that led to nothing: as far as it came, and what was missing."""
        waited_before, self._waited_in_vain = self._waited_in_vain, 0
        if self.client_id_in_use:
            return diagnosis.client_id_in_use(self._client_id)
        if 0 < outcome.version < outcome.needed_version:
            return diagnosis.too_old(outcome.version, outcome.needed_version)
        if outcome.error:
            return ConnectionError(outcome.error)
        if not outcome.timed_out:
            return diagnosis.turned_away() if outcome.version else diagnosis.closed_at_once()
        tries = self._waited_in_vain = waited_before + 1
        timeout = self._timing.connect
        if outcome.version:
            return diagnosis.not_logged_in("order id" if self.accounts else "account", timeout, tries)
        return diagnosis.no_gateway(timeout, tries) if outcome.reached else diagnosis.unreachable(timeout, tries)

    def on_end(self, now: float, *, connected: bool, served: bool) -> None:
        """It led to nothing, or what it made is over. `connected`: there was a connection. `served`: one of use."""
        if connected and not self.client_id_in_use:
            self._connected_until = now
        if served:
            self._pause = self._timing.first_pause
        self._next_at = now + (self._timing.longest_pause if self.client_id_in_use else self._pause)
        self._pause = min(self._pause * 2, self._timing.longest_pause)

    def reminder(self, why: str, now: float) -> str | None:
        """How it stands, once when the waiting begins and then rarely: a gateway can be away for a weekend."""
        self._failed += 1
        if self._failed > 1 and now - self._reminded_at < REMIND_SECS:
            return None
        self._reminded_at = now
        return f"{why} ({self._failed} attempts so far)" if self._failed > 1 else why

    def on_usable(self) -> None:
        """The waiting is over."""
        self._failed = 0

    def may_be_our_ghost(self, now: float) -> bool:
        """Whether a client id in use may be that of our own lost connection, which the gateway holds for a while."""
        return now - self._connected_until < GHOST_SECS
