"""The command on a terminal: what it asks, what ctrl-C does, the live page, and what the shell completes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orderfuse.bus.codec import decode_map
from orderfuse.bus.events import Expired
from orderfuse.exit_codes import INTERRUPTED
from orderfuse.settings import Settings
from tests.processes.orderfuse.clisupport import DONE, REFUSED, STATUS, Answering, Terminal, environment, process
from tests.processes.orderfuse.test_cli_paper import paper_gateway
from tests.processes.orderfuse.wire import WireBreaker
from tests.processes.pipeline.pipeline import wait_until
from tests.states import Fields

CLOSED = {"circuits": [{"scope": "system", "state": "OPEN", "generation": 5, "latched": True, "reason": "looked odd"}]}
LEAVE_THE_LIVE_PAGE = "\x1b[?1049l"


def test_a_reset_is_of_the_circuit_that_was_shown(home: Path, settings: Settings) -> None:
    stale = {"ok": False, "code": "stale", "error": "system is in generation 6 by now, not 5: look again"}
    with Answering(settings, status=CLOSED, reset=stale) as breaker:
        with Terminal(home, "reset") as terminal:
            terminal.wait_for("Why")
            assert "looked odd" in terminal.seen
            terminal.type("found it\n")
            assert terminal.end() == REFUSED
        assert breaker.asked("reset")[0]["generation"] == 5
    assert "look again; nothing was changed. Now: NO ORDER PASSES" in " ".join(terminal.seen.split())


def test_ctrl_c_at_the_question_changes_nothing(home: Path, settings: Settings) -> None:
    with Answering(settings, status=CLOSED) as breaker:
        with Terminal(home, "reset") as terminal:
            terminal.wait_for("Why")
            assert terminal.ctrl_c_at_a_question() == REFUSED
        assert breaker.asked("reset") == []
    assert "\norderfuse: given up: nothing was changed" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_ctrl_c_while_the_answer_is_waited_for_says_that_it_may_be_done(home: Path, settings: Settings) -> None:
    class Busy(Answering):
        def _answer(self, frames: list[bytes]) -> None:
            self.answers_control = decode_map(frames[-1])["op"] != "reset"
            super()._answer(frames)

    with Busy(settings, status=CLOSED) as breaker, Terminal(home, "reset", "--reason", "x") as terminal:
        wait_until(lambda: breaker.asked("reset"), "the reset at the breaker")
        terminal.ctrl_c()
        assert terminal.end() == INTERRUPTED
    assert "interrupted: what was asked may have been done; look with: orderfuse status" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_a_status_on_a_terminal_of_20_columns_keeps_every_word(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS), Terminal(home, "status", columns=20) as terminal:
        assert terminal.end() == DONE
    assert "margin_low" in terminal.seen
    assert "127.0.0.1:4010" in "".join(terminal.seen.split())
    assert "…" not in terminal.seen


def test_watch_is_a_live_page_that_ctrl_c_ends(home: Path, settings: Settings) -> None:
    with Terminal(home, "watch") as terminal:
        terminal.wait_for("NOBODY ANSWERS")
        with WireBreaker(settings) as breaker:
            terminal.wait_for("ORDERS PASS")
            breaker.tell(Expired(order_id="o-1", strategy_id="s", age_ms=5001))
            terminal.wait_for("s o-1 expired: 5001 ms old at its turn, not sent")
        terminal.wait_for("no breaker is heard; waiting for one")
        terminal.ctrl_c()
        assert terminal.end() == DONE
    assert terminal.seen.rindex(LEAVE_THE_LIVE_PAGE) > terminal.seen.rindex("NOBODY ANSWERS")
    assert "Traceback" not in terminal.seen


# -- completion -------------------------------------------------------------------------------------------


def completed(home: Path, line: str) -> list[str]:
    """What bash would offer for the last word of this line."""
    words = f"orderfuse --home {home} {line}"
    asked = environment(
        _ORDERFUSE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
    )
    done = process(home, env=asked)
    assert done.stderr == ""
    return done.stdout.split()


def at_once(*calls: Callable[[], list[str]]) -> list[list[str]]:
    """All of them side by side: each is a process that mostly waits for its start."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("trip --scope s", ["system", "strategy:alpha"]),
        ("orders --strategy ", ["alpha"]),
        ("resolve ", ["o-7"]),
        ("resolve o-7 --as f", ["filled"]),
        ("tr", ["trip"]),
    ],
)
def test_values_are_completed_with_what_there_is(home: Path, settings: Settings, line: str, offered: list[str]) -> None:
    status: Fields = {"circuits": [{"scope": "system"}, {"scope": "strategy:alpha"}], "unknown": ["o-7"]}
    with Answering(settings, status=status):
        # It would rather offer nothing than wait, which a busy machine may make it do.
        wait_until(lambda: completed(home, line) == offered, f"{offered} for {line!r}")


def test_faults_are_completed_by_the_paper_gateway(home: Path) -> None:
    faults = b'{"ok": true, "faults": {"cut": {"does": "cuts"}, "clog": {"does": "clogs"}, "swallow": {"does": "x"}}}\n'
    with paper_gateway(home, faults):
        assert completed(home, "paper fault c") == ["cut", "clog"]


def test_where_nobody_answers_the_shell_gets_no_error(home: Path) -> None:
    offered = at_once(
        lambda: completed(home, "trip --scope s"),
        lambda: completed(home, "resolve "),
        lambda: completed(home, "paper fault "),
        lambda: completed(home / "nowhere", "orders --strategy "),
    )
    assert offered == [["system"], [], [], []]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_get_their_script(home: Path, shell: str) -> None:
    done = process(home, env=environment(_ORDERFUSE_COMPLETE=f"source_{shell}"))
    assert done.returncode == DONE
    assert "_ORDERFUSE_COMPLETE" in done.stdout
