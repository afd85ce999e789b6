"""The loop reads the clocks, the sockets and the disk as seldom as it can."""

import time
from collections import Counter
from itertools import pairwise

from orderfuse.settings import load_settings
from services.breaker import loop
from services.breaker.inputs import Measured
from services.breaker.journal import Journal
from services.breaker.stage import Stage
from tests.processes.breaker.process import Peer


class CountedTime:
    """The module `time`, counting who asks."""

    def __init__(self):
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name):
        self.reads[name] += 1
        return getattr(time, name)


def test_the_loop_reads_each_clock_once_for_each_input(tmp_path, monkeypatch):
    settings = load_settings(tmp_path, environ={})
    journal = Journal(tmp_path, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns(), keep_events_bytes=10**6)
    counted, moments = CountedTime(), []
    step = Stage.step

    def taken(stage, given, now):
        moments.append((type(given).__name__, now))
        return step(stage, given, now)

    monkeypatch.setattr(loop, "time", counted)
    monkeypatch.setattr(Stage, "step", taken)
    breaker = loop.BreakerLoop(settings, journal, 1024)
    assert counted.reads["monotonic_ns"] == counted.reads["time_ns"] == 1, "the start has its own moment"
    peer = Peer(tmp_path, "raw")
    try:
        # Everything that comes while it runs: a request, an order, something unreadable, and ticks.
        began = time.monotonic()
        sent = False

        def over():
            nonlocal sent
            if not sent and peer.orders.poll(0):
                peer.orders.recv()
                peer.submit("o-1")
                peer.orders.send_multipart([b"order", b"nonsense"])
                peer.control.send(b"\x84\xa1v\x01\xa4kind\xa7request\xa2op\xa6status\xa2id\x01")
                sent = True
            kinds = {kind for kind, _ in moments}
            return {"FromOrders", "UnreadableOrder", "FromControl", "Tick"} <= kinds or time.monotonic() > began + 20

        breaker.run(over)
        assert sent
    finally:
        peer.close()
        breaker.close()
        journal.close()
    assert {"FromOrders", "UnreadableOrder", "FromControl", "Tick", "Started", "Ending"} <= {k for k, _ in moments}
    assert counted.reads["monotonic_ns"] == counted.reads["time_ns"] == 1 + len(moments)
    assert len({id(now) for _, now in moments}) == len(moments)


def test_how_sockets_and_disk_are_is_looked_at_once_a_second(tmp_path, monkeypatch):
    settings = load_settings(tmp_path, environ={})
    journal = Journal(tmp_path, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns(), keep_events_bytes=10**6)
    measured = []
    step = Stage.step

    def taken(stage, given, now):
        measured.extend([now.monotonic_ns] * isinstance(given, Measured))
        return step(stage, given, now)

    monkeypatch.setattr(Stage, "step", taken)
    breaker = loop.BreakerLoop(settings, journal, 1024)
    try:
        ends = time.monotonic() + 30
        breaker.run(lambda: len(measured) == 3 or time.monotonic() > ends)
    finally:
        breaker.close()
        journal.close()
    assert len(measured) == 3
    assert all(later - earlier > 9 * 10**8 for earlier, later in pairwise(measured))
