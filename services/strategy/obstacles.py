"""Says once why nothing can be sent, and counts how often it was so."""

from __future__ import annotations

from typing import Any

from orderfuse.errors import OrderError


class Obstacles:
    """Notes each no: the first of a kind in words, its repeats as a number.

    Args:
        log: where to tell it: anything with loguru's `info` and `warning`.
    """

    def __init__(self, log: Any) -> None:
        self._log = log
        self._kind: tuple[str, str] | None = None
        self._repeats = 0

    def note(self, no: OrderError) -> None:
        """An order was not sent."""
        kind = (type(no).__name__, str(getattr(no, "code", "")))
        if kind == self._kind:
            self._repeats += 1
            return
        self._tell_repeats()
        self._kind = kind
        self._log.warning("waiting: {}", no)

    def over(self) -> None:
        """An order was sent."""
        if self._kind is not None:
            self._tell_repeats()
            self._log.info("trading again")
            self._kind = None

    def _tell_repeats(self) -> None:
        if self._repeats:
            self._log.warning("... and {} more times", self._repeats)
        self._repeats = 0
