"""The wire record: every message that went over the wire, when, and with which fields."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from orderfuse.home import why

# In memory only: what a long test can look back on. The file keeps everything.
MAX_ENTRIES_IN_MEMORY = 200_000


@dataclass(frozen=True, slots=True)
class WireEntry:
    """One message. `ns` is the monotonic clock, read when it arrived or right before it was written."""

    ns: int
    client_id: int | None  # None until startApi
    direction: str  # "in": from the client, "out": to it
    message: str
    fields: dict[str, Any]


class WireRecord:
    """Keeps entries in memory, in a file of JSON lines, for followers, or nowhere.

    Each line is handed to the kernel before the message it tells of is sent on, so that killing the gateway
    loses no line about a message that anybody saw.

    Args:
        path: File to append to, None for no file. It is created with mode 0600.
        in_memory: Keep the last `MAX_ENTRIES_IN_MEMORY` entries.
    """

    def __init__(self, path: Path | None = None, *, in_memory: bool = False) -> None:
        self._entries: deque[WireEntry] | None = deque(maxlen=MAX_ENTRIES_IN_MEMORY) if in_memory else None
        self._path = path
        self._file: int | None = None
        self._complaint = ""
        # Called with each line, its end included.
        self.followers: set[Callable[[bytes], None]] = set()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    @property
    def active(self) -> bool:
        """Tell whether anybody wants entries; without, nothing need be decoded."""
        return self._entries is not None or self._file is not None or bool(self.followers)

    def add(self, entry: WireEntry) -> None:
        """Keep one entry."""
        if self._entries is not None:
            self._entries.append(entry)
        if self._file is None and not self.followers:
            return
        text = json.dumps(
            {
                "ns": entry.ns,
                "client_id": entry.client_id,
                "dir": entry.direction,
                "message": entry.message,
                "fields": entry.fields,
            },
            separators=(",", ":"),
        )
        line = text.encode() + b"\n"
        if self._file is not None:
            self._write(self._file, line)
        for follower in list(self.followers):
            follower(line)

    def _write(self, file: int, line: bytes) -> None:
        try:
            _write_all(file, line)
        except OSError as error:
            # asyncio takes an OSError for a broken connection, closes it and says nothing.
            if self._complaint != str(error):
                self._complaint = str(error)
                logger.error(
                    "the wire record {} (paper.wire_record) cannot be written, so no message is served: {}. "
                    "Make room on its disk, or name another file",
                    self._path,
                    why(error),
                )
            raise

    def entries(self, *messages: str, direction: str | None = None) -> Iterator[WireEntry]:
        """Yield the entries in memory, oldest first, optionally of some messages or one direction only."""
        for entry in list(self._entries or ()):
            if (not messages or entry.message in messages) and direction in (None, entry.direction):
                yield entry

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
