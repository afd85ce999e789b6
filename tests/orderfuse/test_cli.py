"""The `orderfuse` command: what it asks, what it shows, what it ends with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orderfuse.commands import app
from orderfuse.messages import Expired
from orderfuse.settings import Settings
from tests.orderfuse.wire import DEADLINE_S, Fields, WireBreaker

DONE, REFUSED, USAGE, NOTHING_ANSWERS = 0, 1, 2, 3


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ORDERFUSE_"):
            monkeypatch.delenv(name)


def run(home: Path, *words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), *words], input=typed)


class Answering(WireBreaker):
    """Answers each op as told."""

    def __init__(self, settings: Settings, **replies: Fields) -> None:
        self.replies = replies
        super().__init__(settings)

    def _reply(self, request: Fields) -> Fields:
        return self.replies.get(request["op"]) or super()._reply(request)


CIRCUIT = {
    "scope": "system",
    "state": "OPEN",
    "reason": "5 failures [in] a\x1b[31m row",
    "failures": 5,
    "retry_at": "2025-01-06T14:35:00+00:00",
    "latched": True,
    "conditions": ["margin_low"],
    "trading_allowed": False,
}
STATUS = {
    "circuits": [CIRCUIT],
    "executor": {"present": True, "account": "DU0000000", "lease_ms": 500},
    "gateway": {"connected": True, "host": "127.0.0.1", "port": 4010},
    "orders_out": 2,
    "unknown": ["o-7"],
    "queued": 3,
    "version": "0.1.0",
}


def test_status_shows_everything_and_nothing_moves_the_terminal(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS):
        result = run(home, "status")
    assert result.exit_code == DONE
    for word in ("system", "OPEN", "latched", "[in]", "margin_low", "DU0000000", "4010", "3 queued", "2 out", "o-7"):
        assert word in result.output
    assert "\x1b" not in result.output


def test_status_as_json_is_the_replys_map(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS):
        result = run(home, "status", "--json")
    assert result.exit_code == DONE
    reply = json.loads(result.stdout)
    assert reply["ok"] is True
    assert {name: reply[name] for name in STATUS} == STATUS


@pytest.mark.parametrize("words", [("because", "of", "this"), ("--reason", "because of this")])
def test_a_trip_says_why_and_who(home: Path, settings: Settings, words: tuple[str, ...]) -> None:
    trip = {"generation": 4, "fenced": True, "written": ["o-1"], "cancelling": ["o-2"]}
    with Answering(settings, trip=trip) as breaker:
        result = run(home, "trip", *words, "--scope", "strategy:s", "--cancel", "ours")
        (request,) = breaker.requests
    assert result.exit_code == DONE
    assert (request["reason"], request["scope"], request["cancel"]) == ("because of this", "strategy:s", "ours")
    assert str(os.getpid()) in request["who"]
    for word in ("strategy:s is OPEN", "generation 4", "confirmed", "o-1", "o-2"):
        assert word in result.output
    assert "NOT" not in result.output


def test_a_trip_without_the_executors_word_says_so(home: Path, settings: Settings) -> None:
    trip = {"generation": 4, "fenced": False, "written": [], "cancelling": [], "warning": "disk full"}
    with Answering(settings, trip=trip):
        result = run(home, "trip", "--reason", "x")
    assert "NOT confirmed" in result.output
    assert "disk full" in result.output


@pytest.mark.parametrize("command", ["trip", "reset"])
def test_without_a_reason_nothing_is_done(home: Path, settings: Settings, command: str) -> None:
    with Answering(settings) as breaker:
        for words in ((), ("--reason", ""), ("--reason", "  ")):
            result = run(home, command, *words)
            assert result.exit_code == USAGE
            assert "reason" in result.output
        assert breaker.requests == []


def test_a_reason_is_asked_for_at_a_terminal(home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("orderfuse.commands.sys", type("fake", (), {"stdin": Terminal(), "stdout": sys.stdout}))
    with Answering(settings, reset={"generation": 2, "state": "CLOSED"}) as breaker:
        result = run(home, "reset", typed="looked at it\n")
        assert result.exit_code == DONE
        assert breaker.requests[0]["reason"] == "looked at it"


def test_a_reset_hands_on_the_generation_and_a_stale_one_is_refused(home: Path, settings: Settings) -> None:
    with Answering(settings, reset={"generation": 6, "state": "CLOSED"}) as breaker:
        result = run(home, "reset", "--reason", "fine again", "--generation", "5")
        assert result.exit_code == DONE
        assert "CLOSED, generation 6" in result.output
        assert breaker.requests[0]["generation"] == 5

        breaker.replies["reset"] = {"ok": False, "code": "stale", "error": "generation is 7"}
        result = run(home, "reset", "--reason", "fine again", "--generation", "5")
        assert result.exit_code == REFUSED
        assert "stale" in result.output
        assert "generation is 7" in result.output


def test_orders_are_listed(home: Path, settings: Settings) -> None:
    order = {
        "order_id": "o-1",
        "strategy_id": "s",
        "contract": {"symbol": "AAPL"},
        "order": {"action": "BUY", "totalQuantity": 10},
        "state": "working",
        "filled": 4.0,
        "last_event": {"kind": "accepted"},
    }
    with Answering(settings, orders={"orders": [order], "more": True}) as breaker:
        result = run(home, "orders", "--strategy", "s", "--state", "working")
        assert result.exit_code == DONE
        for word in ("o-1", "BUY 10 AAPL", "working", "4.0", "accepted", "there are more"):
            assert word in result.output
        assert (breaker.requests[0]["strategy_id"], breaker.requests[0]["state"]) == ("s", "working")
        assert json.loads(run(home, "orders", "--json").stdout)["orders"] == [order]


@pytest.mark.parametrize(
    "words",
    [("status",), ("trip", "x"), ("reset", "--reason", "x"), ("orders",), ("paper", "status"), ("paper", "reject")],
)
def test_when_nothing_answers_it_is_said_within_a_second(home: Path, words: tuple[str, ...]) -> None:
    started = time.monotonic()
    result = run(home, *words)
    assert result.exit_code == NOTHING_ANSWERS
    assert time.monotonic() - started < 1
    assert "answers at" in result.output


@pytest.mark.parametrize(
    "words", [("dance",), ("trip", "x", "--reason", "y"), ("trip", "x", "--cancel", "some"), ("orders", "--limit", "0")]
)
def test_what_cannot_be_meant_is_a_usage_error(home: Path, words: tuple[str, ...]) -> None:
    assert run(home, *words).exit_code == USAGE


def test_a_wrong_setting_is_a_usage_error_that_names_it(home: Path) -> None:
    (home / "orderfuse.toml").write_text("[ib]\nport = 0\n")
    result = run(home, "status")
    assert result.exit_code == USAGE
    assert "ib.port" in result.output


def test_too_long_a_reason_is_refused_and_not_sent(home: Path, settings: Settings) -> None:
    with Answering(settings) as breaker:
        assert run(home, "trip", "--reason", "x" * 20_000).exit_code == REFUSED
        assert breaker.requests == []


# -- watch ------------------------------------------------------------------------------------------------


def test_watch_prints_one_line_for_each_event_until_it_is_stopped(home: Path, settings: Settings) -> None:
    command = [sys.executable, "-W", "error", "-m", "orderfuse.cli", "--home", str(home), "watch"]
    with (
        WireBreaker(settings) as breaker,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline()]
            while "a breaker is there" not in lines[-1]:
                lines.append(process.stdout.readline())
            breaker.tell(Expired(order_id="o-1", strategy_id="s", age_ms=5001))
            while "expired" not in lines[-1]:
                lines.append(process.stdout.readline())
            process.send_signal(2)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    assert "order/s/ expired order_id=o-1 strategy_id=s seq=1 age_ms=5001" in lines[-1]


# -- paper ------------------------------------------------------------------------------------------------


@contextmanager
def paper_gateway(home: Path, *answers: bytes) -> Iterator[list[Any]]:
    """Answers each connection with the next of `answers`; yields what was asked."""
    path = home / "links" / "paper"
    path.parent.mkdir(exist_ok=True)
    asked: list[Any] = []

    def serve() -> None:
        for answer in answers:
            peer, _ = server.accept()
            with peer, peer.makefile("rwb") as stream:
                asked.append(json.loads(stream.readline()))
                stream.write(answer)
                stream.flush()

    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(DEADLINE_S)
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(DEADLINE_S)


def test_paper_reject_arms_the_rejections(home: Path) -> None:
    with paper_gateway(home, b'{"ok": true}\n', b'{"ok": false, "error": "count is 0"}\n') as asked:
        result = run(home, "paper", "reject", "--count", "3", "--code", "203", "--text", "not allowed")
        assert result.exit_code == DONE
        assert "203" in result.output

        result = run(home, "paper", "reject")
        assert result.exit_code == REFUSED
        assert "count is 0" in result.output
    assert asked[0] == {"op": "reject", "count": 3, "code": 203, "text": "not allowed"}


def test_paper_status_prints_the_reply(home: Path) -> None:
    with paper_gateway(home, b'{"ok": true, "orders": 3}\n') as asked:
        result = run(home, "paper", "status")
    assert json.loads(result.stdout) == {"ok": True, "orders": 3}
    assert asked == [{"op": "status"}]


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b'{"ok": true}'[:5]])
def test_a_paper_gateway_that_talks_nonsense_does_not_answer(home: Path, answer: bytes) -> None:
    with paper_gateway(home, answer):
        assert run(home, "paper", "status").exit_code == NOTHING_ANSWERS


# -- without its extra ------------------------------------------------------------------------------------


def test_without_typer_the_command_says_how_to_get_it() -> None:
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name in ('typer', 'rich') else find(name, *more)\n"
        "from orderfuse.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == USAGE
    assert "pip install 'orderfuse[cli]'" in done.stderr
    assert done.stdout == ""
