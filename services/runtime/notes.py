"""Lines for the log, as what decides hands them to its rim. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True, slots=True)
class Note:
    """One line."""

    level: Level
    text: str


def info(text: str) -> Note:
    """What happened, for whoever reads the log."""
    return Note("INFO", text)


def warning(text: str) -> Note:
    """Something that a person should know."""
    return Note("WARNING", text)


def error(text: str) -> Note:
    """Something that a person should look at."""
    return Note("ERROR", text)
