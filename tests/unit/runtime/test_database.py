"""An open journal's database: what fails keeps nothing and says where, and a list is read in bounded pieces."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.opening import open_journal
from services.runtime.sqlite import Database, JournalError, ReadError, Schema

TABLES = Schema(
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value); CREATE TABLE songs (number INTEGER, words BLOB);", 1, {}
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "songs.sqlite"
    opened = open_journal(path, TABLES, fill=ignore, read=ignore, lock_wait_secs=0.1, wall_ns=1)
    yield opened.database
    opened.database.close()


def ignore(*_: object) -> None:
    """Neither is anything put into a new file, nor read from one."""


def sing(database: Database, *lengths: int) -> None:
    with database.transaction():
        database.executemany("INSERT INTO songs VALUES (?, zeroblob(?))", list(enumerate(lengths)))


def keep_half(database: Database, then: Callable[[], object]) -> None:
    with database.transaction():
        database.set_meta("half", 1)
        then()


def test_a_transaction_that_fails_keeps_nothing_and_says_which_journal(database: Database) -> None:
    with pytest.raises(JournalError, match=r"^the journal /.*/songs.sqlite cannot be written: no such table: nowhere"):
        keep_half(database, lambda: database.execute("INSERT INTO nowhere VALUES (1)"))
    assert database.meta("half") is None


def test_a_transaction_that_its_owner_breaks_off_keeps_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        keep_half(database, lambda: 1 // 0)
    assert database.meta("half") is None


@pytest.mark.parametrize(("synced", "level"), [(True, 2), (False, 1)])
def test_a_commit_is_synced_where_that_is_asked_for_and_from_then_on(
    synced: bool, level: int, database: Database
) -> None:
    with database.transaction(synced=synced):
        database.set_meta("a", 1)
    with database.transaction():
        database.set_meta("b", 1)
    assert database.read_one("PRAGMA synchronous") == (level,)


def test_what_cannot_be_read_is_a_read_error_that_says_which_journal(database: Database) -> None:
    for ask in (database.read, database.read_one):
        with pytest.raises(ReadError, match=r"^the journal /.*/songs.sqlite cannot be read: no such table: nowhere"):
            ask("SELECT * FROM nowhere")
    with pytest.raises(ReadError):
        database.read_chunk("SELECT * FROM nowhere", {}, rows=1, size=1)


def test_a_chunk_ends_at_its_number_of_rows_or_after_the_row_that_fills_it(database: Database) -> None:
    sing(database, 1, 1, 1000, 1, 1)
    query = "SELECT number, words FROM songs WHERE number >= :first ORDER BY number"
    assert [row[0] for row in database.read_chunk(query, {"first": 0}, rows=2, size=500)] == [0, 1]
    assert [row[0] for row in database.read_chunk(query, {"first": 0}, rows=9, size=500)] == [0, 1, 2]
    assert [row[0] for row in database.read_chunk(query, {"first": 3}, rows=9, size=500)] == [3, 4]
    # No statement is under way, so the log can begin anew.
    assert database.read_one("PRAGMA wal_checkpoint(TRUNCATE)")[0] == 0


def test_free_pages_are_given_back_a_few_at_a_time_until_there_are_none(database: Database) -> None:
    sing(database, *[4000] * 40)
    with database.transaction():
        database.execute("DELETE FROM songs")
    (free,) = database.read_one("PRAGMA freelist_count")
    assert free > 20
    assert database.shrink(20)
    assert database.read_one("PRAGMA freelist_count") == (free - 20,)
    while database.shrink(20):
        continue
    assert database.read_one("PRAGMA freelist_count") == (0,)
