"""What can become of a journal between the end of its process and the next start: gone, emptied, or an older copy.

Both journals at once as old copies are left out: then nobody is left who knows better, as docs/operating.md says.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path

LOSSES = {
    "deleted": "the file is gone, and its log with it",
    "log_left": "the file is gone, its log is still there",
    "log_deleted": "the log is gone, with what was committed last",
    "emptied": "the file has 0 bytes",
    "older": "the file is a copy that was taken earlier",
}
# Of which process, one after the other.
VICTIMS = (("breaker",), ("executor",), ("breaker", "executor"), ("executor", "breaker"))


class Copies:
    """Copies of both journals, taken by SQLite's own backup while their processes run."""

    def __init__(self, home: Path) -> None:
        self._home = home
        # When (wall clock); 0: not yet.
        self.taken_ns = 0

    def take(self) -> None:
        """Take them once. A journal that is not there yet has none: its older copy is no file at all."""
        self.taken_ns = time.time_ns()
        for name in ("breaker", "executor"):
            path = self._home / f"{name}.sqlite"
            if path.exists():
                with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(self._of(name))) as copy:
                    source.backup(copy)

    def strike(self, loss: str, name: str) -> None:
        """Do to the journal of this process, which must have ended, what the loss says."""
        path = self._home / f"{name}.sqlite"
        log, index = path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")
        match loss:
            case "deleted":
                gone = [path, log, index]
            case "log_left":
                gone = [path]
            case "log_deleted":
                gone = [log, index]
            case "emptied":
                path.write_bytes(b"")
                gone = []
            case _:
                gone = [path, log, index]
        for each in gone:
            each.unlink(missing_ok=True)
        if loss == "older":
            with contextlib.suppress(FileNotFoundError):
                path.write_bytes(self._of(name).read_bytes())

    def _of(self, name: str) -> Path:
        return self._home / f"{name}.copy"
