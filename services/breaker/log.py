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
