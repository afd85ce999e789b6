"""How every service writes its log: one line for each event that matters, to stderr."""

from __future__ import annotations

import sys
from typing import Any

from loguru import logger

from orderfuse.bus.words import Severity, Words
from orderfuse.text import plain

# Longer than any message that says a reason (500) with what it is about.
MAX_MESSAGE = 900
_LEVELS = {Severity.DEBUG: "DEBUG", Severity.INFO: "INFO", Severity.WARN: "WARNING", Severity.PAGE: "ERROR"}


def configure_log() -> None:
    """Write lines of time, level and text; whoever runs the process knows its name.

    loguru's default shows the values of variables in tracebacks, which may hold what no log should.
    """
    logger.remove()
    logger.configure(patcher=_one_line)
    logger.add(
        sys.stderr,
        format="{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {message}",
        level="INFO",
        backtrace=False,
        diagnose=False,
    )


def tell(words: Words) -> None:
    """Write what is said of an event, at the level that its severity has in a log."""
    logger.log(_LEVELS[words.severity], "{}", words.sentence)


def _one_line(record: Any) -> None:
    """Reasons and ids are others' words: none may begin a line of its own, or move the reader's cursor."""
    record["message"] = plain(record["message"], MAX_MESSAGE)
