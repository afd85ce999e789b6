"""Room on the disk that is held back for the one thing that must be remembered when there is no other: a stop."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

# A trip takes a few pages of the journal's log, and to open the journal again a few dozen kB.
SIZE = 1_000_000
# Not taken from a disk that is nearly full: others need that more, and what is tripped by then is OPEN anyway.
ROOM = 10 * SIZE
_CHUNK = b"\0" * 100_000


@dataclass(frozen=True, slots=True)
class Reserve:
    """A file that takes up room until it is needed."""

    path: Path

    def hold(self) -> None:
        """Take up the room, if that is not done and there is plenty. What cannot be had now is tried again."""
        with contextlib.suppress(OSError):
            if self._holds() or shutil.disk_usage(self.path.parent).free < ROOM:
                return
            self.path.unlink(missing_ok=True)
            with os.fdopen(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                # Written and not only made long: a file may be long and have no room.
                for _ in range(SIZE // len(_CHUNK)):
                    file.write(_CHUNK)

    def release(self) -> bool:
        """Give the room to whoever asks next; whether there was any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True

    def _holds(self) -> bool:
        try:
            return self.path.stat().st_size >= SIZE
        except FileNotFoundError:
            return False
