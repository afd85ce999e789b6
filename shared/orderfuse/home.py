"""The home folder: who must own it, and the lock file that keeps each kind of process to one in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import stat
import sys
from itertools import islice
from pathlib import Path
from typing import IO

from orderfuse.errors import SettingsError
from orderfuse.text import nearest, plain

HOME_VARIABLE = "ORDERFUSE_HOME"
# The longest path of a unix socket: sizeof(sun_path) less its NUL (unix(7); 104 bytes on macOS).
MAX_SOCKET_PATH = 107 if sys.platform.startswith("linux") else 103
# What an error shows of a value: enough to recognise it, and still one line.
_MAX_SHOWN = 200


def home_folder(chosen: Path) -> Path:
    """The absolute path of a home folder that only its owner can enter, created if missing.

    Raises:
        SettingsError: it cannot be created, is no folder, or is not ours alone.
    """
    try:
        folder = chosen.expanduser().absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _guard(folder)
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"the home folder {plain(str(chosen), _MAX_SHOWN)!r} cannot be used: {why(error)}. "
            f"Set {HOME_VARIABLE} to a folder that you own and can write to."
        ) from error
    return folder


def sync(path: Path) -> None:
    """Write a file or folder through to the disk; of a folder that means the names in it.

    Raises:
        OSError: it is not there, or the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def existing_folder(chosen: Path) -> Path:
    """The absolute path of a home folder that a person has typed: it must be there, and is left as it is.

    Raises:
        SettingsError: it is not there, or is no folder; the text names a folder of nearly the same name.
    """
    named = plain(str(chosen), _MAX_SHOWN)
    folder = chosen
    try:
        folder = chosen.expanduser().absolute()
        if stat.S_ISDIR(folder.stat().st_mode):
            return folder
    except FileNotFoundError:
        raise SettingsError(f"there is no folder {named}{_nearest_sibling(folder)}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise SettingsError(
            f"the home folder {named} cannot be used: {why(error)}. Name a folder of your own."
        ) from error
    raise SettingsError(f"the home {named} is a file. Name the folder that holds it.")


def _nearest_sibling(folder: Path) -> str:
    try:
        # Only for a hint: of a folder with very many others it looks at the first 1000.
        siblings = [each.name for each in islice(folder.parent.iterdir(), 1000) if each.is_dir()]
    except OSError:
        siblings = []
    near = nearest(folder.name, siblings)
    return f"; did you mean {folder.parent / near}?" if near else ": a breaker makes it when it starts with it."


def check_socket_path(path: str, setting: str) -> None:
    """Refuse a path that no unix socket can have; `setting` is what makes it so long.

    Raises:
        SettingsError: it is too long.
    """
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH:
        raise SettingsError(
            f"the socket {plain(path, _MAX_SHOWN)!r} would have a path of {length} bytes, "
            f"allowed are {MAX_SOCKET_PATH}. Set {setting} to a shorter one."
        )


def why(error: Exception) -> str:
    """What went wrong, in words: without the number, and without the path that stands beside it anyway."""
    match error:
        case FileExistsError():
            return "it is a file, not a folder"
        case NotADirectoryError():
            return "one of its parents is a file, not a folder"
        case FileNotFoundError():
            return "it is not there and cannot be created"
        case IsADirectoryError():
            return "it is a folder, not a file"
        case OSError(strerror=str(words)):
            return words
        case _:
            return str(error).removesuffix(".")


def _guard(folder: Path) -> None:
    """Let only the owner in: whoever can enter this folder can send orders."""
    found = folder.stat()
    me = os.geteuid()
    if me not in (0, found.st_uid):
        raise PermissionError(None, f"it belongs to {user_name(found.st_uid)}, and this is {user_name(me)}")
    if found.st_mode & stat.S_IWOTH:
        # Such as /tmp, which would be of no use to anybody else afterwards.
        raise PermissionError(None, "everybody may write to it, so it serves others too")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def user_name(number: int) -> str:
    """The name of a user, or its number where the system knows none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


class AlreadyRunning(Exception):
    """Another process of the same kind uses this home folder."""


class HomeLock:
    """An exclusive lock on `home/<name>.lock`, held until `release` or the end of the process.

    The kernel drops it with the process, so a kill -9 leaves nothing behind that must be cleaned up.

    Raises:
        AlreadyRunning: somebody holds it; the text names the process id if it is known.
        SettingsError: the file cannot be written.
    """

    def __init__(self, home: Path, name: str) -> None:
        self._path = home / f"{name}.lock"
        try:
            self._file = self._lock(f"another {name} (process {{}}) uses {home}")
            self._sign()
        except OSError as error:
            raise SettingsError(
                f"{self._path} cannot be written: {why(error)}. Make room there, or set {HOME_VARIABLE} to a folder "
                "that you own and can write to."
            ) from error

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
            except BlockingIOError:
                file.seek(0)
                holder = file.read(20).strip() or "unknown"
                file.close()
                raise AlreadyRunning(
                    f"{complaint.format(holder)}. Stop it first, or give this one another ORDERFUSE_HOME."
                ) from None
            if self._is_the_one(file):
                return file
            file.close()

    def _sign(self) -> None:
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()))
            self._file.flush()
        except OSError:
            # Closing tries to write the rest once more.
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    def _is_the_one(self, file: IO[str]) -> bool:
        """Whether the locked file still has its name; else its owner has just removed it, and another may lock."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
