"""Follows the events of the bus and writes what `services.monitor.lines` makes of them to the log."""

from __future__ import annotations

from collections.abc import Callable

from orderfuse.client.watch import Watcher
from orderfuse.settings import Settings
from services.monitor.lines import lines_about
from services.runtime.log import tell

# A stop is noticed at most this late.
TICK_S = 0.25
# Health says the same every second. Of the states only that they come matters here: the breaker's log tells them.
TOPICS = ("order/", "state/")


def follow(settings: Settings, *, should_stop: Callable[[], bool]) -> None:
    """Tell what becomes of orders until told to stop; a breaker may come later, go and come back."""
    with Watcher(settings, TOPICS) as watcher:
        while not should_stop():
            for topic, item in watcher.read(TICK_S):
                for words in lines_about(topic, item):
                    tell(words)
