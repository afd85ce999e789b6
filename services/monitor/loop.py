"""Follows the events of the bus and writes what `services.monitor.lines` makes of them to the log."""

from __future__ import annotations

from collections.abc import Callable

from loguru import logger

from orderfuse.settings import Settings
from orderfuse.watch import Watcher
from services.monitor.lines import Lines

# A stop is noticed at most this late.
TICK_S = 0.25
# Health is for metrics; it says the same every second.
TOPICS = ("order/", "state/")


def follow(settings: Settings, *, should_stop: Callable[[], bool]) -> None:
    """Tell every change until told to stop; a breaker may come later, go and come back."""
    lines = Lines()
    with Watcher(settings, TOPICS) as watcher:
        while not should_stop():
            for topic, item in watcher.read(TICK_S):
                for level, text in lines.about(topic, item):
                    logger.log(level, "{}", text)
