"""An open journal's database: transactions, reading, single values under a key, and room that is given back.

Whatever SQLite says goes wrong becomes a `JournalError` that names the file. How a file is opened, made and migrated
is in `opening`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

Connection = sqlite3.Connection
Migration = str | Callable[[Connection], None]
Values = Sequence[Any] | Mapping[str, Any]


class JournalError(Exception):
    """The journal cannot be used; the text says why and what to do."""


class ReadError(JournalError):
    """The disk does not tell."""


class Torn(Exception):
    """What stands in the file is not what a journal of ours can have in it."""


def user_version(database: Connection) -> int:
    """The schema's number as SQLite's header has it."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of a journal, and how those of earlier versions become them.

    Attributes:
        text: SQL that makes them in an empty file. One is `meta (key, value)`.
        version: their number, from 1.
        migrations: for each earlier version, SQL or a function that makes the next version of it. Neither begins
            nor ends a transaction: all of them are in one.
        read_version: where the number stands.
    """

    text: str
    version: int
    migrations: Mapping[int, Migration]
    read_version: Callable[[Connection], int] = user_version

    def __post_init__(self) -> None:
        if set(self.migrations) != set(range(1, self.version)):
            raise ValueError(f"each schema before {self.version} has a migration, given are {sorted(self.migrations)}")


@contextmanager
def transaction(database: Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing of it.

    Raises:
        sqlite3.Error: nothing was kept.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already.
        with contextlib.suppress(sqlite3.Error):
            if database.in_transaction:
                database.execute("ROLLBACK")
        raise


class Database:
    """What a journal writes to and reads from once it is open.

    Args:
        connection: in autocommit mode.
        where: what errors call it, such as "the journal /home/me/.orderfuse/breaker.sqlite".
    """

    def __init__(self, connection: Connection, where: str) -> None:
        self.connection = connection
        self.where = where

    @contextmanager
    def transaction(self, *, synced: bool | None = None) -> Iterator[None]:
        """Commit what is written inside, or nothing of it.

        Args:
            synced: whether the commit waits until all of it is on the disk, so that it outlives a power cut; from
                now on. None: as before.

        Raises:
            JournalError: nothing was kept.
        """
        try:
            if synced is not None:
                self.connection.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
            with transaction(self.connection):
                yield
        except sqlite3.Error as error:
            raise JournalError(
                f"{self.where} cannot be written: {error}. Make room on its disk, or see that you may write there."
            ) from error

    def execute(self, statement: str, values: Values = ()) -> sqlite3.Cursor:
        """Run one statement, inside a transaction, which says what goes wrong."""
        return self.connection.execute(statement, values)

    def executemany(self, statement: str, rows: Iterable[Values]) -> None:
        """Run one statement for each row, inside a transaction, which says what goes wrong."""
        self.connection.executemany(statement, rows)

    def read(self, query: str, values: Values = ()) -> list[Any]:
        """All rows of a query.

        Raises:
            ReadError: the disk does not tell.
        """
        with self._reading():
            return self.connection.execute(query, values).fetchall()

    def read_one(self, query: str, values: Values = ()) -> Any:
        """The first row of a query, None if it has none.

        Raises:
            ReadError: the disk does not tell.
        """
        with self._reading():
            return self.connection.execute(query, values).fetchone()

    def read_chunk(self, query: str, values: Values, *, rows: int, size: int) -> list[Any]:
        """The first rows of a query, whose last column is the large one; it is over when they are there.

        Args:
            query: without a LIMIT.
            values: what it is asked with.
            rows: at most so many.
            size: bytes of the last column after which no further row is taken.

        Raises:
            ReadError: the disk does not tell.
        """
        chunk, taken = [], 0
        with self._reading(), closing(self.connection.execute(f"{query} LIMIT {rows}", values)) as found:
            for row in found:
                chunk.append(row)
                taken += len(row[-1])
                if taken >= size:
                    break
        return chunk

    def meta(self, key: str) -> Any:
        """The value under a key of the table `meta`, None if there is none.

        Raises:
            ReadError: the disk does not tell.
        """
        row = self.read_one("SELECT value FROM meta WHERE key = ?", (key,))
        return row[0] if row else None

    def set_meta(self, key: str, value: object) -> None:
        """Put a value under a key of the table `meta`, inside a transaction."""
        self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def shrink(self, pages: int) -> bool:
        """Give at most so many free pages back to the disk, outside of any transaction; whether there are more.

        Raises:
            JournalError: it cannot be written.
        """
        (free,) = self.read_one("PRAGMA freelist_count")
        if not free:
            return False
        try:
            # SQLite frees one page for each step of this statement, and `execute` makes one step only.
            self.connection.executescript(f"PRAGMA incremental_vacuum({pages})")
        except sqlite3.Error as error:
            raise JournalError(f"{self.where} cannot be made smaller: {error}") from error
        return bool(free > pages)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ReadError(f"{self.where} cannot be read: {error}") from error
