"""Garbage collection in a process that must not pause: rare, and measured.

A full collection looks at everything alive. What the start has made lives for ever, so it is frozen: no
collection looks at it again (`gc.freeze`, Python's gc module).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from loguru import logger

# Young objects before a collection of their own: ten thousand are looked through in about a millisecond, and
# a message of the bus makes a few dozen. Older generations follow after so many of the younger ones.
THRESHOLDS = (10_000, 20, 20)


class PauseMeter:
    """How often the collector has stopped the process, and for how long."""

    def __init__(self) -> None:
        self.collections = 0
        self.longest_ms = 0.0
        self.full = 0
        self.longest_full_ms = 0.0
        self._began = 0.0

    def __str__(self) -> str:
        return (
            f"garbage collections: {self.collections}, the longest took {self.longest_ms:.1f} ms; "
            f"{self.full} full ones, the longest took {self.longest_full_ms:.1f} ms"
        )

    def note(self, phase: str, info: Mapping[str, int]) -> None:
        """For `gc.callbacks`."""
        now = time.perf_counter()
        if phase == "start":
            self._began = now
            return
        took_ms = (now - self._began) * 1000
        self.collections += 1
        self.longest_ms = max(self.longest_ms, took_ms)
        if info["generation"] == 2:
            self.full += 1
            self.longest_full_ms = max(self.longest_full_ms, took_ms)

    def last_words(self) -> str:
        """The figures, after one full collection more: what the worst would have been is not left to chance."""
        gc.collect()
        return str(self)


@contextmanager
def measured() -> Iterator[None]:
    """Tune the collector for what runs inside, and write to the log at the end what it has cost.

    Enter it once, when everything that lives for ever has been made.
    """
    meter = tune()
    try:
        yield
    finally:
        logger.info("{}", meter.last_words())


def tune() -> PauseMeter:
    """Have the collector look at little and seldom from now on, and measure it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    meter = PauseMeter()
    gc.callbacks.append(meter.note)
    return meter
