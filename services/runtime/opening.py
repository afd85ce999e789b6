"""Opening a journal's file: whole or not at all, whatever is found there and whenever the process dies.

What cannot be read is laid aside and a new journal begun, since nobody trades without one; the caller is told, and
decides what that means. What cannot be opened now (no room, no permission, held by another program) is an error,
and nothing is touched. A file of an older version becomes a new one, and the old one is kept beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from loguru import logger

from orderfuse.home import sync
from services.runtime.sqlite import Connection, Database, JournalError, Migration, Schema, Torn, transaction

T = TypeVar("T")
# SQLite keeps these beside a file: what is committed and not in it yet, and the index of that.
LOGS = ("-wal", "-shm")
# What SQLite says of a file that is none of its own, or damaged.
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Four times what SQLite lets the log grow to before it is brought into the file.
LOG_BYTES = 16_000_000
# It could not be written: the disk is full, or will not take it.
NOT_WRITTEN = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


@dataclass(frozen=True, slots=True)
class Opened(Generic[T]):
    """An open journal.

    Attributes:
        database: in WAL mode; what else it needs is the caller's.
        found: what `read` has found there.
        trouble: why the journal of before could not be read and where it is now, or "".
    """

    database: Database
    found: T
    trouble: str


def open_journal(
    path: Path,
    schema: Schema,
    *,
    fill: Callable[[Connection, str], None],
    read: Callable[[Connection], T],
    lock_wait_secs: float,
    wall_ns: int,
) -> Opened[T]:
    """Open a journal; make it if there is none, migrate it if it is older, begin anew if it is torn.

    Args:
        path: the file.
        schema: what must be in it.
        fill: puts into a new journal what must be there from the beginning. It gets the trouble that made a new one
            necessary, or "" for a first start; what follows from a trouble must be in the file at once, since
            the process may die before it does anything else.
        read: what the caller needs of it at the start. It raises `Torn` for what it does not understand.
        lock_wait_secs: how long a statement waits while another program holds the file.
        wall_ns: the wall clock, nanoseconds: part of a torn file's name.

    Raises:
        JournalError: it cannot be opened now, or a newer version wrote it. Nothing was laid aside.
    """
    try:
        return _Opening(path, schema, fill, read, lock_wait_secs).run(wall_ns)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"the journal {path} cannot be opened: {error}. Check free space ({_free(path)}) and permissions of "
            "its folder, and that no other program holds it, or set ORDERFUSE_HOME to another."
        ) from error


def in_memory(schema: Schema, fill: Callable[[Connection, str], None]) -> Database:
    """A journal that ends with the process, for a script or a test."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    _make_tables(database, schema, fill, "")
    return Database(database, "the journal in memory")


@dataclass(slots=True)
class _Opening(Generic[T]):
    path: Path
    schema: Schema
    fill: Callable[[Connection, str], None]
    read: Callable[[Connection], T]
    lock_wait_secs: float

    def run(self, wall_ns: int) -> Opened[T]:
        if self.path.is_symlink():
            if not self.path.exists():
                raise JournalError(
                    f"the journal {self.path} is a link to {self.path.readlink()}, which is not there. "
                    "Mount the disk that it is on, or take the link away to begin with an empty journal."
                )
            # Its logs and all that is kept are beside the file itself.
            self.path = self.path.resolve()
        if self._is_first_start():
            # Whole or not at all: an empty file under its name is a torn one.
            self._put(self._create(""), self.path)
        try:
            self._migrate_if_older()
            return self._open("")
        except JournalError:
            raise
        except (sqlite3.DatabaseError, Torn) as error:
            if not _is_torn(error):
                raise
            return self._open(self._begin_anew(str(error), wall_ns))

    # -- what is there -----------------------------------------------------------------------------------

    def _is_first_start(self) -> bool:
        """Whether there never was a journal: none is here, no log of one, and none that was laid aside."""
        return not (self.path.exists() or self._beside("-wal").exists() or self._laid_aside())

    def _laid_aside(self) -> list[Path]:
        return list(self.path.parent.glob(f"{self.path.name}.unreadable-*"))

    def _version(self) -> int:
        """The schema that the file has. Read without writing: what a newer version wrote stays as it is."""
        if not self.path.exists():
            raise Torn("the file is missing")
        if not self.path.stat().st_size:
            # SQLite would take this for a new file, and throw away what its log still has.
            raise Torn("the file is empty")
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=self.lock_wait_secs)) as database:
            version = self.schema.read_version(database)
        if version < 1:
            raise Torn(f"it has the schema {version}, which no version has written")
        return version

    def _open(self, trouble: str) -> Opened[T]:
        try:
            return self._open_once(trouble)
        except sqlite3.OperationalError as error:
            if _code(error) not in NOT_WRITTEN:
                raise
            # Its end has brought the log of a process that was killed into the file, and given back the log's room.
            return self._open_once(trouble)

    def _open_once(self, trouble: str) -> Opened[T]:
        database = sqlite3.connect(self.path, isolation_level=None, timeout=self.lock_wait_secs)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            # A log that somebody's long reading made large gives its room back when it begins anew.
            database.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            return Opened(Database(database, f"the journal {self.path}"), self.read(database), trouble)
        except BaseException:
            database.close()
            raise

    # -- making and laying aside -------------------------------------------------------------------------

    def _create(self, trouble: str) -> Path:
        """Make an empty journal, complete and on the disk, under a name that nobody reads."""
        begun = self._begin(".begun")
        with closing(sqlite3.connect(begun, isolation_level=None)) as database:
            # Without it a file never shrinks, and it can only be had from the beginning.
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")
            _make_tables(database, self.schema, self.fill, trouble)
        sync(begun)
        return begun

    def _begin_anew(self, why: str, wall_ns: int) -> str:
        """Lay the unreadable journal aside with its logs, so that a person can still save what is in it."""
        aside = f"{self.path.name}.unreadable-{wall_ns}"
        if not any(self._beside(suffix).exists() for suffix in ("", *LOGS)):
            # An earlier start came as far as that.
            aside = max(path.name for path in self._laid_aside())
        trouble = f"the journal could not be read ({why}) and was laid aside as {aside}"
        # First, so that nothing is touched if there is no room for it.
        begun = self._create(trouble)
        # The file before its logs: alone they are torn too, so the next start goes on here if this one dies.
        for suffix in ("", *LOGS):
            with contextlib.suppress(FileNotFoundError):
                self._beside(suffix).replace(self.path.with_name(aside + suffix))
        sync(self.path.parent)
        self._put(begun, self.path)
        logger.error("{}: {}", self.path, trouble)
        return trouble

    # -- older versions ----------------------------------------------------------------------------------

    def _migrate_if_older(self) -> None:
        version = self._version()
        if version > self.schema.version:
            raise JournalError(
                f"the journal {self.path} was written by a newer orderfuse (schema {version}, this one "
                f"knows {self.schema.version}). Start that version, or set ORDERFUSE_HOME to another folder."
            )
        if version == self.schema.version:
            return
        needed = 2 * self._size("") + 3 * self._size("-wal")
        began = time.monotonic()
        try:
            kept = self._migrate(version)
        except (sqlite3.Error, OSError, Torn) as error:
            for name in (".kept", ".migrated"):
                self._remove(name)
            if isinstance(error, Torn) or _code(error) in DAMAGED:
                raise
            raise JournalError(
                f"the journal {self.path} of schema {version} could not be made one of schema {self.schema.version}: "
                f"{error}. It is as it was. This needs {needed:,} bytes in its folder ({_free(self.path)}). Make room, "
                "see that you may write there and that no other program holds it, or start the version before."
            ) from error
        logger.info(
            "journal {} migrated from schema {} to {} in {:.1f} s, the old one is kept as {}",
            *(self.path, version, self.schema.version, time.monotonic() - began, kept.name),
        )

    def _migrate(self, version: int) -> Path:
        """Make a copy to keep and a new file; the new one takes the old one's place in one step.

        Killed at any moment before that, the old one is as it was, and the next start begins again.
        """
        kept, migrated = self._begin(".kept"), self._begin(".migrated")
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=self.lock_wait_secs)) as old:
            # From here on nobody else writes it; a backup would wait for them without end.
            old.execute("PRAGMA locking_mode=EXCLUSIVE")
            with transaction(old):
                pass
            with closing(sqlite3.connect(kept, isolation_level=None)) as copy:
                old.backup(copy)
            if not old.execute("PRAGMA auto_vacuum").fetchone()[0]:
                # For the new file: in one that is there it cannot be switched on, and it would be written for nothing.
                old.execute("PRAGMA auto_vacuum=INCREMENTAL")
            old.execute("VACUUM INTO ?", (str(migrated),))
            with closing(sqlite3.connect(migrated, isolation_level=None)) as new:
                new.execute("PRAGMA journal_mode=MEMORY")
                with transaction(new):
                    for number in range(version, self.schema.version):
                        _apply(self.schema.migrations[number], new)
                    new.execute(f"PRAGMA user_version={self.schema.version}")
            # Its log goes into the file and away, or this fails: beside the new file it would be taken for that one's.
            old.execute("PRAGMA journal_mode=DELETE")
        name = self._beside(f".schema-{version}")
        for begun, place in ((kept, name), (migrated, self.path)):
            sync(begun)
            self._put(begun, place)
        return name

    # -- files -------------------------------------------------------------------------------------------

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _begin(self, suffix: str) -> Path:
        """An empty file of its owner only, to be filled and then renamed. What an earlier start left is removed."""
        self._remove(suffix)
        path = self._beside(suffix)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def _remove(self, suffix: str) -> None:
        for end in ("", "-journal", *LOGS):
            self._beside(suffix + end).unlink(missing_ok=True)

    def _put(self, complete: Path, place: Path) -> None:
        """Give a file that is complete and on the disk its name, for good."""
        complete.replace(place)
        sync(self.path.parent)

    def _size(self, suffix: str) -> int:
        path = self._beside(suffix)
        return path.stat().st_size if path.exists() else 0


def _make_tables(database: Connection, schema: Schema, fill: Callable[[Connection, str], None], trouble: str) -> None:
    with transaction(database):
        _run_script(database, schema.text)
        fill(database, trouble)
        database.execute(f"PRAGMA user_version={schema.version}")


def _apply(migration: Migration, database: Connection) -> None:
    if isinstance(migration, str):
        _run_script(database, migration)
    else:
        migration(database)


def _is_torn(error: Exception) -> bool:
    """Whether it is the file that is wrong, and not the disk or who else holds it."""
    # A statement that the file's tables do not fit, too.
    return not isinstance(error, sqlite3.OperationalError) or _code(error) == sqlite3.SQLITE_ERROR


def _code(error: Exception) -> int:
    """SQLite's number of an error without its details; what Python says by itself has none, and is a plain one."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _free(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free:,} bytes are free"
    except OSError as error:
        return f"it cannot be seen: {error}"


def _run_script(database: Connection, text: str) -> None:
    """Run SQL of several statements inside the transaction that is open; `executescript` would commit it."""
    statement = ""
    for piece in text.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            database.execute(statement)
            statement = ""
