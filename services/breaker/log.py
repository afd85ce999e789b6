"""One line in the log for each event that matters to people; floods are counted."""

from __future__ import annotations

import time

from loguru import logger
from msgspec import structs

from orderfuse.bounded import Bounded
from orderfuse.bus.codec import DecodeError, convert
from orderfuse.bus.events import State
from orderfuse.bus.words import is_news, state_words
from orderfuse.ibfields.names import contract_name
from services.breaker.batch import Publication
from services.runtime.log import tell
from services.wire.standing import DUST, Drift

# Nonsense from a peer can come in thousands: one line in so many seconds, with the count.
QUIET_SECS = 10.0


class BreakerLog:
    """Says what the breaker does: states, and trouble. What becomes of orders is the monitor's to tell."""

    def __init__(self) -> None:
        # As many as may have a circuit, ten times; of more, the one goes that was quiet longest.
        self._states: Bounded[str, State] = Bounded()
        self._breaks: dict[int, Drift] = {}
        self._nonsense_since: int = 0
        self._quiet_until = 0.0
        # How often the journal has failed since it worked for a while, and since when it works.
        self._journal_failures = 0
        self._journal_works_since: float | None = None

    def published(self, item: Publication) -> None:
        """Tell a change of a circuit's state or conditions."""
        if item.fields.get("kind") != "state" or not item.journaled:
            return
        now: State = convert(item.fields, State)
        before = self._states.get(now.scope)
        self._states[now.scope] = now
        if is_news(now, before):
            tell(state_words(now, before))

    def position_breaks(self, standing: tuple[Drift, ...]) -> None:
        """Tell each new difference between IB's positions and our fills once, and when it has gone."""
        before, self._breaks = self._breaks, {each.con_id: each for each in standing}
        for con_id, each in self._breaks.items():
            # Fills move both numbers; the difference is the news.
            if con_id not in before or abs(before[con_id].difference - each.difference) >= DUST:
                logger.warning(
                    "position break: {}: IB holds {:g}, the fills make {:g}: "
                    "traded by others, or fills are missing here",
                    *(contract_name(structs.asdict(each)), each.actual, each.expected),
                )
        for con_id in before.keys() - self._breaks.keys():
            logger.info("position break: {}: there is none any more", contract_name(structs.asdict(before[con_id])))

    def journal_fails(self, error: str) -> None:
        """Tell that the journal cannot be used, once: a disk may fail and work in turn for hours."""
        if not self._journal_failures:
            logger.error("{}; nothing is passed on until it can be", error)
        self._journal_failures += 1
        self._journal_works_since = None

    def journal_works(self) -> None:
        """The journal can be used again; that is told when it has been for a while."""
        self._journal_works_since = time.monotonic()

    def see_whether_the_journal_works(self) -> None:
        """To be called once in a while."""
        since = self._journal_works_since
        if since is not None and time.monotonic() - since >= QUIET_SECS:
            text = "the journal has been read and written again for {:g} s; before that it failed {} times"
            logger.info(text, QUIET_SECS, self._journal_failures)
            self._journal_failures, self._journal_works_since = 0, None

    def nonsense(self, link: str, error: DecodeError) -> None:
        """Tell that something unreadable came, at most once in a while."""
        self._nonsense_since += 1
        if time.monotonic() < self._quiet_until:
            return
        logger.warning(
            "{}: dropped a message ({}: {}); {} since the last such line",
            link,
            error.cause,
            error.reason,
            self._nonsense_since,
        )
        self._quiet_until = time.monotonic() + QUIET_SECS
        self._nonsense_since = 0
