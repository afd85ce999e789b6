"""The real process behind real sockets: what it answers, what it survives, and how it ends."""

import contextlib
import random
import resource
import socket
import sqlite3
import subprocess
import sys
import time
from typing import Any

import msgpack
import pytest
import zmq

from tests.processes.breaker.process import Deadline, Home, kill, run_to_the_end

pytestmark = pytest.mark.xdist_group("breaker")

LINKS = {"orders": zmq.XPUB, "control": zmq.DEALER, "dispatch": zmq.DEALER, "feedback": zmq.PUSH}


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


def request(op, **fields):
    return msgpack.packb({"v": 1, "kind": "request", "op": op, "id": 7, **fields})


# The way of an order, once through all links.


def test_an_order_goes_all_the_way_and_its_events_can_be_asked_for(home):
    home.serve()
    peer, executor = home.peer(), home.executor()
    peer.ready()
    peer.allowed()
    peer.submit("o-1")
    peer.event("o-1", "passed")
    peer.event("o-1", "accepted")
    assert [place["order_id"] for place in executor.placed] == ["o-1"]
    events = peer.ask("events", topic="order/raw/")["events"]
    assert [event["kind"] for event in events] == ["passed", "accepted"]
    assert events[1]["seq"] == events[0]["seq"] + 1
    (order,) = peer.ask("orders", order_id="o-1")["orders"]
    assert (order["state"], order["last_event"]["kind"]) == ("working", "accepted")
    assert peer.status()["executor"] == {"present": True, "account": "DU1", "lease_ms": 500}


# Control.


def test_control_answers_a_req_socket_as_well_as_a_dealer(home):
    home.serve()
    peer = home.peer()
    asker = peer.socket(zmq.REQ, "control")
    asker.send(request("status"))
    assert asker.poll(15_000)
    assert msgpack.unpackb(asker.recv())["ok"] is True
    peer.control.send_multipart([b"my", b"own", b"envelope", request("status")])
    assert peer.control.poll(15_000)
    *envelope, payload = peer.control.recv_multipart()
    assert (envelope, msgpack.unpackb(payload)["id"]) == ([b"my", b"own", b"envelope"], 7)


@pytest.mark.parametrize(
    ("payload", "code", "named"),
    [
        (request("dance"), "unknown_op", "status"),
        (request(["status"]), "unknown_op", "status"),
        (request("trip"), "bad_request", "reason"),
        (request("trip", reason="x" * 501), "bad_request", "reason"),
        (request("trip", reason="x", scope="strategy:"), "bad_request", "scope"),
        (request("trip", reason="x", cancel="everything"), "bad_request", "cancel"),
        (request("reset", reason="x", generation=-1), "bad_request", "generation"),
        (request("reset", reason="x", scope="strategy:nobody"), "bad_request", "nobody"),
        (request("orders", limit=1001), "bad_request", "limit"),
        (request("events"), "bad_request", "topic"),
        (msgpack.packb({"v": 1, "kind": "request", "op": "status"}), "bad_request", "id"),
        (msgpack.packb({"v": 1, "kind": "reply", "op": "status", "id": 7}), "bad_request", "kind"),
        (msgpack.packb({"v": 2, "kind": "request", "op": "status", "id": 7}), "bad_request", "v is 2"),
        (b"\xc1", "bad_request", "msgpack"),
        (b"", "bad_request", "msgpack"),
    ],
)
def test_a_request_that_is_none_is_answered_with_why(shared, payload, code, named):
    peer = shared.peer()
    peer.control.send(payload)
    assert peer.control.poll(15_000)
    reply = msgpack.unpackb(peer.control.recv())
    assert (reply["kind"], reply["ok"], reply["code"]) == ("reply", False, code)
    assert named in reply["error"]


@pytest.fixture(scope="module")
def shared():
    """A breaker for tests that leave nothing behind."""
    made = Home()
    made.serve()
    yield made
    made.close()


# Garbage.


def mutations(rng):
    """Valid messages, broken in every way that came to mind, for ever."""
    submit = {"v": 1, "kind": "submit", "order_id": "o", "strategy_id": "s", "sent_ns": 1, "contract": {}, "order": {}}
    hello = {"v": 1, "kind": "hello", "executor_id": "x", "journal_id": "y", "gateway": {"host": "h"}}
    feedback = {"v": 1, "kind": "feedback", "journal_id": "j", "seq": 2**64 - 1, "fact": {"kind": "filled"}}
    seeds = [submit, hello, feedback, {"v": 1, "kind": "request", "op": "reset", "id": 1}]
    odd: Any = [
        None,
        -1,
        2**64 - 1,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x" * 9000,
        b"\xff\x00",
        [],
        {},
        True,
        {"a": [[]]},
    ]
    while True:
        fields = dict(rng.choice(seeds))
        for _ in range(rng.randrange(1, 4)):
            fields[rng.choice([*fields, "kind", "v", "op", "id", "zzz"])] = rng.choice(odd)
        data = bytearray(msgpack.packb(fields))
        kind = rng.randrange(6)
        if kind == 0:
            data = bytearray(rng.randbytes(rng.randrange(200)))
        elif kind == 1:
            data[rng.randrange(len(data))] = rng.randrange(256)
        elif kind == 2:
            del data[rng.randrange(len(data)) :]
        elif kind == 3:
            data = bytearray(b"\x91" * rng.randrange(1, 2000))
        elif kind == 4:
            data = bytearray(msgpack.packb({"v": 1, 5: fields, "ext": msgpack.ExtType(3, b"x")}))
        frames = [bytes(data)]
        frames += [rng.randbytes(rng.randrange(20)) for _ in range(rng.choice((0, 0, 0, 1, 12)))]
        yield frames


def test_garbage_on_every_link_is_dropped_and_counted_and_moves_nothing(home):
    process = home.serve()
    peer = home.peer()
    peer.ready()
    rng = random.Random(20250106)
    garbage = mutations(rng)
    for link, kind in LINKS.items():
        sender = peer.orders if link == "orders" else peer.socket(kind, link)
        for _ in range(250):
            frames = next(garbage)
            if link == "orders":
                frames = [rng.choice((b"order", b"order", b"orders", b"order\x00")), *frames]
            sender.send_multipart(frames)
    for link in (*LINKS, "events"):
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        raw.connect(str(home.path / "links" / link))
        raw.sendall(rng.randbytes(5000))
        raw.close()
    status = home.peer().status()
    (system,) = [circuit for circuit in status["circuits"] if circuit["scope"] == "system"]
    assert (system["state"], system["generation"], system["failure_count"]) == ("CLOSED", 1, 0)
    assert process.poll() is None
    health = peer.until(lambda e: e["kind"] == "health" and sum(e["dropped"].values()) > 700)
    assert {"not_msgpack", "extra_frames", "bad_field", "unknown_kind", "wrong_topic"} <= set(health["dropped"])
    executor = home.executor()
    peer.allowed()
    peer.submit("after")
    peer.event("after", "accepted")
    assert len(executor.placed) == 1


def test_a_frame_of_a_mebibyte_cuts_its_sender_off_and_nobody_else(home):
    process = home.serve()
    honest, rude = home.peer(), home.peer()
    honest.ready()
    rude.ready()
    rude.orders.send_multipart([b"order", b"x" * 2**20])
    rude.control.send(b"x" * 2**20)
    honest.submit("o-1")
    assert honest.event("o-1")["code"] == "condition"
    assert process.poll() is None
    honest.until(lambda e: e["kind"] == "health" and e["dropped"].get("peer_left_or_cut_off", 0) > 0)


def test_a_valid_order_with_a_frame_too_many_or_another_topic_is_dropped(shared):
    peer = shared.peer()
    peer.ready()
    fields = {"v": 1, "kind": "submit", "strategy_id": "raw", "sent_ns": 1, "contract": {}, "order": {}}
    for order_id, frames in (("x-1", [b"order", None, b"more"]), ("x-2", [b"order/raw/", None]), ("x-3", [b"order"])):
        payload = msgpack.packb({**fields, "order_id": order_id})
        peer.orders.send_multipart([payload if frame is None else frame for frame in frames])
    peer.submit("x-last")
    peer.event("x-last")
    told = {event["order_id"] for event in peer.seen if event["kind"] not in ("state", "health")}
    assert told == {"x-last"}
    peer.until(
        lambda e: (
            e["kind"] == "health"
            and e["dropped"].get("extra_frames", 0) >= 2
            and e["dropped"].get("wrong_topic", 0) >= 1
        )
    )


def test_what_is_too_large_or_too_deep_is_answered_where_an_id_can_be_read(home):
    home.serve()
    peer = home.peer()
    peer.ready()
    deep: Any = {"a": {}}
    for _ in range(10):
        deep = {"a": deep}
    peer.submit("deep", contract=deep)
    assert "deeper" in peer.event("deep", "invalid")["reason"]


# How it starts and ends.


def test_a_second_breaker_on_the_same_home_says_so_and_exits_with_1(home):
    first = home.serve()
    code, text = run_to_the_end(home.start())
    assert code == 1
    assert "another breaker" in text
    assert str(first.pid) in text
    assert home.peer().status()["ok"] is True, "the first serves on"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ORDERFUSE_LINKS__ORDERS": "tcp://127.0.0.1:5555"}, ["links.orders", "tcp://127.0.0.1:5555", "CURVE"]),
        ({"ORDERFUSE_BREAKER__FAILURE_THRESHOLD": "0"}, ["failure_threshold", "0", "1"]),
        ({"ORDERFUSE_DISPATCH__WINDOW": "65"}, ["dispatch.window", "65", "1 to 64"]),
        ({"ORDERFUSE_BREAKER__ON_TRIP": "panic"}, ["breaker.on_trip", "panic", "cancel_all"]),
        ({"ORDERFUSE_BREAKER__FAILURE_TRESHOLD": "5"}, ["failure_threshold"]),
    ],
)
def test_a_wrong_setting_is_named_with_value_and_range_and_exits_with_2(home, variables, words):
    code, text = run_to_the_end(home.start(**variables))
    assert code == 2
    for word in words:
        assert word in text
    assert "Traceback" not in text


def test_a_path_too_long_for_a_socket_is_a_clear_error(home):
    folder = home.path / ("x" * 120)
    code, text = run_to_the_end(home.start(ORDERFUSE_HOME=str(folder)))
    assert code == 2
    assert "107" in text
    assert "ORDERFUSE_HOME" in text


def test_a_journal_of_a_newer_version_exits_with_1(home):
    kill(home.serve())
    database = sqlite3.connect(home.path / "breaker.sqlite")
    database.execute("PRAGMA user_version=99")
    database.close()
    code, text = run_to_the_end(home.start())
    assert code == 1
    assert "newer" in text


def test_sigterm_ends_it_with_0_and_what_was_decided_last_still_leaves(home):
    process = home.serve()
    peer = home.peer()
    peer.ready()
    seq = peer.ask("trip", reason="and out") and peer.until(
        lambda e: e["kind"] == "state" and e["scope"] == "system" and e["latched"]
    )
    process.terminate()
    code, text = run_to_the_end(process)
    assert code == 0
    assert "Traceback" not in text
    home.serve()
    told = home.peer()
    again = told.until(lambda e: e["kind"] == "state" and e["scope"] == "system")
    assert again["latched"] is True
    assert seq["seq"] < again["seq"] < seq["seq"] + 10, "no jump after a clean end"


def test_a_breaker_killed_while_latched_comes_back_latched(home):
    process = home.serve()
    assert home.peer().ask("trip", reason="a person")["ok"] is True
    kill(process)
    home.serve()
    peer = home.peer()
    (system,) = [c for c in peer.status()["circuits"] if c["scope"] == "system"]
    assert (system["state"], system["latched"], system["reason"]) == ("OPEN", True, "a person")
    peer.ready()
    peer.submit("o-1")
    assert peer.event("o-1")["code"] == "latched"


def test_an_order_decided_before_a_kill_is_a_duplicate_after_it(home):
    process = home.serve()
    peer, executor = home.peer(), home.executor()
    peer.ready()
    peer.allowed()
    peer.submit("o-1", sent_ns=time.time_ns())
    peer.event("o-1", "accepted")
    kill(process)
    home.serve()
    again = home.peer()
    again.ready()
    again.allowed()
    again.submit("o-1")
    again.event("o-1", "duplicate")
    assert [place["order_id"] for place in executor.placed] == ["o-1"]


# The stop.


def test_a_trip_under_a_flood_is_answered_soon_and_nothing_passes_afterwards(home):
    home.serve(ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND="100000")
    flood, person, executor = home.peer("flood"), home.peer("person"), home.executor()
    flood.ready()
    flood.allowed()
    order = msgpack.packb(
        {"v": 1, "kind": "submit", "order_id": "o-00000", "strategy_id": "flood", "sent_ns": time.time_ns()}
        | {"contract": {"conId": 1}, "order": {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}}
        | {"ttl_ms": 60_000}
    )

    def pour(numbers: range) -> None:
        for number in numbers:
            try:
                frame = order.replace(b"o-00000", b"o-%05d" % number)
                flood.orders.send_multipart([b"order", frame], zmq.NOBLOCK)
            except zmq.Again:
                assert flood.orders.poll(5000, zmq.POLLOUT)

    pour(range(10_000))
    flood.event("o-00050", "accepted")
    asked = time.monotonic()
    person.control.send(request("trip", reason="stop"))
    pour(range(10_000, 20_000))
    reply = person.reply_to(7, secs=5)
    assert time.monotonic() - asked < 5
    assert reply["fenced"] is True
    placed = len(executor.placed)
    flood.submit("last")
    assert flood.event("last")["code"] == "latched"
    assert len(executor.placed) == placed
    kinds = [
        e["kind"] if e["kind"] != "state" else e["state"] for e in flood.seen if e.get("scope") != "strategy:flood"
    ]
    assert "passed" not in kinds[kinds.index("OPEN") :]


def test_a_breaker_that_is_alone_answers_a_trip_at_once(shared):
    peer = shared.peer()
    # By this answer the lease of an executor that an earlier breaker may have had is over.
    peer.ask("trip", reason="x", scope="strategy:another")
    started = time.monotonic()
    reply = peer.ask("trip", reason="x", scope="strategy:nobody")
    assert (reply["fenced"], reply["written"]) == (False, [])
    assert time.monotonic() - started < 0.4


def test_a_program_that_asks_for_many_long_answers_at_once_is_told_which_it_gets(home):
    home.serve(ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND="1000")
    peer = home.peer()
    peer.ready()
    # So many refusals of a program are kept.
    for number in range(300):
        peer.submit(f"o-{number}")
    peer.event("o-299")
    context = zmq.Context()
    asker = context.socket(zmq.DEALER)
    asker.connect(f"ipc://{home.path}/links/control")
    page = {"v": 1, "kind": "request", "op": "orders", "limit": 1000}
    for number in range(40):
        asker.send(msgpack.packb({**page, "id": number}))
    replies: Any = {}
    deadline = Deadline()
    while len(replies) < 40:
        assert asker.poll(deadline.left_ms()), f"{len(replies)} of 40 were answered"
        reply = msgpack.unpackb(asker.recv())
        replies[reply["id"]] = reply
    context.destroy(linger=0)
    told = [reply["code"] if not reply["ok"] else len(reply["orders"]) for reply in replies.values()]
    assert set(told) == {300, "not_allowed"}
    assert told.count(300) >= 8


# The disk.


def test_with_a_full_disk_a_trip_works_says_so_and_is_saved_later(home):
    process = home.serve()
    peer, executor = home.peer(), home.executor()
    peer.ready()
    peer.allowed()
    peer.submit("o-0")
    peer.event("o-0", "accepted")
    # RLIMIT_FSIZE is what a quota does; below the size of the log, every write to it fails.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    peer.submit("o-1")
    assert peer.event("o-1", "not_placed")["code"] == "undelivered"
    assert [place["order_id"] for place in executor.placed] == ["o-0"]
    peer.until(lambda e: e["kind"] == "state" and e["conditions"] == ["journal_failed"])
    peer.submit("o-2")
    assert peer.event("o-2")["code"] == "condition"
    reply = peer.ask("trip", reason="stop")
    assert "not saved" in reply["warning"]
    assert peer.until(lambda e: e["kind"] == "state" and e["latched"])["reason"] == "stop"
    peer.until(lambda e: e["kind"] == "health" and e["journal_error"])
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    deadline = Deadline()
    while "warning" in peer.ask("status"):
        assert not deadline.over()
    kill(process)
    home.serve()
    after = home.peer()
    (system,) = [c for c in after.status()["circuits"] if c["scope"] == "system"]
    assert system["latched"]
    told = [(e["order_id"], e["kind"]) for e in after.ask("events", topic="order/raw/")["events"]]
    assert told[2:] == [("o-1", "passed"), ("o-1", "not_placed"), ("o-2", "blocked")]


@pytest.fixture
def small_disk(home):
    """A home on a disk of its own, of 20 MB."""
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=20m,mode=0700", "tmpfs", str(home.path)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield home
    subprocess.run(["/bin/umount", "--lazy", str(home.path)], check=True)


def fill(disk):
    """Take all that is left on it."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)


def stopped(home):
    (system,) = [c for c in home.peer().status()["circuits"] if c["scope"] == "system"]
    return system["state"], system["latched"], system["reason"]


def test_a_trip_on_a_full_disk_is_remembered_by_a_breaker_that_starts_there(small_disk):
    process = small_disk.serve()
    peer, executor = small_disk.peer(), small_disk.executor()
    peer.ready()
    peer.allowed()
    fill(small_disk.path)
    for number in range(200):
        peer.submit(f"o-{number}")
    peer.until(lambda e: e["kind"] == "state" and e["conditions"] == ["journal_failed"])
    reply = peer.ask("trip", reason="stop")
    assert reply["ok"]
    assert "warning" not in reply
    executor.close()
    kill(process)
    small_disk.serve()
    assert stopped(small_disk) == ("OPEN", True, "stop")


def test_a_journal_that_cannot_be_read_stops_orders_but_neither_the_process_nor_a_trip(home):
    process = home.serve()
    peer, executor = home.peer(), home.executor()
    peer.ready()
    peer.allowed()
    vandal = sqlite3.connect(home.path / "breaker.sqlite", timeout=10)
    vandal.execute("DROP TABLE orders")
    vandal.close()
    assert peer.ask("orders")["code"] == "internal"
    peer.submit("o-1")
    peer.until(lambda e: e["kind"] == "state" and e["conditions"] == ["journal_failed"])
    peer.until(lambda e: e["kind"] == "health" and e["dropped"].get("journal_unreadable"))
    assert peer.ask("trip", reason="stop")["ok"] is True
    assert executor.placed == []
    assert process.poll() is None
