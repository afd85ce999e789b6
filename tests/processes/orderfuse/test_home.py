import fcntl
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import zmq

from orderfuse.bus import links
from orderfuse.home import AlreadyRunning, HomeLock, existing_folder
from orderfuse.settings import SettingsError, load_settings


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


# -- the folder -------------------------------------------------------------------------------------------


def refusal(folder: Path | str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"ORDERFUSE_HOME": str(folder)})
    text = str(caught.value)
    assert text.endswith(". Set ORDERFUSE_HOME to a folder that you own and can write to.")
    assert "Errno" not in text
    return text


def test_the_home_is_created_and_for_its_owner_only(tmp_path: Path) -> None:
    chosen = tmp_path / "deep" / "home"
    assert load_settings(environ={"ORDERFUSE_HOME": str(chosen)}).home == chosen
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    chosen.chmod(0o755)
    load_settings(chosen, environ={})
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700


def test_a_relative_home_begins_at_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(environ={"ORDERFUSE_HOME": "here"}).home == tmp_path / "here"


def test_a_tilde_is_the_users_folder_also_where_no_shell_expands_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(environ={"ORDERFUSE_HOME": "~/of"}).home == tmp_path / "of"
    for unset in ({}, {"ORDERFUSE_HOME": ""}):
        assert load_settings(environ=unset).home == tmp_path / ".orderfuse"
    assert "'~nobody-of-this-name/of' cannot be used: " in refusal("~nobody-of-this-name/of")


def test_a_home_may_have_spaces_and_letters_of_any_language_and_be_a_symlink() -> None:
    with tempfile.TemporaryDirectory(prefix="of-") as folder:
        real = Path(folder) / "my fünds 株"
        settings = load_settings(environ={"ORDERFUSE_HOME": str(real)})
        link = Path(folder) / "link"
        link.symlink_to(real)
        through_the_link = load_settings(environ={"ORDERFUSE_HOME": str(link)})
        # A strategy that says it the one way reaches a breaker that says it the other way.
        with (
            zmq.Context() as context,
            links.bind(context, settings, "feedback") as breaker,
            links.connect(context, through_the_link, "feedback") as peer,
        ):
            peer.send(b"fact")
            assert breaker.poll(30_000)


def test_a_file_in_its_place_or_above_it_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used: it is a file, not a folder" in refusal(tmp_path / "file")
    assert "cannot be used: one of its parents is a file, not a folder" in refusal(tmp_path / "file" / "below")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has a folder that takes nothing from anybody")
def test_a_place_where_nothing_can_be_created_is_refused() -> None:
    assert "'/proc/orderfuse' cannot be used: it is not there and cannot be created" in refusal("/proc/orderfuse")


def test_a_name_that_no_folder_can_have_is_refused_in_one_line(tmp_path: Path) -> None:
    text = refusal(tmp_path / ("x" * 5000))
    assert "File name too long" in text
    assert len(text) < 500
    with pytest.raises(SettingsError, match="null"):
        load_settings(Path("a\0b"), environ={})


def test_a_folder_that_everybody_may_write_to_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert "everybody may write to it" in refusal(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_elses_folder_is_refused_with_the_name_of_its_owner() -> None:
    with tempfile.TemporaryDirectory(prefix="of-") as folder:
        Path(folder).chmod(0o755)
        script = (
            "import sys\nfrom pathlib import Path\nfrom orderfuse.settings import SettingsError, load_settings\n"
            "import os; os.setuid(65534)\n"
            f"try:\n    load_settings(Path({folder!r}), environ={{}})\n"
            "except SettingsError as error:\n    sys.exit(str(error))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "cannot be used: it belongs to root, and this is " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lock_that_cannot_be_written_is_an_error_of_settings(tmp_path: Path) -> None:
    (tmp_path / "breaker.lock").mkdir()
    with pytest.raises(SettingsError, match=r"breaker\.lock cannot be written: it is a folder, not a file\. Make room"):
        HomeLock(tmp_path, "breaker")


def test_a_lock_that_finds_no_room_is_an_error_of_settings(tmp_path: Path) -> None:
    # The limit on the size of files is to a process what a full disk is.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(SettingsError, match=r"breaker\.lock cannot be written: File too large\. Make room"):
            HomeLock(tmp_path, "breaker")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    HomeLock(tmp_path, "breaker").release()


def test_a_home_named_from_within_a_folder_that_is_gone_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="there is no folder home"):
        existing_folder(Path("home"))
