import fcntl
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from orderfuse.home import AlreadyRunning, HomeLock


def hold(home: Path, told: Connection) -> None:
    lock = HomeLock(home, "breaker")
    told.send(os.getpid())
    signal.pause()
    lock.release()


def test_a_second_process_is_refused_with_the_id_of_the_first(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path, "breaker")
    with pytest.raises(AlreadyRunning, match=rf"another breaker \(process {os.getpid()}\) uses .*Stop it first"):
        HomeLock(tmp_path, "breaker")
    lock.release()


def test_kinds_do_not_disturb_each_other(tmp_path: Path) -> None:
    locks = [HomeLock(tmp_path, "breaker"), HomeLock(tmp_path, "executor")]
    for lock in locks:
        lock.release()


def test_released_it_leaves_nothing_behind_and_can_be_had_again(tmp_path: Path) -> None:
    HomeLock(tmp_path, "breaker").release()
    assert list(tmp_path.iterdir()) == []
    HomeLock(tmp_path, "breaker").release()


def test_a_lock_on_a_file_that_its_owner_removes_at_that_moment_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [HomeLock(tmp_path, "breaker")]
    flock = fcntl.flock

    def release_first(file: object, how: int) -> None:
        while owners:
            owners.pop().release()
        flock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", release_first)
    lock = HomeLock(tmp_path, "breaker")
    monkeypatch.undo()
    with pytest.raises(AlreadyRunning):
        HomeLock(tmp_path, "breaker")
    lock.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, there), daemon=True)
    process.start()
    assert here.poll(30)
    here.recv()
    with pytest.raises(AlreadyRunning):
        HomeLock(tmp_path, "breaker")
    process.kill()
    process.join(30)
    HomeLock(tmp_path, "breaker").release()
    process.close()
    here.close()
    there.close()
