"""The control socket."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from services.paper.faults.armed import MAX_ARMED, ArmedFaults, Operation
from services.paper.faults.around_orders import DelayAnswers, RejectOrders, SwallowOrders, WarnOrders
from services.paper.faults.at_a_moment import Notice
from services.paper.faults.kinds import KINDS
from services.paper.server.control import MAX_LINE_BYTES, ControlSocket, SocketInUseError
from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import connected, paper, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "links" / "paper"


async def ask(path: Path, *lines: Any) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        for line in lines:
            writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        return [json.loads(await asyncio.wait_for(reader.readline(), 5)) for _ in lines]
    finally:
        writer.close()
        await writer.wait_closed()


def test_reject_arms_and_status_tells(path):
    async def story() -> None:
        async with paper(control_path=path) as gateway, connected(gateway):
            request = {"op": "reject", "count": 3, "code": 203, "text": "no", "order_ref": "r"}
            armed, status = await ask(path, request, {"op": "status"})
            waiting = [{"kind": "reject", "count": 3, "code": 203, "text": "no", "order_ref": "r", "left": 3}]
            assert armed["ok"]
            assert armed["armed"] == waiting
            assert status["ok"]
            assert (status["connections"], status["clients"], status["orders"]) == (1, [7], 0)
            assert status["armed"] == waiting
            cleared, status = await ask(path, {"op": "clear"}, {"op": "status"})
            assert (cleared["cleared"], status["armed"]) == (1, [])

    asyncio.run(story())


def test_every_kind_of_fault_can_be_asked_for_and_says_what_it_does(path):
    async def story() -> None:
        async with paper(control_path=path):
            (reply,) = await ask(path, {"op": "faults"})
            assert set(reply["faults"]) == set(KINDS)
            assert all(kind["does"].endswith(".") for kind in reply["faults"].values())
            assert reply["faults"]["reject"]["fields"]["count"] == "whole numbers from 1 to 1000000 (default 1)"
            assert reply["faults"]["price"]["fields"]["price"] == "numbers above 0 to 1000000000 (required)"

    asyncio.run(story())


def test_fields_may_come_as_text_for_a_person_types_them(path):
    async def story() -> None:
        async with paper(control_path=path) as gateway:
            texts = {"count": "3", "presubmitted": "true", "text": "201", "after_secs": "1.5"}
            (reply,) = await ask(path, {"op": "fault", "kind": "reject", "texts": texts})
            assert reply["ok"]
            (armed,) = gateway.faults.armed()
            assert (armed["count"], armed["presubmitted"], armed["text"], armed["after_secs"]) == (3, True, "201", 1.5)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b"[" * 20_000 + b"\n", "not JSON"),
        ({"count": 1}, "op is null; known are clear, fault, faults, follow, reject, status"),
        ({"op": "explode"}, 'op is "explode"; known are'),
        ({"op": ["reject"]}, 'op is ["reject"]'),
        ({"op": "reject", "count": 0}, "count is 0; allowed are whole numbers from 1"),
        ({"op": "reject", "count": True}, "count is true"),
        ({"op": "reject", "count": 1.5}, "count is 1.5"),
        ({"op": "reject", "code": "201"}, 'code is "201"; allowed are whole numbers'),
        ({"op": "reject", "text": 5}, "text is 5; allowed is text"),
        ({"op": "reject", "text": "x" * 1001}, "at most 1000 characters"),
        ({"op": "reject", "cuont": 3}, 'unknown: "cuont"; did you mean count?; known for reject: after_secs'),
        ({"op": "fault"}, "kind is null; known are reject, inactive"),
        ({"op": "fault", "kind": "rejct"}, 'kind is "rejct"; did you mean reject?'),
        ({"op": "fault", "kind": "cut", "how": "axe"}, 'how is "axe"; allowed is fin or rst or mid_frame'),
        ({"op": "fault", "kind": "omit"}, "omit needs message: accountDownloadEnd or"),
        ({"op": "fault", "kind": "price", "symbol": "A", "price": 0}, "price is 0; allowed are numbers above 0"),
        (
            {"op": "fault", "kind": "trade_by_hand", "symbol": "MSFT", "shares": 0},
            "shares is 0; allowed are numbers from -1e+09 to 1000000000 but 0",
        ),
        ({"op": "fault", "kind": "price", "symbol": "no such", "price": 1}, "No security definition"),
        ({"op": "fault", "kind": "restart", "down_ms": -1}, "whole numbers from 0 to 600000"),
        ({"op": "fault", "kind": "read_only", "active": "yes"}, 'active is "yes"; allowed is true or false'),
        ({"op": "fault", "kind": "reject", "texts": ["count"]}, "allowed is an object"),
        ({"op": "fault", "kind": "reject", "texts": {"count": "three"}}, 'count is "three"; allowed are whole'),
        ({"op": "fault", "kind": "reject", "texts": {}, "count": 1}, 'unknown: "count"; known for this op'),
        ({"op": "status", "verbose": 1}, 'unknown: "verbose"'),
    ],
)
def test_bad_input_is_answered_with_what_is_allowed(path, line, words):
    async def story() -> None:
        async with paper(control_path=path) as gateway:
            reply, status = await ask(path, line, {"op": "status"})
            assert not reply["ok"]
            assert words in reply["error"]
            assert status["ok"]
            assert gateway.faults.armed() == []

    asyncio.run(story())


def test_a_line_without_end_is_refused_and_the_connection_closed(path):
    async def story() -> None:
        async with paper(control_path=path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"x" * (MAX_LINE_BYTES + 100))
            reply = json.loads(await asyncio.wait_for(reader.readline(), 5))
            assert reply == {"ok": False, "error": f"a line is longer than {MAX_LINE_BYTES} bytes"}
            writer.close()

    asyncio.run(story())


def test_only_the_owner_can_reach_the_socket_and_it_goes_with_the_gateway(path):
    async def story() -> None:
        async with paper(control_path=path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert not path.exists()

    asyncio.run(story())


def test_the_socket_of_a_dead_process_is_replaced(path):
    path.parent.mkdir(parents=True)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()

    async def story() -> None:
        async with paper(control_path=path):
            assert (await ask(path, {"op": "status"}))[0]["ok"]

    asyncio.run(story())


def test_a_living_gateway_is_not_robbed_of_its_socket(path):
    async def story() -> None:
        async with paper(control_path=path):
            with pytest.raises(SocketInUseError, match="another paper gateway answers"):
                await ControlSocket(path, PaperGateway()).start()
            assert (await ask(path, {"op": "status"}))[0]["ok"]

    asyncio.run(story())


def test_a_file_that_is_no_socket_is_left_alone(path):
    path.parent.mkdir(parents=True)
    path.write_text("precious")

    async def story() -> None:
        with pytest.raises(SocketInUseError, match="not a socket"):
            await ControlSocket(path, PaperGateway()).start()

    asyncio.run(story())
    assert path.read_text() == "precious"


# ---------------------------------------------------------------- following


async def following(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"op": "follow"}\n')
    assert json.loads(await asyncio.wait_for(reader.readline(), 5)) == {"ok": True, "following": True}
    return reader, writer


def test_a_follower_gets_every_message_as_a_line_when_it_happens(path):
    async def story() -> None:
        async with paper(control_path=path, record_in_memory=False) as gateway:
            assert not gateway.record.active, "nothing is decoded for nobody"
            reader, writer = await following(path)
            async with connected(gateway) as ib:
                await ib.reqCurrentTimeAsync()
                lines: list[dict[str, Any]] = []
                while not lines or lines[-1]["message"] != "currentTime":
                    lines.append(json.loads(await asyncio.wait_for(reader.readline(), 5)))
                assert [line["message"] for line in lines[:3]] == ["handshake", "handshake", "startApi"]
                assert {line["client_id"] for line in lines[3:]} == {7}
                times = [line["ns"] for line in lines]
                assert times == sorted(times)
            writer.close()
            await until(lambda: not gateway.record.active, "the follower is forgotten")

    asyncio.run(story())


def test_a_follower_that_does_not_read_is_dropped_with_a_line(path, monkeypatch):
    monkeypatch.setattr("services.paper.server.control.MAX_FOLLOW_BYTES", 10_000)

    async def story() -> None:
        async with paper(control_path=path, messages_per_second=0) as gateway:
            reader, writer = await following(path)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            async with connected(gateway) as ib:
                while gateway.record.followers:
                    await ib.reqAccountUpdatesAsync("DU0000000")
            reader._transport.resume_reading()  # type: ignore[attr-defined]
            last = b""
            while line := await asyncio.wait_for(reader.readline(), 5):
                last = line
            assert "dropped: more than 10000 bytes" in json.loads(last)["error"]
            writer.close()

    asyncio.run(story())


# ---------------------------------------------------------------- the board by itself


def at(on: str = "new", **fields: Any) -> Operation:
    return Operation(**{"on": on, "client_id": 7, "order_ref": "s1", "symbol": "AAPL", **fields})


def test_faults_strike_in_the_order_in_which_they_were_armed_and_one_order_has_one_of_them():
    board = ArmedFaults(time.monotonic)
    board.arm(RejectOrders(count=1, code=201, text="first"))
    board.arm(RejectOrders(count=2, code=110, text="second", order_ref="s"))
    struck: list[list[Any]] = [list(board.for_order(at())) for _ in range(4)]
    assert [[fault.text for fault in faults] for faults in struck] == [["first"], ["second"], ["second"], []]
    assert [faults[0].booked for faults in struck[:3]] == [True, False, False]
    assert board.armed() == []
    assert board.injected == {"reject": 3}


def test_faults_that_do_not_contradict_each_other_strike_together():
    board = ArmedFaults(time.monotonic)
    for fault in (DelayAnswers(), SwallowOrders(), RejectOrders(), WarnOrders()):
        board.arm(fault)
    assert [type(fault) for fault in board.for_order(at())] == [DelayAnswers, SwallowOrders, WarnOrders]
    assert [type(fault) for fault in board.for_order(at())] == [RejectOrders]


@pytest.mark.parametrize(
    "other", [{"on": "modify"}, {"on": "cancel"}, {"client_id": 8}, {"order_ref": "x"}, {"symbol": "MSFT"}]
)
def test_a_fault_strikes_only_what_it_is_meant_for(other):
    board = ArmedFaults(time.monotonic)
    board.arm(RejectOrders(client_id=7, order_ref="s", symbol="AAPL"))
    assert board.for_order(at(**other)) == []
    assert len(board.for_order(at())) == 1


def test_a_fault_waits_for_its_time_and_its_number_of_orders():
    clock = ManualClock()
    board = ArmedFaults(clock)
    board.arm(RejectOrders(after_secs=10))
    board.arm(Notice(code=1100, after_orders=2))
    assert (board.for_order(at()), board.due()) == ([], [])
    board.order_seen()
    assert board.due() == []
    board.order_seen()
    assert board.due() == [Notice(code=1100, after_orders=2)]
    clock.now += 10
    assert len(board.for_order(at())) == 1


class ManualClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_armed_faults_are_bounded(path):
    async def story() -> None:
        async with paper(control_path=path) as gateway:
            for _ in range(MAX_ARMED):
                gateway.faults.arm(RejectOrders(count=1, code=201, text=""))
            (reply,) = await ask(path, {"op": "reject"})
            assert not reply["ok"]
            assert "use the op 'clear' first" in reply["error"]

    asyncio.run(story())
