"""What ib_insync and eventkit log, in our log: each text once in a while, not at every retry."""

from __future__ import annotations

import logging

from loguru import logger


class _QuietHandler(logging.Handler):
    """The standard log of ib_insync and eventkit into ours: each text once in a while, not at every retry."""

    _MAX_TEXTS = 200

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[:300]
        if text in self._told or len(self._told) >= self._MAX_TEXTS:
            return
        self._told.add(text)
        logger.warning("{}: {}", record.name, text)


def quiet_libraries() -> None:
    """Route the logs of ib_insync and eventkit, without the flood. What its client says, we say ourselves (`life`)."""
    for name in ("ib_insync", "eventkit"):
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.propagate = False
        if not any(isinstance(handler, _QuietHandler) for handler in library.handlers):
            library.addHandler(_QuietHandler())
    logging.getLogger("ib_insync.client").setLevel(logging.CRITICAL)
