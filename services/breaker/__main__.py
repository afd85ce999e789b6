"""`python -m services.breaker`: the process that decides which orders go on."""

from __future__ import annotations

import signal
import sys
import time

from loguru import logger

from orderfuse.home import AlreadyRunning, HomeLock
from orderfuse.settings import Settings, SettingsError, load_settings
from services import collector, crash_points
from services.breaker import descriptors
from services.breaker.journal import Journal, JournalError
from services.breaker.loop import BreakerLoop
from services.log import configure_log


def main() -> int:
    """Run until a signal; 0: stopped, 1: cannot run here, 2: a setting is wrong."""
    configure_log()
    try:
        settings = load_settings()
        _run(settings)
    except SettingsError as error:
        sys.stderr.write(f"breaker: {error}\n")
        return 2
    except (AlreadyRunning, JournalError, descriptors.TooFewDescriptors) as error:
        sys.stderr.write(f"breaker: {error}\n")
        return 1
    return 0


def _run(settings: Settings) -> None:
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    crash_points.arm()
    limit = descriptors.raise_limit()
    if low := descriptors.warning(limit):
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
        pauses = collector.tune()
        try:
            loop.run(lambda: bool(stopped))
        finally:
            loop.close()
            logger.info("{}", pauses.last_words())
    finally:
        journal.close()
        lock.release()
    logger.info("breaker stopped")


if __name__ == "__main__":
    sys.exit(main())
