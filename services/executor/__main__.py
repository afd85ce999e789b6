"""The executor as a process: `python -m services.executor`."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from loguru import logger

from orderfuse.exit_codes import DONE, REFUSED, USAGE
from orderfuse.home import AlreadyRunning, HomeLock
from orderfuse.settings import Settings, SettingsError
from services.executor.journal import FILE_NAME, Journal, JournalError, JournalMismatch
from services.executor.loop import ExecutorLoop
from services.gateway.accounts import AccountRefused
from services.runtime.collector import measured
from services.runtime.process import STOP_SIGNALS, begin, refuse


def main() -> int:
    """Run until a signal. Returns the exit code (`orderfuse.exit_codes`).

    An account that is not allowed, or a client id that is not the journal's, is a setting that is wrong.
    """
    try:
        settings = begin()
        lock = HomeLock(settings.home, "executor")
    except SettingsError as error:
        return refuse("executor", error, USAGE)
    except AlreadyRunning as error:
        return refuse("executor", error, REFUSED)
    try:
        journal = Journal(settings.home / FILE_NAME, settings.ib.client_id)
    except JournalError as error:
        lock.release()
        return refuse("executor", error, _code(error))
    try:
        asyncio.run(_serve(settings, journal))
    except (AccountRefused, SettingsError, JournalError) as error:
        return refuse("executor", error, _code(error))
    finally:
        journal.close()
        lock.release()
    return DONE


async def _serve(settings: Settings, journal: Journal) -> None:
    """Serve until a signal comes; a connection or a breaker that is missing is waited for."""
    serving = asyncio.create_task(ExecutorLoop(settings, journal).run())
    running_loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        running_loop.add_signal_handler(number, serving.cancel)
    logger.info("executor of {}, client id {}", settings.home, settings.ib.client_id)
    with measured(), contextlib.suppress(asyncio.CancelledError):
        await serving
    logger.info("executor ended")


def _code(error: Exception) -> int:
    return REFUSED if isinstance(error, JournalError) and not isinstance(error, JournalMismatch) else USAGE


if __name__ == "__main__":
    sys.exit(main())
