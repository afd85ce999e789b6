"""The settings of one circuit, checked when they are given, so that nothing behind them checks again. Pure."""

from dataclasses import dataclass
from typing import TypeGuard

from orderfuse.text import shown

MAX_COUNT = 1_000_000
MAX_TRIALS = 1_000
MAX_SECS = 10_000_000
MAX_MULTIPLIER = 100


@dataclass(slots=True)
class CircuitBreakerConfig:
    """When a circuit opens, how long it stays open, and what closes it again.

    A breaker takes a copy at its start: changing a field afterwards changes no running breaker.

    Attributes:
        failure_threshold: This many failures inside the window open the circuit; 1 to 1,000,000.
        failure_window_secs: The sliding window, in seconds; above 0, at most 10,000,000.
            A failure that is exactly this old still counts.
        open_timeout_secs: How long OPEN lasts before HALF_OPEN, in seconds; above 0, at most 10,000,000.
        half_open_max_tries: This many successful trial orders close the circuit, and no more trials than
            this may be out or have succeeded at once; 1 to 1,000.
        half_open_timeout_secs: How long a trial order's outcome is waited for, in seconds; above 0, at most
            10,000,000. A trial that is exactly this old has failed.
        consecutive_failure_threshold: This many failures in a row without a success open the circuit, however
            slowly they come; 1 to 1,000,000, or None for no such rule.
        open_timeout_multiplier: Each reopening from HALF_OPEN waits this many times longer; 1 to 100.
        open_timeout_max_secs: The cap of that growth, in seconds; above 0, at most 10,000,000. It bounds the
            growth only: a cap below open_timeout_secs shortens no wait, it stands for open_timeout_secs.

    Raises:
        ValueError: A value of the wrong type or outside its range; names the field, the value and the range.
    """

    failure_threshold: int = 5
    failure_window_secs: float = 60
    open_timeout_secs: float = 300
    half_open_max_tries: int = 3
    half_open_timeout_secs: float = 30
    consecutive_failure_threshold: int | None = None
    open_timeout_multiplier: float = 1.0
    open_timeout_max_secs: float = 3600

    def __post_init__(self) -> None:
        _check_count("failure_threshold", self.failure_threshold, MAX_COUNT)
        _check_secs("failure_window_secs", self.failure_window_secs)
        _check_secs("open_timeout_secs", self.open_timeout_secs)
        _check_count("half_open_max_tries", self.half_open_max_tries, MAX_TRIALS)
        _check_secs("half_open_timeout_secs", self.half_open_timeout_secs)
        if self.consecutive_failure_threshold is not None:
            _check_count("consecutive_failure_threshold", self.consecutive_failure_threshold, MAX_COUNT, or_none=True)
        _check_multiplier("open_timeout_multiplier", self.open_timeout_multiplier)
        _check_secs("open_timeout_max_secs", self.open_timeout_max_secs)


def secs_to_ns(secs: float) -> int:
    """Whole nanoseconds, at least one: a duration above 0 must not be rounded to none at all."""
    return max(1, secs * 1_000_000_000 if isinstance(secs, int) else round(secs * 1e9))


def _check_count(field: str, value: object, highest: int, *, or_none: bool = False) -> None:
    # bool is an int to Python, but a threshold of True is a mistake in somebody's settings.
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= highest:
        return
    allowed = f"an integer from 1 to {highest:,}" + (", or None" if or_none else "")
    raise ValueError(f"{field} must be {allowed}, not {shown(value)}")


def _check_secs(field: str, value: object) -> None:
    if not (_is_number(value) and 0 < value <= MAX_SECS):
        raise ValueError(f"{field} must be a number of seconds above 0 and at most {MAX_SECS:,}, not {shown(value)}")


def _check_multiplier(field: str, value: object) -> None:
    if not (_is_number(value) and 1 <= value <= MAX_MULTIPLIER):
        raise ValueError(f"{field} must be a number from 1 to {MAX_MULTIPLIER}, not {shown(value)}")


def _is_number(value: object) -> TypeGuard[float]:
    # NaN and infinity are numbers too, and fail every comparison with a range.
    return isinstance(value, int | float) and not isinstance(value, bool)
