"""The file STOP: whatever stands there stops, and only what is ours is taken away again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orderfuse.home import user_name
from orderfuse.stopfile import DEFAULT_REASON, MAX_REASON, StopFile

ME = user_name(os.geteuid())


@pytest.fixture
def stop(tmp_path: Path) -> StopFile:
    return StopFile(tmp_path)


def test_without_a_file_nothing_stops(stop: StopFile) -> None:
    assert stop.look() is None
    stop.remove()
    assert stop.look() is None


# -- what it says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", DEFAULT_REASON),
        (b"\n", DEFAULT_REASON),
        (b" \t\nthe second line\n", DEFAULT_REASON),
        (b"\nthe second line\n", DEFAULT_REASON),
        (b"fills look wrong", "fills look wrong"),
        (b"  fills look wrong \r\nmore\n", "fills look wrong"),
        ("B\u00f6rse zu\n".encode(), "B\u00f6rse zu"),
        (b"x" * 201, "x" * 197 + "..."),
        (b"x" * 1_000_000, "x" * 197 + "..."),
        (b"x" * 199 + "\u00e9".encode() * 2_000, "x" * 197 + "..."),
        (b"\n" * 1_000_000, DEFAULT_REASON),
        (b"red \x1b[31m\x07\x00 \x7f", "red \ufffd[31m\ufffd\ufffd \ufffd"),
        (b"\xff\xfe\x80 odd", "\ufffd\ufffd\ufffd odd"),
        (b"\x00" * 10, "\ufffd" * 10),
    ],
)
def test_its_first_line_is_the_reason(stop: StopFile, content: bytes, reason: str) -> None:
    stop.path.write_bytes(content)
    found = stop.look()
    assert found is not None
    assert found.reason == reason
    assert len(found.reason) <= MAX_REASON
    assert found.owner == ME


def test_a_reason_that_changes_is_read_again(stop: StopFile) -> None:
    for reason in ("one", "two and more", "3"):
        stop.path.write_text(reason)
        found = stop.look()
        assert found is not None
        assert found.reason == reason


# -- whatever stands there --------------------------------------------------------------------------------


def _link(path: Path, to: str) -> None:
    target = path.parent / "target"
    if to == "file":
        target.write_text("not the reason\n")
    elif to == "folder":
        target.mkdir()
    path.symlink_to(path if to == "itself" else target)


def _full_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").touch()


THINGS: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "folder with content": _full_folder,
    "link": lambda path: _link(path, "file"),
    "link to a folder": lambda path: _link(path, "folder"),
    "dangling link": lambda path: _link(path, "nothing"),
    "link to itself": lambda path: _link(path, "itself"),
    "fifo": os.mkfifo,
}


@pytest.mark.parametrize("thing", THINGS)
def test_whatever_has_the_name_stops_and_is_nobodys_to_take_back(stop: StopFile, tmp_path: Path, thing: str) -> None:
    THINGS[thing](stop.path)
    beside = {each.name for each in tmp_path.iterdir()}
    found = stop.look()
    assert found is not None
    assert (found.reason, found.owner) == (DEFAULT_REASON, ME)
    assert stop.make("mine") is None
    assert stop.look() == found
    if thing == "folder with content":
        with pytest.raises(OSError, match="not empty"):
            stop.remove()
        assert stop.look() == found
        return
    stop.remove()
    assert stop.look() is None
    assert {each.name for each in tmp_path.iterdir()} == beside - {"STOP"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_one_that_cannot_be_read_stops(stop: StopFile) -> None:
    stop.path.write_text("secret\n")
    stop.path.chmod(0)
    found = stop.look()
    assert found is not None
    assert found.reason == DEFAULT_REASON


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_home_that_cannot_be_looked_into_stops(stop: StopFile, tmp_path: Path) -> None:
    tmp_path.chmod(0)
    try:
        found = stop.look()
        assert found is not None
        assert "cannot be looked at: Permission denied" in found.reason
        with pytest.raises(PermissionError):
            stop.make("x")
    finally:
        tmp_path.chmod(0o700)


def test_a_home_that_is_gone_stops_and_no_file_can_be_made_there(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    stop = StopFile(home)
    assert stop.look() is None
    shutil.rmtree(home)
    found = stop.look()
    assert found is not None
    assert "the home folder" in found.reason
    assert found.owner == ""
    for attempt in (lambda: stop.make("x"), stop.remove):
        with pytest.raises(FileNotFoundError):
            attempt()
    assert not home.exists()
    home.mkdir()
    assert stop.look() is None


def test_a_home_that_is_a_file_stops(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()
    stop = StopFile(home)
    found = stop.look()
    assert found is not None
    assert "cannot be looked at" in found.reason
    for attempt in (lambda: stop.make("x"), stop.remove):
        with pytest.raises(NotADirectoryError):
            attempt()


# -- ours -------------------------------------------------------------------------------------------------


def test_ours_is_made_for_us_alone_and_taken_back(stop: StopFile) -> None:
    made = stop.make("odd\n\x1b[2J" + "x" * 300)
    assert made is not None
    assert stop.path.stat().st_mode & 0o777 == 0o600
    found = stop.look()
    assert found is not None
    assert found.reason.startswith("odd\ufffd\ufffd[2Jxxx")
    assert len(found.reason) == MAX_REASON
    assert stop.make("again") is None
    assert stop.take_back(made)
    assert stop.look() is None
    assert not stop.take_back(made)


@pytest.mark.parametrize("how", ["touched", "written", "replaced", "gone"])
def test_what_is_somebody_elses_by_now_is_neither_taken_back_nor_written(stop: StopFile, how: str) -> None:
    made = stop.make("ours")
    assert made is not None
    match how:
        case "touched":
            os.utime(stop.path, (2e9, 2e9))
        case "written":
            stop.path.write_text("theirs\n")
            os.utime(stop.path, (2e9, 2e9))
        case "replaced":
            # Made beside it, so that it cannot get the number of the one that goes.
            other = stop.path.with_name("other")
            other.write_text("theirs\n")
            other.rename(stop.path)
        case _:
            stop.path.unlink()
    there = stop.path.read_text() if stop.path.exists() else None
    assert stop.rewrite(made, "another") is None
    assert not stop.take_back(made)
    assert (stop.path.read_text() if stop.path.exists() else None) == there


@pytest.mark.parametrize("thing", THINGS)
def test_whatever_has_taken_the_place_of_ours_is_not_written(stop: StopFile, thing: str) -> None:
    made = stop.make("ours")
    assert made is not None
    stop.path.unlink()
    THINGS[thing](stop.path)
    with pytest.raises(OSError, match=r"."):
        stop.rewrite(made, "another")
    assert not stop.take_back(made)


@pytest.mark.parametrize("reason", ["longer than before", "no", ""])
def test_ours_can_get_another_reason_and_is_still_ours(stop: StopFile, reason: str) -> None:
    made = stop.make("no reason yet")
    assert made is not None
    made = stop.rewrite(made, reason)
    assert made is not None
    assert stop.path.read_text() == f"{reason}\n"
    assert stop.take_back(made)


@pytest.mark.long
def test_made_and_removed_a_thousand_times_it_is_never_seen_wrong(stop: StopFile) -> None:
    for number in range(1000):
        made = stop.make(f"reason {number}")
        assert made is not None
        found = stop.look()
        assert found is not None
        assert found.reason == f"reason {number}"
        if number % 2:
            assert stop.take_back(made)
        else:
            stop.remove()
        assert stop.look() is None
