"""A journal's file is opened whole or not at all: new, torn, older, newer, without room, and killed in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from loguru import logger

from services.breaker.journal import Journal as BreakerJournal
from services.executor.journal import Journal as ExecutorJournal
from services.runtime.opening import Opened, open_journal
from services.runtime.sqlite import JournalError, Migration, Schema, Torn, user_version

NAME = "songs.sqlite"
FIRST = "CREATE TABLE songs (title TEXT PRIMARY KEY); CREATE TABLE mark (trouble TEXT);"
# What stands in front of the semicolon of a trigger is no statement of its own.
TO_SECOND = """
ALTER TABLE songs ADD COLUMN secs INTEGER NOT NULL DEFAULT 60;
CREATE TABLE heard (title TEXT);
CREATE TRIGGER hear AFTER INSERT ON songs BEGIN INSERT INTO heard VALUES (new.title); END;
"""


def to_third(database: sqlite3.Connection) -> None:
    for (title,) in database.execute("SELECT title FROM songs").fetchall():
        database.execute("UPDATE songs SET secs = ? WHERE title = ?", (len(title), title))


def schema(version: int, second: Migration = TO_SECOND, third: Migration = to_third) -> Schema:
    steps: dict[int, Migration] = {1: second, 2: third}
    return Schema(FIRST, version, {number: steps[number] for number in range(1, version)})


def opened(home: Path, version: int = 1, **steps: Migration) -> Opened[list[str]]:
    def fill(database: sqlite3.Connection, trouble: str) -> None:
        database.execute("INSERT INTO mark VALUES (?)", (trouble,))

    def read(database: sqlite3.Connection) -> list[str]:
        titles = [row[0] for row in database.execute("SELECT title FROM songs ORDER BY title")]
        if "noise" in titles:
            raise Torn("it is noise")
        return titles

    return open_journal(
        home / NAME, schema(version, **steps), fill=fill, read=read, lock_wait_secs=0.1, wall_ns=1_700_000_000
    )


def found(home: Path, version: int = 1, **steps: Migration) -> list[str]:
    journal = opened(home, version, **steps)
    journal.database.close()
    return journal.found


def insert(home: Path, *titles: str) -> None:
    with closing(opened(home).database) as database:
        database.executemany("INSERT INTO songs VALUES (?)", [(title,) for title in titles])


def names(home: Path) -> set[str]:
    return {path.name for path in home.iterdir()}


def killed_with_a_log(home: Path, statement: str) -> None:
    """Leave a journal of the first schema; what this statement did stands in the log alone."""
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.processes.runtime.test_sqlite import opened\n"
        "opened(Path(sys.argv[1])).database.execute(sys.argv[2])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(program, home, statement).returncode == -signal.SIGKILL
    assert (home / f"{NAME}-wal").stat().st_size


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# -- a new one


def test_a_new_journal_is_whole_its_owners_only_and_no_incident(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert (journal.found, journal.trouble) == ([], "")
    assert user_version(journal.database.connection) == 1
    assert journal.database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal.database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    journal.database.execute("INSERT INTO songs VALUES ('la')")
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path.name
    journal.database.close()
    assert names(tmp_path) == {NAME}


def test_a_start_that_died_before_the_journal_was_whole_is_a_first_start(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.begun").write_bytes(b"half of it")
    (tmp_path / f"{NAME}.begun-journal").write_bytes(b"and its journal")
    assert opened(tmp_path).trouble == ""
    assert names(tmp_path) >= {NAME}
    assert not {name for name in names(tmp_path) if "begun" in name}


# -- a torn one


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(b"\x5a" * 20_000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def lost_with_its_log_left(path: Path) -> None:
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(b"what was committed last")


def malformed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    # Also the first page's tree of tables, behind the header.
    content[100:108] = b"\xff" * 8
    path.write_bytes(content)


def another_programs(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE others (title)")


def of_a_schema_that_never_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=-1")


def not_understood(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO songs VALUES ('noise')")
        database.commit()


DAMAGES = [
    empty,
    noise,
    cut,
    lost_with_its_log_left,
    malformed,
    another_programs,
    of_a_schema_that_never_was,
    not_understood,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_torn_journal_is_laid_aside_and_a_new_one_says_so(damage: Callable[[Path], None], tmp_path: Path) -> None:
    insert(tmp_path, "la")
    damage(tmp_path / NAME)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    journal = opened(tmp_path)
    assert journal.found == []
    assert "could not be read" in journal.trouble
    assert journal.trouble.endswith(f"laid aside as {NAME}.unreadable-1700000000")
    assert journal.database.execute("SELECT trouble FROM mark").fetchone() == (journal.trouble,)
    journal.database.close()
    for name, content in before.items():
        if damage is not not_understood:
            assert (tmp_path / name.replace(NAME, f"{NAME}.unreadable-1700000000")).read_bytes() == content
    assert opened(tmp_path).trouble == "", "once"


def test_a_journal_that_went_when_one_was_laid_aside_before_is_no_first_start(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    noise(tmp_path / NAME)
    opened(tmp_path).database.close()
    (tmp_path / NAME).unlink()
    assert f"laid aside as {NAME}.unreadable-1700000000" in opened(tmp_path).trouble


KILLED_AT = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "left = int(sys.argv[2])\n"
    "def dies_around(name):\n"
    "    deed = getattr(os, name)\n"
    "    def done(*arguments, **more):\n"
    "        global left\n"
    "        for when in ('before', 'after'):\n"
    "            left -= 1\n"
    "            if not left:\n"
    "                os.kill(os.getpid(), signal.SIGKILL)\n"
    "            if when == 'before':\n"
    "                result = deed(*arguments, **more)\n"
    "        return result\n"
    "    setattr(os, name, done)\n"
    "for name in ('replace', 'fsync', 'unlink'):\n"
    "    dies_around(name)\n"
    "from tests.processes.runtime.test_sqlite import found\n"
    "print(found(Path(sys.argv[1]), int(sys.argv[3])))\n"
)


def killed_at_each_step(home: Path, version: int) -> int:
    """Open in a process that dies at its first durable deed, then at its second, until it lives; says how many."""
    for step in range(1, 200):
        done = run(KILLED_AT, home, step, version)
        if done.returncode == 0:
            return step
        assert done.returncode == -signal.SIGKILL, done.stderr
    raise AssertionError("it never came to its end")


def test_a_death_while_a_torn_journal_is_laid_aside_never_makes_it_a_first_start(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    noise(tmp_path / NAME)
    (tmp_path / f"{NAME}-wal").write_bytes(b"what was committed last")
    # Each death leaves what the next process begins with.
    assert killed_at_each_step(tmp_path, 1) > 10
    journal = opened(tmp_path)
    assert "could not be read" in journal.database.execute("SELECT trouble FROM mark").fetchone()[0]
    journal.database.close()
    aside = [path for path in tmp_path.iterdir() if "unreadable" in path.name]
    assert {path.read_bytes() for path in aside} >= {b"\x5a" * 20_000, b"what was committed last"}


def test_a_death_before_the_log_is_laid_aside_too_never_brings_back_what_it_had_made_torn(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    killed_with_a_log(tmp_path, "PRAGMA user_version=-1")
    assert killed_at_each_step(tmp_path, 1) > 10
    journal = opened(tmp_path)
    assert journal.found == []
    journal.database.close()


# -- one that cannot be opened now


def contents(home: Path) -> dict[str, bytes]:
    """Every file but the index of a log, which each reader writes."""
    return {
        path.name: path.read_bytes()
        for path in home.iterdir()
        if path.is_file() and not path.name.endswith("-shm") and path.stat().st_size
    }


def refused(home: Path, version: int = 1, **steps: Migration) -> str:
    before = contents(home)
    with pytest.raises(JournalError) as refusal:
        opened(home, version, **steps)
    assert contents(home) == before, "nothing is changed, and nothing is left behind"
    return str(refusal.value)


def test_a_folder_in_its_place_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert "Check free space (" in refused(tmp_path)
    assert (tmp_path / NAME).is_dir()


def test_a_home_that_is_gone_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="Check free space"):
        opened(tmp_path / "gone")


def test_a_link_to_a_disk_that_is_not_mounted_is_no_first_start(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "away" / NAME)
    assert "which is not there" in refused(tmp_path)


def test_a_journal_behind_a_link_stays_there_and_the_link_too(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    away.mkdir()
    insert(away, "la")
    (home / NAME).symlink_to(away / NAME)
    assert found(home, 3) == ["la"]
    assert (home / NAME).is_symlink()
    assert names(away) == {NAME, f"{NAME}.schema-1"}


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_that_somebody_holds_is_not_torn(version: int, tmp_path: Path) -> None:
    insert(tmp_path, "la")
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("INSERT INTO songs VALUES ('theirs')")
        with pytest.raises(JournalError, match="locked"):
            opened(tmp_path, version)
        holder.execute("ROLLBACK")
    assert found(tmp_path, version) == ["la"]


@pytest.mark.parametrize("statement", ["BEGIN; SELECT * FROM songs", "BEGIN IMMEDIATE"])
def test_an_older_journal_that_somebody_reads_or_writes_waits_for_a_start_without_them(
    statement: str, tmp_path: Path
) -> None:
    insert(tmp_path, "la")
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as holder:
        for part in statement.split(";"):
            holder.execute(part).fetchall()
        assert "locked" in refused(tmp_path, 2)
    assert found(tmp_path, 2) == ["la"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_a_journal_that_may_not_be_read_is_not_torn(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    (tmp_path / NAME).chmod(0)
    with pytest.raises(JournalError, match="permissions"):
        opened(tmp_path)
    (tmp_path / NAME).chmod(0o600)
    assert found(tmp_path) == ["la"]


def test_a_newer_journal_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    killed_with_a_log(tmp_path, "INSERT INTO songs VALUES ('la')")
    with closing(opened(tmp_path).database) as database:
        database.execute("PRAGMA user_version=3")
        text = refused(tmp_path, 2)
        assert set(contents(tmp_path)) == {NAME, f"{NAME}-wal"}
    assert "written by a newer orderfuse (schema 3, this one knows 2)" in text
    assert "Start that version" in text


# -- an older one


def test_an_older_journal_is_migrated_with_what_stands_in_its_log_and_the_old_one_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{message}")
    insert(tmp_path, "la")
    killed_with_a_log(tmp_path, "INSERT INTO songs VALUES ('tralala')")
    try:
        journal = opened(tmp_path, 3)
    finally:
        logger.remove(sink)
    assert journal.found == ["la", "tralala"]
    assert journal.trouble == ""
    database = journal.database
    assert user_version(database.connection) == 3
    assert database.execute("SELECT secs FROM songs ORDER BY title").fetchall() == [(2,), (7,)]
    database.execute("INSERT INTO songs VALUES ('do', 1)")
    assert database.execute("SELECT title FROM heard").fetchall() == [("do",)]
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    assert names(tmp_path) == {NAME, f"{NAME}.schema-1"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    with closing(sqlite3.connect(tmp_path / f"{NAME}.schema-1")) as kept:
        assert user_version(kept) == 1
        assert kept.execute("SELECT * FROM songs").fetchall() == [("la",), ("tralala",)]
    (line,) = [line for line in lines if "migrated" in line]
    assert f"journal {tmp_path / NAME} migrated from schema 1 to 3" in line
    assert f"the old one is kept as {NAME}.schema-1" in line


def test_a_file_that_never_could_shrink_can_after_a_migration(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.executescript(FIRST)
        database.execute("INSERT INTO mark VALUES ('')")
        database.execute("PRAGMA user_version=1")
        database.commit()
    journal = opened(tmp_path, 2)
    assert journal.database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    journal.database.close()


def test_a_death_at_any_step_of_a_migration_costs_nothing(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    killed_with_a_log(tmp_path, "INSERT INTO songs VALUES ('tralala')")
    assert killed_at_each_step(tmp_path, 3) > 10
    assert found(tmp_path, 3) == ["la", "tralala"]
    assert names(tmp_path) == {NAME, f"{NAME}.schema-1"}
    with closing(sqlite3.connect(tmp_path / f"{NAME}.schema-1")) as kept:
        assert kept.execute("SELECT * FROM songs").fetchall() == [("la",), ("tralala",)]


def dies(_: sqlite3.Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_death_in_the_middle_of_the_migrations_leaves_the_old_journal(tmp_path: Path) -> None:
    killed_with_a_log(tmp_path, "INSERT INTO songs VALUES ('la')")
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.processes.runtime.test_sqlite import dies, opened\n"
        "opened(Path(sys.argv[1]), 3, third=dies)\n"
    )
    assert run(program, tmp_path).returncode == -signal.SIGKILL
    assert found(tmp_path) == ["la"], "the version before can go on with it"
    assert found(tmp_path, 3) == ["la"]
    assert names(tmp_path) == {NAME, f"{NAME}.schema-1"}


def test_a_migration_that_fails_changes_nothing_and_lays_nothing_aside(tmp_path: Path) -> None:
    insert(tmp_path, "la")
    text = refused(tmp_path, 3, third="INSERT INTO nowhere VALUES (1)")
    assert "no such table: nowhere. It is as it was." in text
    assert found(tmp_path, 3) == ["la"]


def test_an_older_journal_that_the_migration_finds_torn_is_laid_aside(tmp_path: Path) -> None:
    insert(tmp_path, "la")

    def finds(_: sqlite3.Connection) -> None:
        raise Torn("a record is garbled")

    journal = opened(tmp_path, 2, second=finds)
    assert "a record is garbled" in journal.trouble
    journal.database.close()


NO_ROOM = (
    "import resource, sys\n"
    "from pathlib import Path\n"
    "from tests.processes.runtime.test_sqlite import JournalError, found, opened\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
    "try:\n"
    "    opened(Path(sys.argv[1]), 3)\n"
    "except JournalError as error:\n"
    "    print(error)\n"
)


@pytest.mark.parametrize("limit", [40_000, 100_000])
def test_without_room_a_migration_says_how_much_it_needs_and_changes_nothing(limit: int, tmp_path: Path) -> None:
    insert(tmp_path, *(f"{number} {'la' * 500}" for number in range(200)))
    size = (tmp_path / NAME).stat().st_size
    assert size > 200_000
    done = run(NO_ROOM, tmp_path, limit)
    assert f"This needs {2 * size:,} bytes in its folder" in done.stdout, done
    assert "It is as it was" in done.stdout
    assert {name for name in names(tmp_path) if not name.endswith(("-shm", "-wal"))} == {NAME}
    assert len(found(tmp_path)) == 200, "the version before can go on with it"
    assert len(found(tmp_path, 3)) == 200


def starts_noted(home: Path) -> int:
    """Open a journal as ours do, which note each start in it; how often that was done."""

    def read(database: sqlite3.Connection) -> int:
        database.execute("INSERT INTO mark VALUES ('a start')")
        return int(database.execute("SELECT count(*) FROM mark WHERE trouble = 'a start'").fetchone()[0])

    # Not called: the journal is there.
    fill = lambda *_: None  # noqa: E731
    return open_journal(home / NAME, schema(1), fill=fill, read=read, lock_wait_secs=0.1, wall_ns=1).found


def test_a_start_that_finds_no_room_takes_that_of_the_log_which_the_process_before_has_left(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tests.processes.runtime.test_sqlite import opened\n"
        "database = opened(Path(sys.argv[1])).database\n"
        "for number in range(40): database.execute('INSERT INTO mark VALUES (?)', (number,))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(killed, tmp_path).returncode == -signal.SIGKILL
    # Room for all that the log has, and not for one more page of it.
    room = (tmp_path / f"{NAME}-wal").stat().st_size
    assert room > 2 * (tmp_path / NAME).stat().st_size
    start = (
        "import resource, sys\nfrom pathlib import Path\nfrom tests.processes.runtime.test_sqlite import starts_noted\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "print(starts_noted(Path(sys.argv[1])))\n"
    )
    done = run(start, tmp_path, room)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert names(tmp_path) == {NAME}, "nothing was laid aside"


@pytest.mark.parametrize("damage", [empty, noise])
def test_without_room_for_a_new_one_a_torn_journal_stays_where_it_is(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    insert(tmp_path, "la")
    damage(tmp_path / NAME)
    before = (tmp_path / NAME).read_bytes()
    assert "Check free space" in run(NO_ROOM, tmp_path, 100).stdout
    assert (tmp_path / NAME).read_bytes() == before
    assert not {name for name in names(tmp_path) if "unreadable" in name}


# -- both journals of ours


def breaker(home: Path) -> tuple[str, str]:
    journal = BreakerJournal(home, wall_ns=1_700_000_000, monotonic_ns=0, keep_events_bytes=1_000_000)
    journal.close()
    return "breaker.sqlite", journal.saved.trouble


def executor(home: Path) -> tuple[str, str]:
    journal = ExecutorJournal(home / "executor.sqlite", 7, wall_ns=lambda: 1_700_000_000)
    journal.close()
    return "executor.sqlite", journal.trouble


@pytest.mark.parametrize("open_one", [breaker, executor])
@pytest.mark.parametrize("damage", [each for each in DAMAGES if each is not not_understood])
def test_both_journals_treat_a_torn_file_alike(
    damage: Callable[[Path], None], open_one: Callable[[Path], tuple[str, str]], tmp_path: Path
) -> None:
    name, trouble = open_one(tmp_path)
    assert trouble == ""
    damage(tmp_path / name)
    _, trouble = open_one(tmp_path)
    assert trouble.endswith(f"laid aside as {name}.unreadable-1700000000")
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("open_one", [breaker, executor])
def test_both_journals_refuse_a_newer_one(open_one: Callable[[Path], tuple[str, str]], tmp_path: Path) -> None:
    name, _ = open_one(tmp_path)
    with closing(sqlite3.connect(tmp_path / name)) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(JournalError, match="newer orderfuse"):
        open_one(tmp_path)


@pytest.mark.parametrize("name", ["breaker", "executor"])
def test_a_process_whose_journal_cannot_be_opened_says_so_and_ends_with_1(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.sqlite").mkdir()
    environment = {"ORDERFUSE_HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-m", f"services.{name}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"{name}: the journal {tmp_path}/{name}.sqlite cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr
