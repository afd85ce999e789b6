"""Subscribers that take too much: they are cut off from `events`, and nobody else notices."""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.breaker.public.subscriptions import BARRED_SECS, MOST_STANDING
from tests.campaigns.fuzz.hostile import hostile
from tests.processes.breaker.process import DEADLINE_S, Home, run_to_the_end
from tests.processes.pipeline.pipeline import wait_until

# Subscribes to so many topics, and says when it is connected and when that ends. A line of its input has it subscribe
# to other topics instead, and say when it has heard a state. It reads all the time: only so libzmq subscribes anew.
SUBSCRIBER = """
import sys, zmq
home, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = zmq.Context()
socket = context.socket(zmq.SUB)
socket.setsockopt(zmq.RECONNECT_IVL, 20)
monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
def subscribe(topic):
    names = [topic % number for number in range(count)]
    for name in names: socket.subscribe(name)
    return names
names = subscribe(topic)
socket.connect(f"ipc://{home}/links/events")
poller = zmq.Poller()
for each in (socket, monitor, sys.stdin): poller.register(each, zmq.POLLIN)
while True:
    ready = dict(poller.poll())
    if socket in ready:
        socket.recv_multipart()
        print("heard", flush=True)
    if monitor in ready:
        kind = int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder)
        print("connected" if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED else "ended", flush=True)
    if sys.stdin.fileno() in ready:
        for name in names: socket.unsubscribe(name)
        names = subscribe(sys.stdin.readline().strip())
        socket.subscribe("state/system/")
"""


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


@contextmanager
def subscriber(home, topic, count):
    process = subprocess.Popen(
        [sys.executable, "-c", SUBSCRIBER, str(home.path), topic, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "connected\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def turned_out(peer):
    peer.seen.clear()
    return peer.until(lambda event: event["kind"] == "health")["dropped"].get("too_many_subscriptions", 0)


def test_one_subscription_too_many_cuts_off_the_process_for_ten_seconds(home):
    process = home.serve()
    honest = home.peer()
    honest.ready()
    with subscriber(home, "order/s%d/", MOST_STANDING + 1) as greedy:
        began = time.monotonic()
        assert greedy.stdout.readline() == "ended\n"
        assert time.monotonic() - began < 1
        # It tries again by itself all the time.
        wait_until(lambda: turned_out(honest) == 2, "it is let in again, and cut off again")
        assert time.monotonic() - began > BARRED_SECS - 1
        pid = greedy.pid
    honest.submit("o-1")
    honest.event("o-1")
    process.terminate()
    _, text = run_to_the_end(process)
    (line,) = [line for line in text.splitlines() if "is cut off" in line]
    assert f"events: process {pid} is cut off for 10 s: more than 256 subscriptions" in line


@pytest.mark.parametrize(("topic", "stays"), [("x" * 44 + "%04d", True), ("x" * 45 + "%04d", False)])
def test_a_topic_is_as_long_as_the_longest_or_its_subscriber_is_cut_off(home, topic, stays):
    home.serve()
    honest = home.peer()
    honest.ready()
    with subscriber(home, topic, 1) as other:
        if stays:
            other.stdin.write("order/s%d/\n")
            assert other.stdout.readline() == "heard\n"
            assert turned_out(honest) == 0
        else:
            assert other.stdout.readline() == "ended\n"
            wait_until(lambda: turned_out(honest) == 1, "it is counted")


def test_who_unsubscribes_has_room_again_also_for_topics_that_others_have(home):
    home.serve()
    honest = home.peer()
    honest.ready()
    with (
        subscriber(home, "order/s%d/", MOST_STANDING - 1),
        subscriber(home, "order/s%d/", MOST_STANDING - 1) as other,
    ):
        for topic in ("order/t%d/\n", "order/s%d/\n"):
            other.stdin.write(topic)
            assert other.stdout.readline() == "heard\n"
        assert turned_out(honest) == 0


@pytest.mark.parametrize("connections", [1, 20])
def test_subscribers_without_end_cost_others_nothing_and_the_breaker_little_memory(home, connections):
    process = home.serve(ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND="10000")
    honest = home.peer()
    honest.ready()
    before = memory_mb(process)
    with hostile("subscribe", home.path, "events", connections) as greedy:
        wait_until(lambda: turned_out(honest), "it is cut off", secs=DEADLINE_S)
        for number in range(200):
            honest.submit(f"o-{number}")
            honest.event(f"o-{number}")
        # Newcomers may have the descriptors of connections that were just cut off: they are not taken for those.
        for number in range(20):
            newcomer = home.peer(f"s{number}")
            newcomer.ready()
            assert newcomer.status()["ok"]
            newcomer.close()
        # 300,000 of them would be some 200 MB on one connection.
        assert memory_mb(process) < before + 30
    assert process.poll() is None
    process.terminate()
    _, text = run_to_the_end(process)
    said = [line for line in text.splitlines() if "is cut off" in line]
    assert said
    assert all(f"events: process {greedy.pid} is cut off" in line for line in said)


def memory_mb(process):
    """Memory of a process; 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    with Path(f"/proc/{process.pid}/status").open(encoding="ascii") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
