"""Messages are read frame by frame, and who sends endless ones is turned out."""

from typing import Any

import msgpack
import pytest
import zmq

from services.breaker.public import inbox as module
from services.breaker.public.inbox import MOST_FRAMES, Inbox
from tests.processes.breaker.process import DEADLINE_S, Deadline, Home, run_to_the_end
from tests.processes.pipeline.pipeline import wait_until

LINKS = {"orders": zmq.PUB, "control": zmq.DEALER, "dispatch": zmq.DEALER, "feedback": zmq.PUSH}


@pytest.fixture(name="home")
def a_home():
    made = Home()
    yield made
    made.close()


class Rig:
    def __init__(self, path):
        self.context = zmq.Context()
        self.end = self.context.socket(zmq.PULL)
        self.end.bind(f"ipc://{path}/link")
        self.peer = self.context.socket(zmq.PUSH)
        self.peer.connect(f"ipc://{path}/link")
        self.inbox = Inbox(self.end)

    def all(self, number):
        """The next so many messages, however many calls it takes."""
        found: list[Any] = []
        deadline = Deadline()
        while len(found) < number and not deadline.over():
            found += [message.frames for message in self.inbox.take(100)]
        return found


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    for each in (made.end, made.peer):
        each.close(linger=0)
    made.context.term()


def test_messages_come_whole_and_in_order(rig):
    rig.peer.send_multipart([b"a", b"b"])
    rig.peer.send_multipart([b"%d" % number for number in range(MOST_FRAMES)])
    rig.peer.send(b"c")
    assert rig.all(3) == [[b"a", b"b"], [b"%d" % number for number in range(MOST_FRAMES)], [b"c"]]
    assert rig.inbox.take_endless() == []


def test_of_a_message_of_too_many_frames_nothing_is_left_and_its_sender_is_named(rig, monkeypatch):
    # Less than a moment at a time: it is thrown away over many calls, of which none takes long.
    monkeypatch.setattr(module, "SKIP_SECS", 0.0001)
    rig.peer.send_multipart([b""] * 20_000)
    rig.peer.send_multipart([b"?"] * (MOST_FRAMES + 1))
    rig.peer.send(b"behind")
    assert rig.all(1) == [[b"behind"]]
    # In this test both ends are of one process.
    assert [origin.descriptor > 0 for origin in rig.inbox.take_endless()] == [True, True]
    assert rig.inbox.take_endless() == []


@pytest.mark.parametrize("link", LINKS)
def test_who_sends_an_endless_message_is_turned_out_and_nobody_else_waits(home, link):
    process = home.serve()
    honest = home.peer()
    honest.ready()
    rude = home.program(f"""
        import time
        import zmq
        socket = zmq.Context().socket({int(LINKS[link])})
        socket.connect("ipc://{home.path}/links/{link}")
        time.sleep(0.5)
        socket.send_multipart([b"order"] * 300_000)
        print("sent", flush=True)
        time.sleep(60)
    """)
    assert rude.stdout.readline() == "sent\n"
    honest.until(lambda e: e["kind"] == "health" and e["dropped"].get("too_many_frames", 0) == 1)
    honest.submit("o-1")
    assert honest.event("o-1")["code"] == "condition"
    assert honest.status()["ok"]
    rude.kill()
    process.terminate()
    _, text = run_to_the_end(process)
    assert f"{link}: process {rude.pid} is cut off for 10 s: a message of more than {MOST_FRAMES} frames" in text


def test_what_a_program_asks_too_much_is_refused_to_it_alone(home):
    home.serve()
    person = home.peer()
    person.ready()
    status = msgpack.packb({"v": 1, "kind": "request", "op": "status", "id": 1})
    home.program(f"""
        import zmq
        context = zmq.Context()
        sockets = [context.socket(zmq.DEALER) for _ in range(100)]
        for socket in sockets:
            socket.setsockopt(zmq.SNDHWM, 100)
            socket.connect("ipc://{home.path}/links/control")
        while True:
            for socket in sockets:
                try:
                    socket.send({status!r}, zmq.NOBLOCK)
                    while True:
                        socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    pass
    """)
    wait_until(lambda: asked_too_much(person), "it asks faster than it is answered", secs=DEADLINE_S)
    for _ in range(20):
        assert person.status()["ok"]


def asked_too_much(person):
    person.seen.clear()
    health = person.until(lambda e: e["kind"] == "health")
    return health["dropped"].get("too_many_requests", 0) > 1000
