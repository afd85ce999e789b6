"""One line in the log for each event that matters to people; floods are counted."""

from __future__ import annotations

import time

from loguru import logger
from msgspec import structs

from orderfuse.codec import DecodeError
from orderfuse.contractname import contract_name
from orderfuse.messages import DUST, Drift
from services.breaker.batch import Publication

# Nonsense from a peer can come in thousands: one line in so many seconds, with the count.
QUIET_SECS = 10.0


class Narrator:
    """Says what the breaker does. Order outcomes are the monitor's to tell; here it is states and trouble."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, bool, tuple[str, ...]]] = {}
        self._drift: dict[int, Drift] = {}
        self._nonsense_since: int = 0
        self._quiet_until = 0.0

    def published(self, item: Publication) -> None:
        """Tell a change of a circuit's state or conditions."""
        if item.fields.get("kind") != "state" or not item.journaled:
            return
        fields = item.fields
        scope, state, latched = fields["scope"], fields["state"], fields["latched"]
        conditions = tuple(fields["conditions"])
        before = self._told.get(scope)
        self._told[scope] = (state, latched, conditions)
        if before == self._told[scope] or (before is None and scope != "system"):
            return
        words = f"{scope}: {state}{', latched' if latched else ''}"
        if fields["reason"]:
            words += f" ({fields['reason']})"
        if conditions:
            words += f"; no order passes while these hold: {', '.join(conditions)}"
        if fields["retry_at"]:
            words += f"; retries at {fields['retry_at']}"
        elif latched:
            words += "; nothing passes until a person resets it: orderfuse reset"
        log = logger.info if state == "CLOSED" else logger.warning
        log("{}", words)

    def drift(self, drift: tuple[Drift, ...]) -> None:
        """Tell each new difference between IB's positions and our fills once, and when it has gone."""
        before, self._drift = self._drift, {each.con_id: each for each in drift}
        for con_id, each in self._drift.items():
            # Fills move both numbers; the difference is the news.
            if con_id not in before or abs(before[con_id].difference - each.difference) >= DUST:
                logger.warning(
                    "drift: {}: IB holds {:g}, the fills make {:g}: traded by others, or fills are missing here",
                    *(contract_name(structs.asdict(each)), each.actual, each.expected),
                )
        for con_id in before.keys() - self._drift.keys():
            logger.info("drift: {}: there is none any more", contract_name(structs.asdict(before[con_id])))

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
