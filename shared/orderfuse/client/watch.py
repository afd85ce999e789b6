"""Watcher: how a monitor hears everything, and whether there is anything to hear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orderfuse.bus.notices import Heard, Item, Silent
from orderfuse.client.closing import Closing
from orderfuse.client.follower import EVERYTHING, SILENCE_S, Follower
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings


class Watcher(Closing):
    """Follows everything, for monitors: first how things stand, then every change, as (topic, message).

    A message is a typed event of the bus, or one of the notices `Heard`, `Silent`, `Gap`, `Unreadable`
    (those about the breaker itself come with the topic ""). Repeated states are left out.
    A context manager, for one thread.

    Args:
        settings: where the breaker is.
        topics: prefixes of the topics to follow: `order/`, `order/<strategy_id>/`, `health/`, `state/`; default: all.
            Keep `state/` or `state/system/` among them: the states tell a quiet breaker from none.

    Raises:
        SettingsError: an endpoint cannot be used.
    """

    def __init__(self, settings: Settings, topics: tuple[str, ...] = EVERYTHING) -> None:
        self._follower = Follower(settings, topics)
        self._heard: bool | None = None

    def close(self) -> None:
        """Close the links; a second time does nothing, nor does it in a child of a fork: the links are the parent's."""
        self._follower.close()

    def __iter__(self) -> Iterator[Item]:
        """Everything that comes, for ever.

        Raises:
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        while True:
            yield from self.read(1.0)

    def read(self, wait_s: float = 0.0) -> list[Item]:
        """What has come, waiting up to `wait_s` seconds for the first of it. May take a second longer at a gap.

        Raises:
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        items = self._follower.read(wait_s)
        return self._presence() + items

    def _presence(self) -> list[Item]:
        silent_s = self._follower.silent_s
        heard = self._follower.heard_at is not None and silent_s < SILENCE_S
        if heard == self._heard or (not heard and silent_s < SILENCE_S):
            return []
        self._heard = heard
        return [("", Heard(self._status()) if heard else Silent(silent_s))]

    def _status(self) -> dict[str, Any] | None:
        try:
            return self._follower.control.request("status")
        except (BreakerUnavailable, ControlRefused):
            return None
