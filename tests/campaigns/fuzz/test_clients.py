"""Clients and the command between garbage: a typed error or a notice, never a traceback, never a wait for ever."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from orderfuse.bus import links
from orderfuse.bus.notices import Unreadable
from orderfuse.client.control import ControlClient
from orderfuse.client.sync import OrderClient
from orderfuse.client.watch import Watcher
from orderfuse.errors import BreakerUnavailable, ControlRefused, OrderError
from orderfuse.settings import Settings
from tests.campaigns.fuzz.mutate import BYTES, NUMBERS, STRANGE, VALUES, pack

STATE = {
    "v": 1, "kind": "state", "scope": "system", "state": "CLOSED", "reason": None, "failures": 0, "failure_count": 0,
    "opened_at": None, "retry_at": None, "half_open_tries": 0, "latched": False, "generation": 1, "conditions": [],
    "fenced": True, "trading_allowed": True, "at_ns": 1, "seq": 1, "repeat": False,
}  # fmt: skip
EVENT = {
    "v": 1, "kind": "filled", "order_id": "o", "strategy_id": "alpha", "at_ns": 1, "seq": 1, "exec_id": "e",
    "shares": 1.0, "price": 2.0, "cum_qty": 1.0, "avg_price": 2.0, "remaining": 0.0, "done": True,
}  # fmt: skip
REPLIES: dict[str, dict[str, Any]] = {
    "status": {"circuits": [STATE], "executor": {"present": True}, "gateway": {"host": "h"}, "unknown": ["o"]},
    "orders": {"orders": [{"order_id": "o", "contract": {}, "order": {}, "last_event": EVENT}], "more": False},
    "events": {"events": [EVENT], "more": False},
    "trip": {"generation": 2, "fenced": True, "written": ["o"], "cancelling": []},
    "reset": {"generation": 2, "state": "CLOSED"},
    "report": {"conditions": ["x"]},
    "resolve": {"event": EVENT},
}


class Liar:
    """Binds the breaker's public links, and answers and publishes what it is given."""

    def __init__(self, settings: Settings, answer: Callable[[dict[str, Any]], bytes]) -> None:
        self._settings, self._answer = settings, answer
        self.events: list[list[bytes]] = []
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Liar:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        context = zmq.Context()
        orders, events, control = (
            links.bind(context, self._settings, "orders"),
            links.bind(context, self._settings, "events"),
            links.bind(context, self._settings, "control"),
        )
        orders.subscribe(b"order")
        self._ready.set()
        while not self._stop.is_set():
            for frames in [[b"state/system/", msgpack.packb({**STATE, "repeat": True})], *self.events]:
                events.send_multipart(frames)
            if control.poll(20):
                *envelope, request = control.recv_multipart()
                control.send_multipart([*envelope, self._answer(msgpack.unpackb(request))])
        context.destroy(linger=0)


def garbled(draw: random.Random, fields: dict[str, Any]) -> bytes:
    """A reply or event with something wrong in it, as the fuzzer would make it."""
    copy = msgpack.unpackb(msgpack.packb(fields))
    if draw.random() < 0.2:
        return draw.choice(list(BYTES.values()))(draw, pack(copy), pack(copy))
    draw.choice(list(VALUES.values()))(draw, copy)
    return pack(copy)


def wrong_inside(op: str) -> Iterator[dict[str, Any]]:
    """Replies that are read, and have one value of another type at each place of the first two levels."""
    plain = [value for value in (*STRANGE[:9], *NUMBERS[:3], "x") if not isinstance(value, bytes)]
    for key in REPLIES[op]:
        yield from ({**REPLIES[op], key: value} for value in plain)
        first = next(iter(REPLIES[op][key]), None) if isinstance(REPLIES[op][key], list) else None
        entry = first if isinstance(first, dict) else {}
        for name in entry:
            yield from ({**REPLIES[op], key: [{**entry, name: value}]} for value in plain[:6])


def reply_to(request: dict[str, Any], fields: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb({"v": 1, "kind": "reply", "id": request["id"], "ok": True, **fields}))


def test_a_garbled_reply_is_read_or_a_typed_error(settings: Settings) -> None:
    draw = random.Random(1)

    def lie(request: dict[str, Any]) -> bytes:
        return garbled(draw, {"v": 1, "kind": "reply", "id": request["id"], "ok": True, **REPLIES[request["op"]]})

    outcomes = set()
    with Liar(settings, lie):
        for _ in range(80):
            # Anew for each: a reply of more than a megabyte costs the connection.
            with ControlClient(settings) as client:
                try:
                    client.request(draw.choice(list(REPLIES)), timeout_s=0.05, topic="order/alpha/")
                    outcomes.add("read")
                except (BreakerUnavailable, ControlRefused) as error:
                    outcomes.add(type(error).__name__)
    assert outcomes == {"read", "BreakerUnavailable", "ControlRefused"}


def test_a_watcher_between_garbled_events_goes_on_and_says_what_it_could_not_read(settings: Settings) -> None:
    draw = random.Random(2)
    with Liar(settings, lambda request: garbled(draw, {"id": request["id"], **REPLIES["events"]})) as liar:
        liar.events = [
            [draw.choice((b"order/alpha/", b"state/x/", b"health/", b"order/\x1b[2J/")), garbled(draw, fields)]
            for fields in (EVENT, STATE) * 100
        ]
        with Watcher(settings) as watcher:
            seen: set[str] = set()
            deadline = time.monotonic() + 30
            while not {"Unreadable", "Filled", "State", "Heard"} <= seen and time.monotonic() < deadline:
                for _, item in watcher.read(0.1):
                    seen.add(type(item).__name__)
                    assert not isinstance(item, Unreadable) or item.reason.isprintable()
    assert {"Unreadable", "Filled", "State", "Heard"} <= seen


def test_a_strategy_between_garbled_events_gets_an_answer_or_a_typed_error(settings: Settings) -> None:
    draw = random.Random(3)
    contract = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
    order = {"action": "BUY", "orderType": "MKT", "totalQuantity": 1}
    with Liar(settings, lambda request: garbled(draw, {"id": request["id"], **REPLIES["events"]})) as liar:
        kinds = ("passed", "blocked", "invalid", "filled", "rejected", "request_passed", "dance")
        liar.events = [
            [b"order/alpha/", garbled(draw, {**EVENT, "kind": draw.choice(kinds), "order_id": "o-1", "seq": seq})]
            for seq in range(1, 60)
        ]
        with OrderClient("alpha", settings=settings) as client:
            for call in (
                lambda: client.submit(contract, order, order_id="o-1", ttl_ms=300, timeout=0.3),
                lambda: client.cancel("o-1", timeout=0.3),
                lambda: list(client.reports(timeout=0.1)),
                lambda: client.status("o-1"),
            ):
                with contextlib.suppress(OrderError, ControlRefused):
                    call()


COMMANDS = {
    "status": ["status"],
    "orders": ["orders"],
    "trip": ["trip", "x"],
    "report": ["report", "condition", "x", "--reason", "x"],
}


@pytest.mark.parametrize("op", COMMANDS)
def test_the_command_says_in_one_line_that_a_reply_cannot_be_read(settings: Settings, op: str) -> None:
    lies = list(wrong_inside(op))
    # Each place stands for its like; all of them would take a minute.
    lies = random.Random(4).sample(lies, min(len(lies), 25))
    left = list(lies)

    def lie(request: dict[str, Any]) -> bytes:
        """A command may ask for more, to say what will happen; only its own request is lied to."""
        fields = left.pop() if request["op"] == op else REPLIES[request["op"]]
        return reply_to(request, fields)

    with Liar(settings, lie):
        # In one process: starting Python a hundred times would take a minute.
        script = (
            "from typer.testing import CliRunner\nfrom orderfuse.cli.commands import app\n"
            f"for number in range({len(lies)}):\n"
            f"    result = CliRunner().invoke(app, {COMMANDS[op]!r})\n"
            "    assert isinstance(result.exception, SystemExit | None), (number, repr(result.exception))\n"
            "    assert result.exit_code in (0, 1), (number, result.output)\n"
            "    assert result.exit_code == 0 or result.stderr.count('\\n') == 1, (number, result.stderr)\n"
            "    assert all(line.isprintable() for line in result.output.splitlines()), (number, result.output)\n"
        )
        done = run_python(["-c", script], settings.home)
    assert done.returncode == 0, done.stderr


def test_the_command_that_watches_prints_no_bytes_that_move_a_cursor(settings: Settings) -> None:
    with Liar(settings, lambda request: reply_to(request, REPLIES["status"])) as liar:
        liar.events = [
            [b"order/\x07\r/", msgpack.packb({**EVENT, "kind": "dance\x1b[2J\n"})],
            [b"order/\x07\r/", msgpack.packb({**EVENT, "at_ns": 2**64 - 1, "exec_id": "\x1b[2J"})],
        ]
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "orderfuse.cli", "watch"],
            env={**os.environ, "ORDERFUSE_HOME": str(settings.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(12)]
        process.terminate()
        process.wait(30)
        process.stdout.close()
    assert all(line.rstrip("\n").isprintable() for line in lines), lines
    assert any("unreadable" in line for line in lines)
    assert any("filled" in line for line in lines)


def run_python(arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ORDERFUSE_HOME": str(home)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
