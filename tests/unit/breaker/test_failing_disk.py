"""A disk that takes what is written and does not tell what it has: when the journal counts as readable, and the log."""

import time

import pytest
from loguru import logger

from services.breaker import log, loop
from services.breaker.batch import Batch
from services.breaker.circuits.conditions import JOURNAL_FAILED
from services.breaker.circuits.scopes import Unreadable
from services.breaker.log import QUIET_SECS
from services.breaker.loop import JOURNAL_RETRY_SECS, BreakerLoop
from services.runtime.sqlite import ReadError
from tests.unit.breaker.harness import settings_of
from tests.unit.breaker.test_restart import open_journal

FAILS = "ERROR disk I/O error; nothing is passed on until it can be"


class Time:
    """The module `time`, in which only the test lets time pass."""

    def __init__(self):
        self.now = time.monotonic()

    def monotonic(self):
        return self.now

    def __getattr__(self, name):
        return getattr(time, name)


class Unbound(BreakerLoop):
    """The loop without its sockets: it saves, and nobody is there."""

    def _bind(self, settings, limit):
        pass


class Rig:
    """A loop on a real journal whose disk can be torn."""

    def __init__(self, home, times):
        self.times = times
        self.journal = open_journal(home, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns())
        self.loop = Unbound(settings_of(home), self.journal, 1024)
        self.read_one, self.reads = self.journal._db.read_one, 0

    def tear(self):
        def fails(*_):
            self.reads += 1
            raise ReadError("disk I/O error")

        self.journal._db.read_one = fails

    def mend(self):
        self.journal._db.read_one = self.read_one

    def ask(self):
        """The stage asks for an order, and says that it has no answer."""
        with pytest.raises(Unreadable) as unread:
            self.journal.find_order("o-1")
        self.loop._on_journal_trouble(str(unread.value), loop._read_now())

    def wait(self, secs):
        """Turns, in each of which something is saved."""
        for _ in range(round(secs * 10)):
            self.times.now += 0.1
            assert self.loop._save(Batch(fence=1))
            self.loop._log.see_whether_the_journal_works()

    def fails(self):
        return self.loop._stage.core.conditions.holds(JOURNAL_FAILED)


@pytest.fixture
def r(tmp_path, monkeypatch):
    times = Time()
    for module in (loop, log):
        monkeypatch.setattr(module, "time", times)
    rig = Rig(tmp_path, times)
    yield rig
    rig.loop._context.destroy()
    rig.journal.close()


@pytest.fixture
def lines():
    found = []
    sink = logger.add(lambda line: found.append(str(line).strip()), format="{level} {message}", level="INFO")
    yield found
    logger.remove(sink)


def test_a_journal_that_can_be_written_and_not_read_counts_as_failed_until_it_has_told_what_it_did_not(r):
    r.tear()
    r.ask()
    assert r.fails()
    r.wait(30)
    assert r.fails()
    assert r.reads <= 1 + 30 / JOURNAL_RETRY_SECS, "a disk that fails is slow, and a turn must not wait for it"
    r.mend()
    r.wait(JOURNAL_RETRY_SECS + 0.1)
    assert not r.fails()
    assert not r.journal.is_unanswered


def test_a_disk_that_fails_and_works_in_turn_is_two_lines_in_the_log(r, lines):
    for _ in range(20):
        r.tear()
        r.ask()
        r.wait(0.5)
        r.mend()
        r.wait(JOURNAL_RETRY_SECS + 0.1)
        assert not r.fails()
    assert lines == [FAILS]
    r.wait(QUIET_SECS)
    works = "INFO the journal has been read and written again for 10 s; before that it failed 20 times"
    assert lines == [FAILS, works]
    r.wait(60)
    r.tear()
    r.ask()
    assert lines == [FAILS, works, FAILS]
