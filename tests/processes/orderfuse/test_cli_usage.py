"""Whatever is typed wrong, and whatever is wrong around it: one line that helps, the right exit code, no traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orderfuse.cli import asking
from orderfuse.client import control
from orderfuse.settings import Settings
from tests.processes.orderfuse.clisupport import (
    COMMAND,
    DONE,
    NOTHING_ANSWERS,
    REFUSED,
    STATUS,
    USAGE,
    Answering,
    environment,
    process,
    run,
    unread,
)
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker
from tests.states import Fields

MANY_ORDERS = {"orders": [{"order_id": f"o-{number}", "state": "done"} for number in range(1000)]}


def the_line(result: object) -> str:
    """What the command complains of: exactly one line, in the command's own name."""
    (line,) = result.stderr.splitlines()  # type: ignore[attr-defined]
    assert line.startswith("orderfuse: ")
    return str(line)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sttus"], "No such command 'sttus'. Did you mean 'status'?"),
        (["paper", "rejct"], "No such command 'rejct'. Did you mean 'reject'?"),
        (["trip", "--reson", "x"], "No such option: --reson (Possible options: --json, --reason)"),
        (["orders", "--stat", "done"], "No such option: --stat (Possible options: --state"),
        (["trip", "--reason"], "Option '--reason' requires an argument."),
        (["trip", "x", "--cancel", "some"], "'some' is not one of 'none', 'ours', 'ours_with_protective', 'all'"),
        (["trip", "x", "--scope", "alpha"], "Invalid value for '--scope': 'alpha'; allowed: system, or strategy:ID"),
        (["reset"], "a reason is needed (--reason)"),
        (["reset", "--reason", "  "], "a reason is needed (--reason)"),
        (["reset", "--reason", "x" * 501], "the reason has 501 characters, allowed are 500"),
        (
            ["reset", "--reason", "x", "--generation", "one"],
            "Invalid value for '--generation': Input should be a valid integer",
        ),
        (["reset", "--reason", "x", "--generation", "-1"], "-1; allowed: a whole number from 0"),
        (["report"], "Missing argument 'what'. Choose from: failure, condition"),
        (["report", "falure", "x"], "'falure' is not one of 'failure', 'condition'"),
        (["report", "failure", "a b", "--reason", "x"], "'a b'; allowed: up to 64 letters"),
        (["report", "failure", "x", "--over", "--reason", "x"], "--over ends a condition; a failure is a moment"),
        (["resolve", "o-1"], "Missing option '--as'."),
        (["resolve", "o 1", "--as", "cancelled"], "'o 1'; allowed: 1 to 40 letters, digits and . _ -"),
        (["resolve", "o-1", "--as", "filled", "--reason", "x"], "--as filled needs --shares and --price"),
        (["resolve", "o-1", "--as", "cancelled", "--shares", "1"], "the other ends have neither"),
        (["resolve", "o-1", "--as", "filled", "--shares", "0", "--price", "1"], "0.0; allowed: a number above 0"),
        (["resolve", "o-1", "--as", "filled", "--shares", "nan", "--price", "1"], "nan; allowed: a number above 0"),
        (["resolve", "o-1", "--as", "filled", "--shares", "1", "--price", "inf"], "inf; allowed: a finite number"),
        (["orders", "--limit", "0"], "Invalid value for '--limit': Input should be greater than or equal to 1"),
        (["orders", "--state", "open"], "'open' is not one of 'queued', 'out', 'working', 'unknown', 'done'"),
        (["orders", "--strategy", "-x"], "'-x'; allowed: 1 to 32 letters"),
        (["orders", "--order", "x" * 41], "allowed: letters, digits"),
        (["status", "now"], "Got unexpected extra argument(s) (now)"),
        (["paper", "reject", "--count", "many"], "Invalid value for '--count': Input should be a valid integer"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_one_line_and_nothing_is_asked(
    home: Path, settings: Settings, words: list[str], said: str
) -> None:
    with WireBreaker(settings) as breaker:
        result = run(home, *words)
        assert breaker.requests == []
    assert result.exit_code == USAGE
    assert said in the_line(result)
    assert result.stdout == ""


# -- nobody there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["status"], ["reset", "--reason", "x"], ["orders"], ["report", "failure", "f", "--reason", "x"]],
    ids=lambda words: words[0],
)
def test_an_absent_breaker_is_said_with_what_to_do(home: Path, words: list[str]) -> None:
    result = run(home, *words)
    assert result.exit_code == NOTHING_ANSWERS
    assert f"no breaker answers at ipc://{home}/links/control; nothing was sent" in the_line(result)
    assert "Start it: make run" in result.stderr


def test_the_waits_for_a_breaker_that_is_not_there_leave_room_within_a_second() -> None:
    assert asking.HINT_CONNECT_TIMEOUT_S < control.CONNECT_TIMEOUT_S <= 0.5
    assert asking.STATUS_TIMEOUT_S <= 0.65


def test_an_absent_paper_gateway_is_said_with_what_to_do(home: Path) -> None:
    result = run(home, "paper", "status")
    assert result.exit_code == NOTHING_ANSWERS
    assert f"no paper gateway answers at {home}/links/paper" in the_line(result)
    assert "Start it: make paper" in result.stderr


@pytest.mark.parametrize("words", [["status"], ["reset", "--reason", "x"]], ids=lambda words: words[0])
def test_a_breaker_that_is_there_and_does_not_answer_is_not_waited_for(
    home: Path, settings: Settings, words: list[str]
) -> None:
    with WireBreaker(settings, answers_control=False):
        result = run(home, *words)
    assert result.exit_code == NOTHING_ANSWERS
    assert "the breaker did not answer status within 0.65 s; it may still do what was asked" in the_line(result)
    assert "It is busy or stuck: ask for its status" in result.stderr


# -- the home ---------------------------------------------------------------------------------------------


def test_a_mistyped_home_is_refused_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "orderfuse-live").mkdir()
    result = run(tmp_path / "orderfuse-life", "status")
    assert result.exit_code == USAGE
    assert f"there is no folder {tmp_path}/orderfuse-life; did you mean {tmp_path}/orderfuse-live?" in the_line(result)
    assert [each.name for each in tmp_path.iterdir()] == ["orderfuse-live"]


def test_a_folder_that_was_named_by_mistake_stays_open_to_whom_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert run(tmp_path, "status").exit_code == NOTHING_ANSWERS
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orderfuse.toml").touch()
    result = run(tmp_path / "orderfuse.toml", "status")
    assert result.exit_code == USAGE
    assert "orderfuse.toml is a file. Name the folder that holds it." in the_line(result)
    assert "one of its parents is a file" in the_line(run(tmp_path / "orderfuse.toml" / "x", "status"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_home_without_permission_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "home").mkdir(parents=True)
    closed.chmod(0)
    try:
        result = run(closed / "home", "status")
    finally:
        closed.chmod(0o700)
    assert result.exit_code == USAGE
    assert "Permission denied" in the_line(result)


def test_a_read_only_home_is_enough_to_look(home: Path, settings: Settings) -> None:
    with WireBreaker(settings):
        home.chmod(0o500)
        try:
            assert run(home, "status").exit_code == DONE
        finally:
            home.chmod(0o700)


def test_a_wrong_setting_is_named(home: Path) -> None:
    (home / "orderfuse.toml").write_text("[ib]\nport = 0\n")
    result = run(home, "status")
    assert result.exit_code == USAGE
    assert "ib.port is 0, allowed is a whole number from 1 to 65535" in the_line(result)


# -- what the breaker refuses -----------------------------------------------------------------------------


def refusal(error: str, code: str = "bad_request") -> Fields:
    return {"ok": False, "code": code, "error": error}


def test_a_resolve_of_the_wrong_order_names_the_nearest_unknown_one(home: Path, settings: Settings) -> None:
    words = ("resolve", "alpha-71", "--as", "cancelled", "--reason", "x")
    with Answering(settings, resolve=refusal("there is no order alpha-71")) as breaker:
        breaker.replies["status"] = {"unknown": ["alpha-17", "beta-2"]}
        result = run(home, *words)
        assert result.exit_code == REFUSED
        assert "refused (bad_request): there is no order alpha-71; did you mean alpha-17?" in the_line(result)

        breaker.replies["status"] = {"unknown": ["gamma"]}
        assert "alpha-71; unknown are: gamma" in the_line(run(home, *words))

        breaker.replies["status"] = {"unknown": []}
        assert the_line(run(home, *words)).endswith("there is no order alpha-71")


@pytest.mark.parametrize("words", [["reset"], ["report", "failure", "f"]], ids=lambda words: words[0])
def test_a_wrong_strategy_gets_the_nearest_one(home: Path, settings: Settings, words: list[str]) -> None:
    status = {"circuits": [{"scope": "system"}, {"scope": "strategy:alpha"}]}
    with Answering(settings, status=status, report=refusal("there is no circuit strategy:alhpa")) as breaker:
        result = run(home, *words, "--scope", "strategy:alhpa", "--reason", "x")
        assert breaker.asked("reset") == []
    assert result.exit_code == REFUSED
    assert "there is no circuit strategy:alhpa; did you mean strategy:alpha?" in the_line(result)


def test_an_order_that_is_not_there_is_refused(home: Path, settings: Settings) -> None:
    with Answering(settings, orders={"orders": []}):
        result = run(home, "orders", "--order", "o-1")
        assert result.exit_code == REFUSED
        assert "there is no order o-1" in the_line(result)
        assert run(home, "orders").stdout == "no orders\n"


# -- replies of other versions, and nonsense --------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"circuits": None, "executor": "yes", "gateway": 3, "unknown": "o-1", "drift": 1},
        {"circuits": [{}], "drift": [{}], "unknown": [None, 3]},
        {"circuits": [{"scope": "system", "state": "AJAR", "conditions": 7, "opened_at": 5, "retry_at": "soon"}]},
    ],
    ids=["empty", "other types", "empty maps", "another state"],
)
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(home: Path, settings: Settings, status: Fields) -> None:
    with Answering(settings) as breaker:
        breaker.replies["status"] = {"version": "9", **status}
        result = run(home, "status")
        assert result.exit_code == DONE, result.output
        assert result.output.splitlines()[-1].split() == ["breaker", "9"]
        assert "ORDERS PASS" not in result.output.replace("WHETHER ORDERS PASS", "").replace("NO ORDER PASSES", "")
        breaker.replies["trip"] = {"generation": None, "written": 7}
        assert run(home, "trip", "x").exit_code == DONE


def test_an_older_status_without_the_newer_keys_still_says_whether_orders_pass(home: Path, settings: Settings) -> None:
    circuit = {"scope": "system", "state": "CLOSED"}
    with Answering(settings, status={"circuits": [circuit], "executor": {"present": True}}):
        lines = run(home, "status").output.splitlines()
    assert lines[0] == "ORDERS PASS"
    assert "drift     not told by this breaker" in lines


@pytest.mark.parametrize("reply", [b"nonsense", b"\x93\x01\x02\x03", b""], ids=["garbage", "no map", "nothing"])
def test_a_reply_that_is_no_map_is_one_line(home: Path, settings: Settings, reply: bytes) -> None:
    class Babbling(WireBreaker):
        def _answer(self, frames: list[bytes]) -> None:
            self._control.send_multipart([*frames[:-1], reply])

    with Babbling(settings):
        result = run(home, "status")
    assert result.exit_code == REFUSED
    assert "the reply cannot be read" in the_line(result)


# -- the world around a process ---------------------------------------------------------------------------


def test_a_reader_that_has_seen_enough_is_no_failure(home: Path, settings: Settings) -> None:
    with Answering(settings, orders=MANY_ORDERS):
        assert unread(home, "orders") == (DONE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_behind_the_output_is_one_line(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS), Path("/dev/full").open("w") as full:
        result = process(home, "status", stdout=full)
    assert result.returncode == REFUSED
    assert "its answer cannot be written: No space left on device" in the_line(result)


def test_a_closed_stdin_is_nobody_to_ask(home: Path, settings: Settings) -> None:
    with WireBreaker(settings) as breaker:
        done = subprocess.run(
            ["/bin/sh", "-c", '"$@" <&-', "sh", *COMMAND, "--home", str(home), "reset"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert breaker.requests == []
    assert done.returncode == USAGE
    assert "a reason is needed" in the_line(done)


def test_an_output_that_knows_only_ascii_gets_all_of_it(home: Path, settings: Settings) -> None:
    status = {**STATUS, "gateway": {"host": "börse", "detail": "\x1b[2J zu"}}
    ascii_only = environment(LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii")
    with Answering(settings, status=status):
        done = process(home, "status", env=ascii_only)
    assert (done.returncode, done.stderr) == (DONE, "")
    assert "b\\xf6rse" in done.stdout
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert process(home, "--help", env=ascii_only).returncode == DONE
