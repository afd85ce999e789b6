"""Moments as the protocol writes them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def execution_time_text(at: float) -> str:
    """Return the local time in the form of executions: two spaces, no zone.

    A zone's name would have to be known to the client's time zone data base, which small containers lack.
    """
    return f"{_local(at):%Y%m%d  %H:%M:%S}"


def zoned_time_text(at: float) -> str:
    """Return the time in the form of completed orders and the handshake: one space, then a zone."""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d %H:%M:%S} UTC"


def local_midnight(at: float) -> float:
    """Return the start of the day of `at`, in the gateway's own zone."""
    # Without a zone: the offset of midnight may be another than that of `at`.
    return datetime.combine(_local(at).date(), time.min).timestamp()


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


def _local(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone()
