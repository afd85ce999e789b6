"""Half a message that does not end: it grows where nobody sees it, until its connection is cut off."""

import subprocess
import sys
import textwrap

import pytest
import zmq

from orderfuse.settings import Settings
from services.breaker import descriptors, doors, heap
from tests.breaker.process import ROOT, Deadline, Home

pytestmark = pytest.mark.skipif(not heap.in_use(), reason="only glibc tells how much is in use")

ENDLESS = """
    import socket, sys, time
    from tests.fuzz.zmtp import shake_hands

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
MORE = 40_000_000


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
    context = zmq.Context()
    made = doors.Doors(context, Settings(home=home.path), descriptors.room(1024))
    inboxes = [made.inbox(each) for each in ("orders", "control", "dispatch", "feedback")]
    honest = context.socket(zmq.DEALER)
    honest.connect(f"ipc://{home.path}/links/control")
    monitor = honest.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    monkeypatch.setattr(doors, "MOST_MEMORY", heap.in_use() + MORE)
    code = textwrap.dedent(ENDLESS)
    rude = subprocess.Popen([sys.executable, "-c", code, f"{home.path}/links/{link}", kind], cwd=ROOT)
    try:
        deadline, cut, most = Deadline(), 0, 0
        while cut < 3 and not deadline.over():
            honest.send(b"?")
            for inbox in inboxes:
                list(inbox.take(100))
            cut += made.step()["memory_full"] > 0
            most = max(most, heap.in_use())
            monitor.poll(1)
        assert cut >= 3, "it comes again, and is cut off again"
        assert most < doors.MOST_MEMORY + 5 * MORE
        assert not monitor.poll(0), "who says something whole stays"
    finally:
        rude.kill()
        rude.wait()
        honest.disable_monitor()
        made.close()
        context.destroy(linger=0)
