"""Moments as the protocol writes them, and back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def execution_time_text(at: float) -> str:
    """Return the local time in the form of executions: two spaces, no zone.

    A zone's name would have to be known to the client's time zone data base, which small containers lack.
    """
    return time.strftime("%Y%m%d  %H:%M:%S", time.localtime(at))


def zoned_time_text(at: float) -> str:
    """Return the time in the form of completed orders and the handshake: one space, then a zone."""
    return time.strftime("%Y%m%d %H:%M:%S UTC", time.gmtime(at))


def local_midnight(at: float) -> float:
    """Return the start of the day of `at`, in the gateway's own zone."""
    year, month, day = time.localtime(at)[:3]
    return time.mktime((year, month, day, 0, 0, 0, 0, 0, -1))


def parse_time(text: str) -> float | None:
    """Read ``20261122 10:00:00`` with an optional zone, or ``20261122-10:00:00``, which is UTC; else None."""
    words = text.replace("-", " ", 1).split()
    if text[8:9] == "-" and len(words) == 2:
        words.append("UTC")
    if not words or len(words) > 3:
        return None
    clock = words[1] if len(words) > 1 else "00:00:00"
    try:
        moment = datetime.strptime(f"{words[0]} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the zone follows
        if len(words) == 3:
            zone = UTC if words[2] in ("UTC", "GMT") else ZoneInfo(words[2])
            return moment.replace(tzinfo=zone).timestamp()
        return moment.timestamp()
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):
        return None
