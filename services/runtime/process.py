"""How a service begins and ends: with a log and settings, when it is told to, and why it cannot run, in one line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from orderfuse.settings import Settings, load_settings
from services.runtime import crash_points
from services.runtime.log import configure_log

# What ends a service: a person's ctrl-C, and whoever manages processes.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def begin() -> Settings:
    """Set up the log, read the settings, and arm the point at which a test wants the service to die.

    Raises:
        SettingsError: one of them is wrong.
    """
    configure_log()
    settings = load_settings()
    crash_points.arm()
    return settings


def stop_asked() -> Callable[[], bool]:
    """Listen for signals from now on; the result tells whether one has come."""
    received: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda signum, _: received.append(signum))
    return lambda: bool(received)


def refuse(service: str, why: object, code: int) -> int:
    """Say on stderr, in one line, why the service cannot run; returns `code`, its exit code."""
    sys.stderr.write(f"{service}: {why}\n")
    return code
