"""How every service writes its log: one line for each event that matters, to stderr."""

from __future__ import annotations

import sys

from loguru import logger


def configure_log() -> None:
    """Write lines of time, level and text; whoever runs the process knows its name.

    loguru's default shows the values of variables in tracebacks, which may hold what no log should.
    """
    logger.remove()
    logger.add(
        sys.stderr,
        format="{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message}",
        level="INFO",
        backtrace=False,
        diagnose=False,
    )
