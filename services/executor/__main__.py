"""The executor as a process: `python -m services.executor`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from loguru import logger

from orderfuse.home import AlreadyRunning, HomeLock
from orderfuse.settings import Settings, SettingsError, load_settings
from services import collector, crash_points
from services.executor.connection import IBConnectionManager
from services.executor.engine import OrderExecutionEngine
from services.executor.journal import FILE_NAME, Journal, JournalError, JournalMismatch
from services.executor.loop import ExecutorLoop
from services.gateway.accounts import AccountRefused
from services.log import configure_log

OK, REFUSED, USAGE = 0, 1, 2


def main() -> int:
    """Run until a signal ends it.

    Returns:
        The exit code. 0: ended; 1: cannot run here, since another one does or the journal cannot be opened;
        2: a setting is wrong, or the account or client id is not the journal's.
    """
    configure_log()
    try:
        settings = load_settings()
        lock = HomeLock(settings.home, "executor")
    except SettingsError as error:
        return _refuse(error, USAGE)
    except AlreadyRunning as error:
        return _refuse(error, REFUSED)
    try:
        journal = Journal(settings.home / FILE_NAME, settings.ib.client_id)
    except JournalError as error:
        lock.release()
        return _refuse(error, _code(error))
    try:
        asyncio.run(_serve(settings, journal))
    except (AccountRefused, SettingsError, JournalError) as error:
        return _refuse(error, _code(error))
    finally:
        journal.close()
        lock.release()
    return OK


async def _serve(settings: Settings, journal: Journal) -> None:
    """Serve until a signal comes; a connection or a breaker that is missing is waited for."""
    crash_points.arm()
    connection = IBConnectionManager(settings.ib, journal)
    allow = frozenset(settings.executor.allow_order_fields)
    foreign = settings.executor.foreign_orders
    engine = OrderExecutionEngine(connection, allow_order_fields=allow, foreign_orders=foreign)
    serving = asyncio.create_task(ExecutorLoop(settings, connection, engine).run())
    running_loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running_loop.add_signal_handler(number, serving.cancel)
    logger.info("executor of {}, client id {}", settings.home, settings.ib.client_id)
    pauses = collector.tune()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    logger.info("{}", pauses.last_words())
    logger.info("executor ended")


def _code(error: Exception) -> int:
    return REFUSED if isinstance(error, JournalError) and not isinstance(error, JournalMismatch) else USAGE


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"executor: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
