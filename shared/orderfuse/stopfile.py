"""The file `STOP` in the home: while it is there nothing is placed, whoever made it.

`touch` is on every machine, and works when the breaker is dead; so the rims of breaker and executor look for this
file each tick. What cannot be looked at counts as being there: not knowing means not sending.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from orderfuse.home import sync, user_name, why
from orderfuse.text import plain

FILE = "STOP"
MAX_REASON = 200
# A line of 200 characters has at most 800 bytes of UTF-8; whatever else the file holds is not read.
_MAX_READ = 1024
DEFAULT_REASON = f"the file {FILE}"


@dataclass(frozen=True, slots=True)
class Stop:
    """Why nothing may be placed now.

    Attributes:
        reason: the first line of the file, at most 200 characters; or what is in the way of looking.
        owner: whose file it is, as a name of a user; empty if that cannot be seen.
    """

    reason: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A file as we left it, so that only this one is taken away again."""

    inode: int
    changed_ns: int


class StopFile:
    """The file `STOP` of one home. For one thread."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.path = home / FILE
        self._read: tuple[tuple[int, int, int], Stop] | None = None

    def look(self) -> Stop | None:
        """What stops everything now; None if there is no such file. One lstat, or two where there is none."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return self._home_is_gone()
        except OSError as error:
            return Stop(f"{self.path} cannot be looked at: {why(error)}")
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._read is None or self._read[0] != key:
            self._read = (key, Stop(self._reason(found), user_name(found.st_uid)))
        return self._read[1]

    def make(self, reason: str) -> Made | None:
        """Make the file, on the disk when this returns; None if it was there already, which stops just as well.

        The name is what stops: a full disk that has no room for the reason may still take it. So does one that
        cannot be synced: only a power failure would take it away.

        Raises:
            OSError: it could not be made.
        """
        try:
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return None
        try:
            with contextlib.suppress(OSError):
                sync(self._home)
            return _write(file, reason)
        finally:
            os.close(file)

    def rewrite(self, made: Made, reason: str) -> Made | None:
        """Put another reason into the file that `make` made; None if it has gone, or is somebody else's by now.

        At no moment is there no file, and at none is it empty.

        Raises:
            OSError: it could not be opened.
        """
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return _write(file, reason) if _made(os.fstat(file)) == made else None
        finally:
            os.close(file)

    def take_back(self, made: Made) -> bool:
        """Remove the file that `make` made; False if it has gone, or is somebody else's by now.

        Raises:
            OSError: it could not be removed.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return False
        if _made(found) != made:
            return False
        self.remove()
        return True

    def remove(self) -> None:
        """Remove the file, whoever made it, on the disk when this returns; without one it does nothing.

        Raises:
            OSError: it could not be removed; it still stops.
        """
        try:
            if stat.S_ISDIR(os.lstat(self.path).st_mode):
                self.path.rmdir()
            else:
                self.path.unlink()
        except FileNotFoundError:
            pass
        sync(self._home)

    def _home_is_gone(self) -> Stop | None:
        try:
            os.lstat(self._home)
        except OSError as error:
            return Stop(f"the home folder {self._home} cannot be looked at: {why(error)}")
        return None

    def _reason(self, found: os.stat_result) -> str:
        if not stat.S_ISREG(found.st_mode):
            # A folder, a link, whatever stands there: it stops, and says nothing.
            return DEFAULT_REASON
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return DEFAULT_REASON
        try:
            start = os.read(file, _MAX_READ).decode("utf-8", errors="replace")
        except OSError:
            return DEFAULT_REASON
        finally:
            os.close(file)
        first = start.splitlines()[0].strip() if start.strip() else ""
        return plain(first, MAX_REASON) or DEFAULT_REASON


def _made(found: os.stat_result) -> Made:
    return Made(found.st_ino, found.st_mtime_ns)


def _write(file: int, reason: str) -> Made:
    """Make the reason all that the file holds, as far as there is room on the disk."""
    line = f"{plain(reason, MAX_REASON)}\n".encode()
    with contextlib.suppress(OSError):
        os.ftruncate(file, os.pwrite(file, line, 0))
        os.fsync(file)
    return _made(os.fstat(file))
