"""One process of a kind for each home folder, kept by a lock file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO


class AlreadyRunning(Exception):
    """Another process of the same kind uses this home folder."""


class HomeLock:
    """An exclusive lock on `home/<name>.lock`, held until `release` or the end of the process.

    The kernel drops it with the process, so a kill -9 leaves nothing behind that must be cleaned up.

    Raises:
        AlreadyRunning: somebody holds it; the text names the process id if it is known.
        OSError: the file cannot be written.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._path = home / f"{name}.lock"
        self._file = self._lock(f"another {name} (process {{}}) uses {home}")
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let another process have the home, and leave no file behind."""
        # Removed while it is held: whoever has opened it meanwhile sees that it is not the one any more.
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _lock(self, complaint: str) -> IO[str]:
        while True:
            file = self._path.open("a+", encoding="ascii")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read(20).strip() or "unknown"
                file.close()
                raise AlreadyRunning(
                    f"{complaint.format(holder)}. Stop it first, or give this one another ORDERFUSE_HOME."
                ) from None
            if self._is_the_one(file):
                return file
            file.close()

    def _is_the_one(self, file: IO[str]) -> bool:
        """Whether the locked file still has its name; else its owner has just removed it, and another may lock."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
