"""Half a message that does not end: it grows where nobody sees it, until its connection is cut off."""

import subprocess
import sys
import textwrap

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from orderfuse.settings import Settings
from services.breaker import memory
from services.breaker.public import capacity, doors
from tests.processes.breaker.process import ROOT, Deadline, Home

pytestmark = pytest.mark.skipif(not memory.resident(), reason="only Linux tells how much is in memory")

ENDLESS = """
    import socket, sys, time
    from tests.campaigns.fuzz.zmtp import shake_hands

    while True:
        peer = socket.socket(socket.AF_UNIX)
        try:
            peer.connect(sys.argv[1])
            shake_hands(peer, sys.argv[2].encode())
            while True:
                # A short frame that says that more follow, of one byte.
                peer.sendall(b"\\1\\1x" * 20_000)
        except OSError:
            time.sleep(0.05)
"""
MORE = 80_000_000
OVERSHOOT = 200_000_000


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("link", "kind"),
    [("orders", "PUB"), ("control", "DEALER"), ("dispatch", "DEALER"), ("feedback", "PUSH"), ("events", "SUB")],
)
def test_who_sends_frames_without_end_is_cut_off_and_who_finishes_messages_is_not(home, monkeypatch, link, kind):
    monkeypatch.setattr(doors, "MOST_MEMORY", memory.resident() + MORE)
    context = zmq.Context()
    made = doors.Doors(context, Settings(home=home.path), capacity.room(1024))
    inboxes = [made.inbox(each) for each in ("orders", "control", "dispatch", "feedback")]
    honest = context.socket(zmq.DEALER)
    honest.connect(f"ipc://{home.path}/links/control")
    monitor = honest.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    code = textwrap.dedent(ENDLESS)
    rude = subprocess.Popen([sys.executable, "-c", code, f"{home.path}/links/{link}", kind], cwd=ROOT)
    try:
        deadline, cut, most = Deadline(), 0, 0
        while cut < 3 and not deadline.over():
            honest.send(b"?")
            for inbox in inboxes:
                list(inbox.take(100))
            cut += made.step()["memory_full"] > 0
            most = max(most, memory.resident())
            monitor.poll(1)
        assert cut >= 3, "it comes again, and is cut off again"
        assert most < doors.MOST_MEMORY + OVERSHOOT
        assert not monitor.poll(0), "who says something whole stays"
    finally:
        rude.kill()
        rude.wait()
        honest.disable_monitor()
        made.close()
        context.destroy(linger=0)


def test_for_what_is_nobodys_nobody_is_cut_off_for_ever(home, monkeypatch):
    monkeypatch.setattr(doors, "MOST_MEMORY", memory.resident() // 2)
    monkeypatch.setattr(doors, "LOOK_SECS", 0.0)
    context = zmq.Context()
    made = doors.Doors(context, Settings(home=home.path), capacity.room(1024))
    for _ in range(doors.MOST_LOOKS + 1):
        made.step()
    listener = context.socket(zmq.SUB)
    listener.connect(f"ipc://{home.path}/links/events")
    monitor = listener.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    deadline = Deadline()
    while not monitor.poll(1) and not deadline.over():
        made.step()
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert sum(made.step()["memory_full"] for _ in range(20)) == 0
    assert not monitor.poll(50)
    listener.disable_monitor()
    listener.close(linger=0)
    made.close()
    context.destroy(linger=0)
