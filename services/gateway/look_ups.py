"""Rounds of lists, one after the other: begun when something must be looked up, asked on, or given up. Pure."""

from __future__ import annotations

from services.gateway import diagnosis
from services.gateway.diagnosis import Trouble, Unended
from services.gateway.frames import Ask
from services.gateway.news import RoundBegun
from services.gateway.outgoing import Outgoing
from services.gateway.round import Round
from services.gateway.standing_lists import StandingLists
from services.gateway.timing import Timing


class LookUps:
    """At most one round at a time.

    Args:
        outgoing: takes the questions and the news.
        timing: how long a list may take, and the pause between two rounds.
        lists: asks for the open orders, which it also does in passing.
    """

    def __init__(self, outgoing: Outgoing, timing: Timing, lists: StandingLists) -> None:
        self._outgoing = outgoing
        self._timing = timing
        self._lists = lists
        self._wanted = False
        self._round: Round | None = None
        self._done_at = float("-inf")
        self._request_id = 0
        self._unended = Unended()

    @property
    def under_way(self) -> bool:
        """Whether a round is."""
        return self._round is not None

    @property
    def trouble(self) -> Trouble | None:
        """Which list the gateway did not give when it was last asked for it."""
        return self._unended.trouble

    def want(self) -> None:
        """Something must be looked up."""
        self._wanted = True

    def on_connection(self) -> None:
        """A new connection: everything must be."""
        self._round, self._done_at, self._wanted = None, float("-inf"), True

    def on_end_of_connection(self) -> None:
        """What was asked for is never answered."""
        self._round = None

    def look(self, now: float, account: str, undisturbed_since: float, *, first: bool, silent: bool) -> OSError | None:
        """Begin a round, ask for its next list, or give up on the present one: what ends the connection, if anything.

        `first`: nothing is known yet over this connection. `silent`: the gateway does not answer.
        """
        if self._round is None:
            if silent or now - self._done_at < self._timing.look_up_pause or not (self._wanted or first):
                return None
            self._wanted = False
            self._round = Round(undisturbed_since, now)
        under_way = self._round
        late = now - under_way.waits_since >= self._timing.request
        if under_way.asked:
            return self._missing(under_way.list) if late else None
        if not under_way.begun and self._lists.orders_awaited:
            # Asked for in passing: its end must not be taken for that of this one. A gateway that stood still for
            # longer has yet to answer what it was asked before.
            return self._missing("open_orders") if late else None
        if self._outgoing.pacer.free(now):
            self._ask(under_way, now, account, undisturbed_since)
        return None

    def _missing(self, what: str) -> Trouble:
        return self._unended.on_missing(what, self._timing.request)

    def _ask(self, under_way: Round, now: float, account: str, undisturbed_since: float) -> None:
        if not under_way.begun:
            under_way.undisturbed_since = undisturbed_since
            self._outgoing.tell(RoundBegun())
        under_way.on_asked(now)
        if under_way.list == "open_orders":
            self._lists.ask_for_orders(now)
        elif under_way.list == "executions":
            self._request_id = diagnosis.next_request_id(self._request_id)
            self._outgoing.send(Ask("executions", self._request_id, account), now)
        else:
            self._outgoing.send(Ask(under_way.list), now)

    def on_end(self, what: str, now: float) -> Round | None:
        """A list has come to its end. Returns the round, if that was its last one."""
        under_way = self._round
        if under_way is None or not under_way.asked or what != under_way.list:
            return None
        self._unended.on_end(what)
        if not under_way.on_end(now):
            return None
        self._round, self._done_at = None, now
        return under_way

    def on_refused(self, said: str) -> OSError | None:
        """IB has refused a request of ours: what ends the connection, if a list is missing now."""
        under_way = self._round
        if under_way is not None and under_way.asked and under_way.list == "executions":
            return self._unended.on_refused("executions", said)
        return None
