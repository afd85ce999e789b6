"""`python -m services.breaker`: the process that decides which orders go on."""

from __future__ import annotations

import sys
import time
from contextlib import closing

from loguru import logger

from orderfuse.exit_codes import DONE, REFUSED, USAGE
from orderfuse.home import AlreadyRunning, HomeLock
from orderfuse.settings import Settings, SettingsError
from services.breaker.journal import Journal, JournalError
from services.breaker.loop import BreakerLoop
from services.breaker.public import capacity
from services.runtime.collector import measured
from services.runtime.process import begin, refuse, stop_asked


def main() -> int:
    """Run until a signal. Returns the exit code (`orderfuse.exit_codes`)."""
    try:
        _run(begin())
    except SettingsError as error:
        return refuse("breaker", error, USAGE)
    except (AlreadyRunning, JournalError, capacity.TooFewDescriptors) as error:
        return refuse("breaker", error, REFUSED)
    return DONE


def _run(settings: Settings) -> None:
    should_stop = stop_asked()
    limit = capacity.raise_limit()
    if low := capacity.warning(limit):
        logger.warning("{}", low)
    lock = HomeLock(settings.home, "breaker")
    journal = Journal(
        settings.home,
        wall_ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        keep_events_bytes=settings.breaker.keep_events_mb * 1_000_000,
    )
    try:
        loop = BreakerLoop(settings, journal, limit)
        logger.info("breaker serves {} (window {})", settings.home, settings.dispatch.window)
        with measured(), closing(loop):
            loop.run(should_stop)
    finally:
        journal.close()
        lock.release()
    logger.info("breaker stopped")


if __name__ == "__main__":
    sys.exit(main())
