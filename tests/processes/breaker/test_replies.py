"""Replies on `control`: each as fast as it is read; a bounded part waits, and not for ever for who does not read."""

from typing import Any

import pytest
import zmq

from services.breaker.public import replies as module
from services.breaker.public.replies import MOST_BYTES, Replies
from tests.processes.breaker.process import Deadline

PAYLOAD = b"x" * 50_000


class Rig:
    def __init__(self, path):
        self.address = f"ipc://{path}/control"
        self.context = zmq.Context()
        self.control = self.context.socket(zmq.ROUTER)
        self.control.setsockopt(zmq.LINGER, 0)
        self.control.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.control.setsockopt(zmq.SNDHWM, 2)
        self.control.bind(self.address)
        self.replies = Replies(self.control)
        self.askers = []

    def asker(self):
        """Somebody who has asked, and the envelope of that."""
        asker = self.context.socket(zmq.DEALER)
        asker.setsockopt(zmq.LINGER, 0)
        asker.setsockopt(zmq.RCVHWM, 2)
        asker.connect(self.address)
        asker.send(b"?")
        self.askers.append(asker)
        envelope, _ = self.control.recv_multipart()
        return asker, [envelope]


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    for each in [*made.askers, made.control]:
        each.close()
    made.context.term()


def fill(rig, envelope):
    """Send until one is dropped; how many were not."""
    sent = 0
    while not rig.replies.send(envelope, PAYLOAD):
        sent += 1
        assert sent < 100
    return sent


def test_what_does_not_fit_waits_and_comes_in_order_when_it_is_read(rig):
    asker, envelope = rig.asker()
    assert rig.replies.has_read(envelope)
    numbers = 0
    while not rig.replies.send(envelope, PAYLOAD + b"%d" % numbers):
        numbers += 1
    assert not rig.replies.has_read(envelope)
    got: list[Any] = []
    deadline = Deadline()
    while len(got) < numbers:
        if asker.poll(1):
            got.append(int(asker.recv()[len(PAYLOAD) :]))
        assert rig.replies.retry() == 0
        assert deadline.left_ms()
    assert got == list(range(numbers))
    assert rig.replies.has_read(envelope)


def test_so_much_waits_for_one_and_another_is_not_touched(rig):
    _, stuck = rig.asker()
    sent = fill(rig, stuck)
    assert (sent - 6) * len(PAYLOAD) < MOST_BYTES
    assert rig.replies.send(stuck, b"x" * (2 * MOST_BYTES)) == 1
    other, envelope = rig.asker()
    assert rig.replies.send(envelope, b"well") == 0
    assert other.recv() == b"well"


def test_one_reply_waits_however_long_it_is(rig):
    asker, envelope = rig.asker()
    for _ in range(4):
        assert rig.replies.send(envelope, b"x" * 10) == 0
    while rig.replies.has_read(envelope):
        rig.replies.send(envelope, b"x" * 10)
    for _ in range(20):
        if asker.poll(10):
            asker.recv()
        rig.replies.retry()
    assert rig.replies.has_read(envelope)


def test_who_reads_nothing_for_some_time_gets_nothing_of_it_and_asks_anew(rig, monkeypatch):
    monkeypatch.setattr(module, "STUCK_SECS", 0.1)
    asker, envelope = rig.asker()
    deadline, dropped = Deadline(), 0
    while not dropped:
        if rig.replies.has_read(envelope):
            # The system's own queues take some, too.
            rig.replies.send(envelope, PAYLOAD)
        dropped = rig.replies.retry()
        assert deadline.left_ms()
    assert rig.replies.has_read(envelope)
    while asker.poll(100):
        assert asker.recv() == PAYLOAD
    assert rig.replies.send(envelope, b"again") == 0
    assert asker.recv() == b"again"


def test_what_waits_for_who_has_gone_is_counted(rig):
    asker, envelope = rig.asker()
    deadline, dropped = Deadline(), 0
    # The system takes some as well, a moment later.
    while fill(rig, envelope) or rig.replies.retry() or rig.replies.has_read(envelope):
        assert deadline.left_ms()
    asker.close()
    while not dropped:
        rig.replies.send(envelope, PAYLOAD)
        dropped = rig.replies.retry()
        assert deadline.left_ms()
    assert rig.replies.send(envelope, b"?") == 1
