"""`orderfuse trip`: it stops first, with the file and with the breaker, and asks afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orderfuse.settings import Settings
from orderfuse.stopfile import StopFile
from tests.processes.orderfuse.clisupport import (
    COMMAND,
    DONE,
    NOTHING_ANSWERS,
    REFUSED,
    Answering,
    Terminal,
    environment,
    process,
    run,
    unread,
)
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker
from tests.processes.pipeline.pipeline import wait_until
from tests.states import Fields

TRIPPED = {"generation": 4, "fenced": True, "written": ["o-1"], "cancelling": ["o-2"]}
UNSAVED = {"generation": 4, "fenced": True, "warning": "this is not saved, so a restart may forget it: disk full"}


class Noting(Answering):
    """Notes what the file says at each trip."""

    def __init__(self, settings: Settings, **replies: Fields) -> None:
        self.files: list[str] = []
        super().__init__(settings, **replies)

    def _reply(self, request: Fields) -> Fields:
        if request["op"] == "trip":
            path = self.settings.home / "STOP"
            self.files.append(path.read_text() if path.exists() else "none")
        return super()._reply(request)


@pytest.fixture
def file(home: Path) -> Path:
    return home / "STOP"


@pytest.fixture
def used(home: Path) -> None:
    """A home that processes have run with."""
    (home / "breaker.sqlite").touch()


# -- the file is made, and the breaker answers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["because", "of", "this"], "because of this"),
        (["--reason", "because of this"], "because of this"),
        (["first", "--reason", "second"], "first second"),
        ([], "no reason given yet"),
        (["--reason", "  "], "no reason given yet"),
        (["--reason", "x" * 600], "x" * 497 + "..."),
        (["with\x1bcontrol"], "with�control"),
    ],
    ids=["words", "option", "both", "none", "blank", "long", "control"],
)
def test_the_file_stands_before_the_breaker_is_asked_and_no_longer(
    home: Path, settings: Settings, file: Path, words: list[str], reason: str
) -> None:
    with Noting(settings, trip=TRIPPED) as breaker:
        result = run(home, "trip", *words, "--cancel", "ours")
        (request,) = breaker.asked("trip")
    assert result.exit_code == DONE, result.output
    assert (request["reason"], request["scope"], request["cancel"]) == (reason, "system", "ours")
    assert str(os.getpid()) in request["who"]
    assert breaker.files[0][:190] == f"{reason}\n"[:190]
    assert not file.exists()
    assert result.stderr == ""
    stopped, *rest = result.stdout.splitlines()
    assert stopped.startswith("stopped at ")
    assert stopped.endswith(" UTC: system is OPEN and latched, generation 4")
    for line in (
        "the stop of what was on its way is confirmed by the executor",
        "written to IB and not answered: o-1",
        "being cancelled: o-2",
        "orders working at IB: cancelled, except those that protect a position; cancels still pass",
        "-> find the cause, then: orderfuse reset",
    ):
        assert line in rest


def test_a_trip_without_the_executors_word_says_so(home: Path, settings: Settings) -> None:
    with Answering(settings, trip={"generation": 4, "fenced": False, "written": ["o-1"]}):
        result = run(home, "trip", "x")
    assert "NOT confirmed" in result.stdout
    assert "perhaps written to IB and not answered: o-1" in result.stdout


@pytest.mark.parametrize(
    ("cancel", "said"),
    [
        ([], "2 working at IB: kept (breaker.on_trip in this home); cancels still pass"),
        (["--cancel", "none"], "2 working at IB: kept; cancels"),
        (["--cancel", "ours_with_protective"], "orders working at IB: cancelled, those that protect a position too"),
        (["--cancel", "all"], "every other order of the account, manual ones too"),
    ],
)
def test_it_says_what_becomes_of_working_orders(home: Path, settings: Settings, cancel: list[str], said: str) -> None:
    with Answering(settings, trip=TRIPPED, orders={"orders": [{}, {}]}) as breaker:
        assert said in run(home, "trip", "x", *cancel).stdout
        assert {request["limit"] for request in breaker.asked("orders")} <= {1000}, "all are counted"


def test_nothing_is_asked_before_the_trip(home: Path, settings: Settings) -> None:
    with Answering(settings, trip=TRIPPED) as breaker:
        run(home, "trip", "x")
        assert breaker.requests[0]["op"] == "trip"


def test_a_file_made_by_hand_is_left_there_and_named(home: Path, settings: Settings, file: Path) -> None:
    file.write_text("the screen is red\n")
    with Answering(settings, trip=TRIPPED):
        result = run(home, "trip", "x")
    assert result.exit_code == DONE
    assert "system is OPEN and latched" in result.stdout
    assert f"the file {file} was there already and stays: a reset of system removes it" in result.stdout
    assert file.read_text() == "the screen is red\n"


def test_a_file_that_somebody_touches_meanwhile_is_left_there(home: Path, settings: Settings, file: Path) -> None:
    class Touching(Answering):
        def _reply(self, request: Fields) -> Fields:
            if request["op"] == "trip":
                os.utime(file, (1, 1))
            return super()._reply(request)

    with Touching(settings, trip=TRIPPED):
        result = run(home, "trip", "x")
    assert "is somebody else's by now and stays: a reset of system removes it" in result.stdout
    assert file.exists()


# -- the file is made, and the breaker does not hold it ---------------------------------------------------


@pytest.mark.usefixtures("used")
def test_without_a_breaker_the_file_stops(home: Path, file: Path) -> None:
    result = run(home, "trip", "fills look wrong")
    assert result.exit_code == DONE
    assert result.stderr == ""
    assert f"UTC by the file {file}: no order passes; no breaker answers at ipc://{home}/links/control" in result.stdout
    assert f"the file {file} stays: a reset of system removes it" in result.stdout
    assert "orderfuse panic" in result.stdout
    assert file.read_text() == "fills look wrong\n"


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "the breaker did not answer trip within 2 s; it may still do what was asked"),
        ({"ok": False, "code": "internal", "error": "a bug"}, "the breaker refused (internal): a bug"),
        (UNSAVED, "the breaker has tripped system too, but warns: this is not saved"),
    ],
    ids=["silent", "refuses", "warns"],
)
def test_a_breaker_that_does_not_hold_the_stop_leaves_it_to_the_file(
    home: Path, settings: Settings, file: Path, reply: Fields | None, said: str
) -> None:
    with Answering(settings, trip=reply or {}) as breaker:
        breaker.answers_control = reply is not None
        result = run(home, "trip", "x")
    assert result.exit_code == DONE
    assert f"by the file {file}: no order passes; {said}" in result.stdout
    assert file.read_text() == "x\n"
    assert result.stderr == ""


@pytest.mark.usefixtures("used")
def test_no_setting_however_wrong_keeps_the_file_from_being_made(home: Path, file: Path) -> None:
    (home / "orderfuse.toml").write_text("[ib\n")
    result = run(home, "trip", "x")
    assert result.exit_code == DONE
    assert "no order passes; the breaker was not asked" in result.stdout
    assert file.exists()


def test_a_home_that_nothing_has_run_with_may_be_the_wrong_one(home: Path, file: Path) -> None:
    result = run(home, "trip", "x")
    assert result.exit_code == DONE
    assert file.exists()
    assert "neither a breaker nor an executor has ever run with the home" in result.stderr


@pytest.mark.usefixtures("used")
def test_a_second_reason_that_no_file_takes_is_not_lost_without_a_word(home: Path, file: Path) -> None:
    file.touch()
    assert "YOUR REASON IS NOT KEPT" in run(home, "trip", "x").stdout
    assert "YOUR REASON IS NOT KEPT" not in run(home, "trip").stdout


# -- the file cannot be made ------------------------------------------------------------------------------


def nobody_special() -> tuple[str, ...]:
    """What makes root obey the permissions of files."""
    if os.geteuid() != 0:
        return ()
    found = shutil.which("setpriv")
    if found is None:
        pytest.skip("root may write everywhere, and there is no setpriv to change that")
    return (found, "--bounding-set", "-dac_override,-dac_read_search")


@pytest.fixture
def read_only(home: Path) -> Iterator[None]:
    (home / "breaker.sqlite").touch()
    home.chmod(0o500)
    yield
    home.chmod(0o700)


@pytest.mark.parametrize("reply", [TRIPPED, UNSAVED], ids=["saved", "warns"])
def test_where_the_file_cannot_be_made_the_breaker_stops_and_a_warning_says_so(
    home: Path, settings: Settings, file: Path, reply: Fields
) -> None:
    with Answering(settings, trip=reply):
        home.chmod(0o500)
        try:
            done = process(home, "trip", "x", before=nobody_special())
        finally:
            home.chmod(0o700)
    assert done.returncode == DONE, done.stderr
    assert "UTC: system is OPEN and latched, generation 4" in done.stdout
    assert f"warning: the file {file} could not be made: Permission denied. Only the breaker knows" in done.stderr
    assert ("warning: this is not saved" in done.stderr) == (reply is UNSAVED)


@pytest.mark.usefixtures("read_only")
def test_where_neither_stops_it_says_so_and_what_to_do(home: Path, file: Path) -> None:
    done = process(home, "trip", "x", before=nobody_special())
    assert done.returncode == NOTHING_ANSWERS
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"orderfuse: NOT STOPPED: the file {file} could not be made (Permission denied), and no bre")
    assert "orderfuse panic" in line
    assert "end TWS or IB Gateway" in line


@pytest.mark.parametrize("name", ["nowhere", "a-file", "a-file/below", "~nobody-of-this-name/x"])
def test_a_home_that_is_none_stops_nothing_and_is_not_made(home: Path, name: str) -> None:
    (home / "a-file").touch()
    result = run(home / name, "trip", "x")
    assert result.exit_code == NOTHING_ANSWERS
    assert "NOT STOPPED" in result.stderr
    assert [each.name for each in home.iterdir()] == ["a-file"]


def test_the_default_home_is_not_made_either_where_nothing_runs_with_it(home: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "trip", "x"],
        env=environment(ORDERFUSE_HOME=str(home / "new")),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == NOTHING_ANSWERS
    assert "NOT STOPPED" in done.stderr
    assert not (home / "new").exists()


# -- one strategy -----------------------------------------------------------------------------------------


def test_the_trip_of_a_strategy_makes_no_file(home: Path, settings: Settings) -> None:
    with Noting(settings, trip=TRIPPED, orders={"orders": [{}]}) as breaker:
        result = run(home, "trip", "x", "--scope", "strategy:a")
    assert result.exit_code == DONE
    assert breaker.files == ["none"]
    assert "strategy:a is OPEN and latched, generation 4" in result.stdout
    assert "1 working at IB of strategy:a: kept" in result.stdout
    assert "-> find the cause, then: orderfuse reset --scope strategy:a" in result.stdout
    assert "HAS EVER COME" not in result.stdout


def test_a_strategy_that_nobody_ever_heard_of_is_named(home: Path, settings: Settings) -> None:
    status = {"circuits": [{"scope": "system"}, {"scope": "strategy:alpha"}, {"scope": "strategy:alhpa"}]}
    with Answering(settings, trip=TRIPPED, status=status):
        result = run(home, "trip", "x", "--scope", "strategy:alhpa")
    assert "NO ORDER OF strategy:alhpa HAS EVER COME; did you mean strategy:alpha?" in result.stdout


def test_no_file_stops_a_strategy_whose_breaker_is_gone_or_refuses(home: Path, settings: Settings, file: Path) -> None:
    result = run(home, "trip", "x", "--scope", "strategy:a")
    assert result.exit_code == NOTHING_ANSWERS
    assert "NOT STOPPED: no breaker answers" in result.stderr
    assert "What stops everything, with or without a breaker: orderfuse trip" in result.stderr
    with Answering(settings, trip={"ok": False, "code": "not_allowed", "error": "no room"}):
        result = run(home, "trip", "x", "--scope", "strategy:a")
    assert result.exit_code == REFUSED
    assert "NOT STOPPED: the breaker refused (not_allowed): no room" in result.stderr
    assert not file.exists()


# -- on a terminal ----------------------------------------------------------------------------------------


def test_it_stops_says_so_and_then_asks_why(home: Path, settings: Settings) -> None:
    with Answering(settings, trip=TRIPPED) as breaker:
        with Terminal(home, "trip", "--cancel", "ours") as terminal:
            terminal.wait_for("Why")
            assert "system is OPEN and latched, generation 4" in terminal.seen
            assert [each["reason"] for each in breaker.asked("trip")] == ["no reason given yet"]
            terminal.type("fills look wrong\n")
            terminal.wait_for("the breaker has the reason")
            assert terminal.end() == DONE
        first, second = breaker.asked("trip")
    assert (first["cancel"], second["cancel"]) == ("ours", "none")
    assert second["reason"] == "fills look wrong"


@pytest.mark.parametrize("how", ["enter", "ctrl-c", "end of input"])
def test_who_gives_no_reason_leaves_the_stop_standing(home: Path, settings: Settings, how: str) -> None:
    with Answering(settings, trip=TRIPPED) as breaker:
        with Terminal(home, "trip") as terminal:
            terminal.wait_for("Why")
            if how == "ctrl-c":
                assert terminal.ctrl_c_at_a_question() == DONE
            else:
                terminal.type("\n" if how == "enter" else "\x04")
                assert terminal.end() == DONE
        assert len(breaker.asked("trip")) == 1
    assert "no reason given: the stop stands" in terminal.seen
    assert "Traceback" not in terminal.seen


@pytest.mark.usefixtures("used")
def test_without_a_breaker_the_reason_goes_into_the_file(home: Path, file: Path) -> None:
    with Terminal(home, "trip") as terminal:
        terminal.wait_for("Why")
        assert file.read_text() == "no reason given yet\n"
        terminal.type("dead\n")
        assert terminal.end() == DONE
    assert file.read_text() == "dead\n"
    assert "the reason stands in the file" in " ".join(terminal.seen.split())


@pytest.mark.usefixtures("used")
def test_a_breaker_that_comes_while_the_reason_is_typed_takes_the_stop_over(
    home: Path, settings: Settings, file: Path
) -> None:
    with Terminal(home, "trip", columns=200) as terminal:
        terminal.wait_for("Why")
        with Noting(settings, trip=TRIPPED) as breaker:
            terminal.type("dead\n")
            terminal.wait_for("system is OPEN and latched, generation 4")
            assert terminal.end() == DONE
    assert breaker.files == ["dead\n"]
    assert not file.exists()


def test_a_reason_that_cannot_be_given_any_more_is_said(home: Path, settings: Settings) -> None:
    with Terminal(home, "trip", columns=200) as terminal:
        with Answering(settings, trip=TRIPPED):
            terminal.wait_for("Why")
        terminal.type("x\n")
        assert terminal.end() == DONE
    assert "the stop stands, but its reason could not be given: no breaker answers" in terminal.seen


def test_nobody_is_asked_where_nothing_is_stopped(home: Path) -> None:
    with Terminal(home, "trip", "--scope", "strategy:a") as terminal:
        assert terminal.end() == NOTHING_ANSWERS
    assert "Why" not in terminal.seen


# -- the world around it ----------------------------------------------------------------------------------


def test_ctrl_c_while_the_breaker_is_asked_ends_nothing(home: Path, settings: Settings, file: Path) -> None:
    with Answering(settings) as breaker:
        breaker.answers_control = False
        with Terminal(home, "trip", columns=200) as terminal:
            wait_until(lambda: breaker.asked("trip"), "the trip at the breaker")
            terminal.ctrl_c()
            terminal.ctrl_c()
            assert terminal.end() == DONE
    assert f"by the file {file}: no order passes" in terminal.seen
    assert "Why" not in terminal.seen
    assert file.exists()


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_leaves_nothing_said_to_be_stopped_that_is_not(
    home: Path, file: Path, number: int
) -> None:
    # From before the command has begun to after it has ended.
    for delay_s in (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.8, 1.0):
        file.unlink(missing_ok=True)
        with subprocess.Popen(
            [*COMMAND, "--home", str(home), "trip", "x"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        ) as command:
            until = time.monotonic() + delay_s
            while command.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            command.send_signal(number)
            said, _ = command.communicate(timeout=DEADLINE_S)
        if command.returncode == DONE or "stopped at" in said:
            assert file.exists(), (delay_s, said)


@pytest.mark.usefixtures("used")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("redirect", [">/dev/full", ">/dev/full 2>/dev/full", ">&-", ">&- 2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("there", [True, False], ids=["breaker", "no breaker"])
def test_wherever_its_output_goes_the_stop_is_a_stop(
    home: Path, settings: Settings, file: Path, redirect: str, there: bool
) -> None:
    def shell(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", f'"$@" {redirect}', "sh", *COMMAND, "--home", str(folder), "trip", *words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    if there:
        with Answering(settings, trip=TRIPPED) as breaker:
            done = shell(home)
            assert [each["reason"] for each in breaker.asked("trip")] == ["no reason given yet"]
    else:
        done = shell(home)
        assert file.exists()
    assert done.returncode == DONE, done
    assert "Traceback" not in done.stderr
    if redirect == ">/dev/full":
        assert done.stderr == "orderfuse: it is done, but what was done cannot be written: No space left on device\n"
    assert shell(home / "nowhere").returncode == NOTHING_ANSWERS


def test_whoever_reads_may_have_seen_enough(home: Path, settings: Settings) -> None:
    with Answering(settings, trip=TRIPPED) as breaker:
        assert unread(home, "trip") == (DONE, "")
        assert len(breaker.asked("trip")) == 1


# -- status and reset, where the file is ------------------------------------------------------------------


def test_a_status_that_nobody_answers_says_that_the_file_stops_everything(home: Path, file: Path) -> None:
    file.write_text("looked odd\n")
    result = run(home, "status")
    assert result.exit_code == NOTHING_ANSWERS
    (line,) = result.stderr.splitlines()
    assert f"NO ORDER PASSES: the file {file} is there (looked odd), and the executor obeys it too" in line
    assert "no breaker answers" in line
    file.unlink()
    assert "NO ORDER PASSES" not in run(home, "status").stderr


def test_a_reset_shows_the_file_and_says_where_it_is_still_there(home: Path, settings: Settings, file: Path) -> None:
    file.write_text("looked odd\n")

    class Removing(Answering):
        removes = False

        def _reply(self, request: Fields) -> Fields:
            if request["op"] == "reset" and self.removes:
                StopFile(self.settings.home).remove()
            return super()._reply(request)

    status: dict[str, Any] = {"circuits": [{"scope": "system", "state": "OPEN", "generation": 5, "latched": True}]}
    with Removing(settings, status=status, reset={"generation": 6, "state": "CLOSED"}) as breaker:
        result = run(home, "reset", "--reason", "found it")
        assert result.exit_code == DONE
        assert "is removed first: looked odd" in result.stdout
        assert f"warning: NO ORDER PASSES: the file {file} is there (looked odd)" in result.stderr
        breaker.removes = True
        assert run(home, "reset", "--reason", "found it").stderr == ""


def test_no_option_is_guessed_at(home: Path, settings: Settings, file: Path) -> None:
    with WireBreaker(settings) as breaker:
        for words in (["--cancel", "some"], ["--scope", "alpha"], ["--reson", "x"]):
            result = run(home, "trip", *words)
            assert result.exit_code == 2
            assert len(result.stderr.splitlines()) == 1
        assert breaker.requests == []
    assert not file.exists()


# -- for programs -----------------------------------------------------------------------------------------


def facts(home: Path, *words: str, code: int = DONE) -> dict[str, Any]:
    result = run(home, "trip", *words, "--json")
    assert result.exit_code == code, result.output
    printed: dict[str, Any] = json.loads(result.stdout)
    return printed


def test_as_json_it_is_the_breakers_reply_and_who_holds_the_stop(home: Path, settings: Settings, file: Path) -> None:
    with Answering(settings, trip=TRIPPED) as breaker:
        told = facts(home, "x", "--cancel", "ours")
        assert told.items() >= TRIPPED.items()
        assert (told["ok"], told["stopped"], told["stopped_by"], told["scope"]) == (True, True, ["breaker"], "system")
        assert (told["file"], told["warnings"]) == (None, [])
        assert told["stopped_at"].endswith("+00:00")
        assert [request["op"] for request in breaker.requests] == ["trip"], "nothing is asked for people"

        file.write_text("by hand\n")
        told = facts(home, "x")
        assert (told["stopped_by"], told["file"]) == (["breaker", "file"], str(file))

        told = facts(home, "x", "--scope", "strategy:a")
        assert (told["stopped_by"], told["file"], told["scope"]) == (["breaker"], None, "strategy:a")


def test_as_json_a_stop_that_is_not_saved_has_its_warning_and_the_file(
    home: Path, settings: Settings, file: Path
) -> None:
    with Answering(settings, trip=UNSAVED):
        told = facts(home, "x")
    assert (told["stopped"], told["stopped_by"], told["file"]) == (True, ["breaker", "file"], str(file))
    assert told["warnings"] == [UNSAVED["warning"]]


@pytest.mark.usefixtures("used")
def test_as_json_without_a_breaker_the_file_is_what_stops(home: Path, file: Path) -> None:
    told = facts(home, "x")
    assert (told["ok"], told["stopped"], told["stopped_by"], told["file"]) == (False, True, ["file"], str(file))
    assert "no breaker answers" in told["error"]
    assert told["warnings"] == []


def test_as_json_a_home_that_nobody_uses_has_its_warning(home: Path, file: Path) -> None:
    told = facts(home, "x")
    assert (told["stopped_by"], told["file"]) == (["file"], str(file))
    assert "IT IS NOT STOPPED" in told["warnings"][0]


def test_as_json_nothing_is_stopped_says_so(home: Path, settings: Settings) -> None:
    told = facts(home, "x", "--scope", "strategy:a", code=NOTHING_ANSWERS)
    assert (told["ok"], told["stopped"], told["stopped_at"], told["stopped_by"]) == (False, False, None, [])
    with Answering(settings, trip={"ok": False, "code": "not_allowed", "error": "no room"}):
        told = facts(home, "x", "--scope", "strategy:a", code=REFUSED)
    assert (told["ok"], told["stopped"], told["stopped_by"]) == (False, False, [])
    assert "no room" in told["error"]


def test_as_json_nobody_is_asked_on_a_terminal(home: Path, settings: Settings) -> None:
    with Answering(settings, trip=TRIPPED), Terminal(home, "trip", "--json") as terminal:
        assert terminal.end() == DONE
    assert "Why" not in terminal.seen
    assert json.loads(terminal.seen)["stopped"] is True
