"""The links hold little for one sender, and honest bursts come through all the same."""

import os
import signal
import time

import msgpack
import pytest
import zmq

from orderfuse.bus import links
from orderfuse.settings import load_settings
from tests.processes.breaker.process import BUY, STOCK, Deadline, Home

# A PUB keeps 1,000 itself, the one before among them, of which it does not know yet that it has arrived.
BURST = 999


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


def test_a_thousand_orders_sent_at_once_by_a_bare_pub_all_arrive_while_the_breaker_is_busy(home):
    process = home.serve(ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND="10000")
    honest = home.peer()
    honest.ready()
    bare = honest.socket(zmq.PUB, "orders")
    # A PUB does not say when it has heard of the subscription: then its first orders arrive.
    for number in range(1000):
        bare.send_multipart([b"order", submit(f"first-{number}")])
        honest.read(20)
        if any(event.get("order_id", "").startswith("first-") for event in honest.seen):
            break
    os.kill(process.pid, signal.SIGSTOP)
    for number in range(BURST):
        bare.send_multipart([b"order", submit(f"o-{number}")])
    os.kill(process.pid, signal.SIGCONT)
    wanted, deadline = {f"o-{number}" for number in range(BURST)}, Deadline()
    while wanted and not deadline.over():
        event = honest.read(deadline.left_ms())
        wanted.discard((event or {}).get("order_id"))
    assert not wanted


def submit(order_id):
    fields = {"v": 1, "kind": "submit", "order_id": order_id, "strategy_id": "raw", "sent_ns": time.time_ns()}
    return msgpack.packb({**fields, "ttl_ms": 60_000, "contract": STOCK, "order": BUY})


def test_many_questions_at_once_are_all_answered(home):
    home.serve()
    asker = home.peer()
    asker.status()
    for number in range(200):
        asker.control.send(msgpack.packb({"v": 1, "kind": "request", "op": "status", "id": f"many-{number}"}))
    for number in range(200):
        assert asker.reply_to(f"many-{number}")["ok"]


def test_ten_thousand_events_in_a_second_reach_a_subscriber(home):
    settings = load_settings(home.path, environ={})
    with (
        zmq.Context() as context,
        links.bind(context, settings, "events") as breaker,
        links.connect(context, settings, "events") as reader,
    ):
        reader.subscribe("order/")
        assert breaker.recv() == b"\1order/"
        began, sent, heard = time.monotonic(), 0, 0
        while sent < 10_000:
            # As many as are due by now: the breaker tells them in bunches.
            for _ in range(min(10_000, round((time.monotonic() - began) * 10_000)) - sent):
                breaker.send_multipart([b"order/raw/", b"x" * 400])
                sent += 1
            heard += read(reader)
            time.sleep(0.005)
        deadline = Deadline()
        while heard < sent and not deadline.over():
            heard += read(reader)
    assert heard == 10_000


def read(reader):
    count = 0
    while reader.poll(1):
        reader.recv_multipart()
        count += 1
    return count
