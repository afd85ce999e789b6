"""A short form of the fuzzing, and what makes its oracle trustworthy."""

from __future__ import annotations

import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from tests.campaigns.fuzz import oracle as oracle_module
from tests.campaigns.fuzz.campaign import MAX_IDLE, SETTINGS, Attacker, begin, is_somebodys_will, news_of, run
from tests.campaigns.fuzz.corpus import MARKET, STOCK, STRATEGY, order_message
from tests.campaigns.fuzz.dialer import Dialer
from tests.campaigns.fuzz.hostile import HONEST
from tests.campaigns.fuzz.mutate import Case, case_of, case_of_text
from tests.campaigns.fuzz.oracle import Oracle
from tests.campaigns.fuzz.validity import Orders
from tests.campaigns.fuzz.zmtp import GREETING, connect, frame, ready, shake_hands
from tests.processes.pipeline.pipeline import Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

pytestmark = pytest.mark.xdist_group("fuzz")

SHORT_SECS = 10.0


def test_garbage_on_the_public_links_moves_nothing_and_the_honest_strategy_trades_on() -> None:
    started = time.monotonic()
    result = run(1, lambda _: time.monotonic() - started > SHORT_SECS, tell=lambda _: None)
    assert result.complaints == []
    assert result.sent.total() > 500, "too little was sent to show anything"
    assert result.fills > 5
    assert result.placed > result.fills, "none of the fuzzer's valid orders was placed, so none was judged"
    assert len(result.dropped) > 8, result.dropped
    read = sum(count for cause, count in result.dropped.items() if cause != "peer_left_or_cut_off")
    assert read > result.sent.total() / 5, f"most was sent and not read: {result.dropped}"


# -- the oracle can fail


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Pipeline, RawProgram, Oracle]]:
    with trading(HONEST, **SETTINGS) as (pipeline, program):
        oracle = begin(pipeline, program, Orders())
        oracle.warm()
        yield pipeline, program, oracle


Watched = tuple[Pipeline, RawProgram, Oracle]


def test_the_oracle_sees_an_order_that_nobody_asked_for(watched: Watched) -> None:
    _, program, oracle = watched
    assert oracle.quick_look() + oracle.long_look() == []
    with_another_name = RawProgram(watched[0].home, STRATEGY)
    with with_another_name as fuzzer:
        fuzzer.ready()
        order_id = fuzzer.submit()
        fuzzer.wait_event("filled", order_id)
    assert [text for text in oracle.long_look() if order_id in text and "no valid message" in text]
    assert program.request("status")["ok"]


def test_the_oracle_sees_what_a_log_must_not_have(watched: Watched) -> None:
    pipeline, _, oracle = watched
    with (pipeline.home / "breaker.log").open("a") as log:
        log.write("Traceback (most recent call last)\n" + "x" * 5000 + "\n\x1b[2J\n" + "again\n" * 500)
    said = "\n".join(oracle.long_look())
    for expected in ("Traceback", "a line of 5000", "\\x1b", "lines, allowed are"):
        assert expected in said


def test_the_oracle_sees_memory_and_files_that_grow(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, _, oracle = watched
    monkeypatch.setattr(oracle, "growth_mb", -1000.0)
    with closing(Dialer()) as dialer:
        connections = [connect(pipeline.home / "links" / "control", dialer) for _ in range(60)]
    for connection in connections:
        connection.sendall(GREETING + ready(b"DEALER"))
    assert oracle.quick_look() == []
    said = "\n".join(oracle.long_look())
    for connection in connections:
        connection.close()
    assert "breaker has grown" in said
    assert "open files" in said or not Path("/proc").exists()


def test_the_oracle_sees_a_circuit_that_moves_and_a_process_that_ends(watched: Watched) -> None:
    pipeline, program, oracle = watched
    program.request("trip", scope=f"strategy:{HONEST}", reason="a test")
    assert "the circuit strategy:honest was" in "\n".join(oracle.quick_look())
    pipeline.kill("executor")
    pipeline.start("executor")
    pipeline.processes["executor"].kill()
    pipeline.processes["executor"].wait()
    assert oracle.quick_look() == ["the executor process ended with -9"]


# -- the fuzzer itself


def test_a_seed_and_a_number_are_a_case_and_its_text_is_the_same_case() -> None:
    cases = [case_of(5, number, 1) for number in range(2000)]
    assert cases == [case_of(5, number, 1) for number in range(2000)], "what is shared was changed"
    for case in cases[:300]:
        again = case_of_text(case.as_text())
        assert (again.link, again.frames, again.stream) == (case.link, case.frames, case.stream)


def test_a_valid_command_and_a_valid_order_of_another_are_held_back() -> None:
    trip = {"v": 1, "kind": "request", "op": "trip", "id": 1, "reason": "x"}
    submit = order_message(random.Random(1), "market", 1, 1)
    for link, frames, held in (
        ("control", [trip], True),
        ("control", [{**trip, "scope": "x"}], False),
        ("orders", [submit], False),
        ("orders", [{**submit, "strategy_id": HONEST}], True),
        ("orders", [{**submit, "strategy_id": HONEST, "ttl_ms": 0}], False),
    ):
        assert is_somebodys_will(Case(link, "", tuple(map(msgpack.packb, frames)))) is held


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order", {**MARKET, "totalQuantity": 0}),
        ("order", {**MARKET, "totalQuantity": float("nan")}),
        ("order", {**MARKET, "transmit": True}),
        ("order", {**MARKET, "colour": "red"}),
        ("order", {**MARKET, "lmtPrice": "1"}),
        ("contract", {**STOCK, "conId": 1.5}),
        ("order_id", "a b"),
        ("ttl_ms", 0),
        ("sent_ns", 2**63),
        ("v", 2),
    ],
)
def test_the_judge_takes_a_valid_order_and_none_with_a_wrong_field(field: str, value: object) -> None:
    message = {"v": 1, "kind": "submit", "order_id": "a", "strategy_id": "s", "sent_ns": 1}
    message |= {"contract": STOCK, "order": MARKET}
    wire = {"orderRef": "a", **{name: str(value) for name, value in {**STOCK, **MARKET}.items()}, "conId": "0"}
    orders = Orders()
    orders.sent((b"order", msgpack.packb({**message, field: value})))
    assert "no valid message" in orders.complaint(wire) or orders.complaint({**wire, "orderRef": "a b"})
    orders.sent((b"order", msgpack.packb(message)))
    assert orders.complaint(wire) == ""
    assert "terms" in orders.complaint({**wire, "totalQuantity": "2"})
    assert "control character" in orders.complaint({**wire, "tif": "\x00"})


# -- what the fuzzing found


@pytest.fixture
def breaker() -> Iterator[tuple[Pipeline, RawProgram]]:
    with running("breaker") as pipeline, RawProgram(pipeline.home) as program:
        program.ready()
        yield pipeline, program


def test_a_subscription_of_megabytes_is_cut_off_and_costs_nothing(breaker: tuple[Pipeline, RawProgram]) -> None:
    pipeline, program = breaker
    pid = pipeline.processes["breaker"].pid
    before = oracle_module.memory_mb(pid)
    with closing(Dialer()) as dialer:
        peer = connect(pipeline.home / "links" / "events", dialer)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        peer.sendall(GREETING + ready(b"SUB") + frame(b"\x01" + b"x" * 8_000_000))
    peer.close()
    assert program.request("status")["ok"]
    assert oracle_module.memory_mb(pid) < before + 20


def test_a_program_that_asks_for_long_replies_and_reads_none_costs_little(
    breaker: tuple[Pipeline, RawProgram],
) -> None:
    pipeline, program = breaker
    for _ in range(1500):
        program.submit(ttl_ms=0)
    last = program.submit(ttl_ms=0)
    program.wait_event("invalid", last)
    page = {"v": 1, "kind": "request", "op": "events", "id": 1, "topic": "order/raw/", "limit": 1000}
    before = oracle_module.memory_mb(pipeline.processes["breaker"].pid)
    with closing(Dialer()) as dialer:
        peer = connect(pipeline.home / "links" / "control", dialer)
    shake_hands(peer, b"DEALER")
    status = {"v": 1, "kind": "request", "op": "status", "id": 2}
    try:
        peer.sendall(frame(msgpack.packb(page)) * 250 + frame(msgpack.packb(status)) * 2000)
        with news_of(pipeline, "health/") as health:
            wait_until(
                lambda: health()["dropped"].get("reply_to_nobody", 0) > 200, "replies that nobody takes are dropped"
            )
        # All of the pages would be 34 MB.
        assert oracle_module.memory_mb(pipeline.processes["breaker"].pid) < before + 15
    finally:
        peer.close()


def test_a_flood_of_connections_does_not_end_the_breaker() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip("this system lets no process open more files")
    # What this process has open already is not the breaker's.
    open_now = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 300, hard))
    peers: list[socket.socket] = []
    try:
        with running("breaker") as pipeline, RawProgram(pipeline.home) as program, closing(Dialer()) as dialer:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 1000, hard))
            program.ready()
            # Idle ones are cut off after two seconds: these must be there at the same time.
            while len(peers) < 600:
                peers.append(connect(pipeline.home / "links" / "control", dialer))
            assert program.request("status")["ok"]
            assert pipeline.processes["breaker"].poll() is None
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reason_in_the_log_is_one_line_whatever_stands_in_it(breaker: tuple[Pipeline, RawProgram]) -> None:
    pipeline, program = breaker
    program.request("trip", reason="\n2026-01-01 00:00:00.000 INFO    system: CLOSED\x1b[2J")
    program.wait_state(latched=True)
    assert all(line.isprintable() for line in pipeline.log("breaker").splitlines())
    assert not [line for line in pipeline.log("breaker").splitlines() if line.startswith("2026-01-01")]


def test_idle_connections_are_kept_within_a_bound(breaker: tuple[Pipeline, RawProgram]) -> None:
    attacker = Attacker(breaker[0])
    attacker.send(Case("events", "", (), GREETING, 100, stays=True))
    assert attacker.idle == MAX_IDLE
    attacker.close()
