"""What survives: the real journal under the stage, killed at any moment, torn, full, or from another version."""

import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from orderfuse.bus.codec import convert
from orderfuse.bus.control import EventsRequest, OrdersRequest
from orderfuse.bus.events import Replaced
from services.breaker.backlog import MAX_UNSAVED_EVENTS
from services.breaker.batch import Batch, HandDecision, Numbering, Publication
from services.breaker.control.queries import answer_events, answer_orders
from services.breaker.inputs import Ending, JournalSeen
from services.breaker.journal import FILE, Journal, JournalError
from services.breaker.store.keeping import AGAIN_SECS, DAY_NS, EVENT_OVERHEAD, EVERY_SECS, STEADY_SECS
from services.breaker.store.restoring import FORGET_WAITING, SEQ_JUMP
from services.wire.dispatch import CancelOrder, ReplaceOrder, Welcome
from tests.clocks import ManualClock
from tests.unit.breaker.harness import (
    BUY,
    SECOND,
    Executor,
    Rig,
    complete,
    open_by_rejections,
    settings_of,
    wall_ns_of,
)

pytestmark = pytest.mark.long

HOUR_NS = 3600 * SECOND


def open_journal(home, *, keep_events_bytes=10**9, **clocks):
    return Journal(home, keep_events_bytes=keep_events_bytes, **clocks)


class JournalRig(Rig):
    """The stage on a real journal; `kill` leaves the files as a kill -9 does, open log and all."""

    def open_history(self):
        self.history = open_journal(
            self.settings.home, wall_ns=wall_ns_of(self.clock), monotonic_ns=self.clock.monotonic_ns()
        )
        return self.history.saved

    def end(self, *, clean=False):
        """The process is gone. Its files are copied first: closing a connection tidies up."""
        home = self.settings.home
        after = home.with_name(home.name + "+")
        if clean:
            self.step(Ending())
            self.history.close()
            shutil.copytree(home, after)
        else:
            shutil.copytree(home, after)
            self.history._db.close()
        self.settings = msgspec.structs.replace(self.settings, home=after)

    def restart(self, *, clean=False, after=0.0, rebooted=False, break_files=None):
        """Kill (or end) the breaker, and start it again `after` seconds."""
        self.end(clean=clean)
        if break_files:
            break_files(self.settings.home / FILE)
        self.clock.advance(after)
        if rebooted:
            self.clock = ManualClock(wall=self.clock.utcnow(), monotonic_ns=5 * SECOND)
        self.executor.is_in = False
        self.replies.clear()
        self.start()


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def make(home):
    """A breaker that trades on a real journal."""
    made = []

    def trading(**settings):
        # The wall clock of today, because the journal forgets events of last week.
        rig = JournalRig(settings_of(home, **settings), ManualClock(wall=datetime.now(UTC).replace(microsecond=0)))
        rig.executor.join()
        made.append(rig)
        return rig

    yield trading
    for rig in made:
        rig.history._db.close()


def rejoin(r, known=()):
    r.executor.join(known)


def closed_after_four(r):
    open_by_rejections(r, times=4)


def half_open(r):
    open_by_rejections(r)
    r.wait(300)
    r.submit("t-1")
    r.submit("t-2")
    r.executor.accepted("t-1")


def latched(r):
    r.ask("trip", reason="a person")


WAYS = {"closed": closed_after_four, "open": open_by_rejections, "half-open": half_open, "latched": latched}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_killed_breaker_goes_on_in_the_state_it_was_in(make, way, rebooted):
    r = make()
    WAYS[way](r)
    before = r.state()
    fence = r.stage.core.fence
    r.restart(after=1.0, rebooted=rebooted)
    after = r.state()
    for name in ("state", "reason", "latched", "generation", "failures", "failure_count", "opened_at"):
        assert after[name] == before[name], name
    assert after["half_open_tries"] == before["half_open_tries"]
    assert r.stage.core.fence > fence
    assert after["fenced"] is False
    assert after["trading_allowed"] is False, "nothing passes before an executor is there"


@pytest.mark.parametrize("rebooted", [False, True])
def test_an_open_breaker_waits_for_the_rest_of_its_time_only(make, rebooted):
    r = make()
    open_by_rejections(r)
    r.wait(100)
    r.restart(after=50, rebooted=rebooted)
    rejoin(r)
    r.wait(149.8)
    assert r.state()["state"] == "OPEN"
    r.wait(0.2)
    assert r.state()["state"] == "HALF_OPEN"


def test_a_wall_clock_that_was_put_back_while_it_was_down_makes_no_wait_longer(make):
    r = make()
    open_by_rejections(r)
    r.clock.jump_wall(-86_400)
    r.restart(after=10)
    rejoin(r)
    r.wait(300.1)
    assert r.state()["state"] == "HALF_OPEN"


def test_a_wall_clock_far_ahead_ends_the_wait_and_never_skips_half_open(make):
    r = make()
    open_by_rejections(r)
    r.clock.jump_wall(10 * 86_400)
    r.restart()
    assert r.state()["state"] == "HALF_OPEN"


def test_four_failures_a_restart_and_one_more_open(make):
    r = make()
    closed_after_four(r)
    r.restart(after=1)
    rejoin(r)
    r.submit("fifth")
    r.executor.rejected("fifth")
    assert r.state()["state"] == "OPEN"


def test_a_latched_breaker_stays_so_until_a_person_resets_it_also_over_restarts(make):
    r = make()
    latched(r)
    for _ in range(3):
        r.restart(after=1000)
        assert (r.state()["state"], r.state()["latched"], r.state()["reason"]) == ("OPEN", True, "a person")
    rejoin(r)
    assert r.ask("reset", reason="ok")["ok"] is True
    r.restart()
    assert r.state()["state"] == "CLOSED"


def test_a_strategys_circuit_survives_too(make):
    r = make()
    r.ask("trip", scope="strategy:alpha", reason="bug")
    r.restart()
    rejoin(r)
    r.submit("a-1")
    r.submit("b-1", "beta")
    assert r.last("a-1")["code"] == "latched"
    assert r.kinds("b-1") == ["passed"]


def test_trials_out_are_still_out_and_their_deadline_runs_on(make):
    r = make()
    half_open(r)
    r.restart(after=1)
    rejoin(r, known=["t-2"])
    r.submit("t-3")
    r.submit("t-4")
    assert (r.kinds("t-3"), r.last("t-4")["code"]) == (["passed"], "half_open_full")
    r.executor.accepted("t-2")
    r.executor.accepted("t-3")
    assert r.state()["state"] == "CLOSED"


# Orders.


def test_orders_out_stay_out_and_become_unknown_at_their_deadline(make):
    r = make(window=2)
    r.submit("o-1")
    r.submit("o-2")
    r.submit("waiting", ttl_ms=60_000)
    r.restart(after=2)
    assert r.stage.core.out == {"o-1", "o-2"}
    rejoin(r, known=["o-1", "o-2"])
    assert r.sent(Welcome)[-1].doubtful == ["o-1", "o-2"]
    r.submit("next", ttl_ms=60_000)
    assert r.kinds("next") == [], "the window is still full"
    r.wait(2.9)
    assert r.kinds("o-1") == ["passed"]
    r.wait(0.1)
    assert r.kinds("o-1") == ["passed", "unknown"]
    assert r.circuit().get_state()["failure_count"] == 2
    assert r.kinds("next") == ["passed"]


def test_a_waiting_order_is_not_kept_and_its_resend_is_a_new_one(make):
    r = make(window=1)
    r.submit("o-1")
    r.submit("o-2")
    r.restart()
    rejoin(r, known=[])
    assert r.kinds("o-2") == []
    r.submit("o-2")
    assert r.kinds("o-2") == ["passed"]


def test_an_order_that_waits_in_the_journal_of_an_earlier_version_is_as_if_it_had_never_come(make):
    r = make(window=1)
    r.submit("o-1")
    legs = [{"order_id": "stop", "order": {**BUY, "action": "SELL"}}]
    r.submit("entry", attached=legs)
    r.executor.written("stop")
    # It saved the parent of a leg that failed at IB.
    r.history.save(Batch(orders={"entry": r.stage.core.orders["entry"]}))
    r.restart()
    assert {each.order_id: each.state for each in r.history.saved.orders} == {"o-1": "out", "stop": "out"}
    assert r.history.find_order("entry") is None
    rejoin(r, known=["o-1", "stop"])
    r.executor.accepted("o-1")
    r.submit("entry", attached=legs)
    assert r.kinds("entry") == ["invalid"], "its leg is at IB"
    r.submit("entry")
    assert r.kinds("entry") == ["invalid", "passed"]
    r.executor.rejected("stop")
    r.restart()
    assert [each.order_id for each in r.history.saved.orders] == ["o-1", "entry"]
    ((*_, plan),) = r.history._db.execute(f"EXPLAIN QUERY PLAN {FORGET_WAITING}")
    assert "orders_alive" in plan


def test_an_unknown_order_stays_unknown_and_what_ib_says_of_it_is_told(make):
    r = make()
    r.submit("o-1")
    r.wait(5)
    r.restart(after=100)
    assert r.ask("status")["unknown"] == ["o-1"]
    rejoin(r, known=["o-1"])
    r.executor.filled("o-1")
    assert r.kinds("o-1") == ["passed", "unknown", "filled"]
    assert r.circuit().get_state()["failure_count"] == 1


def test_orders_that_never_left_the_dead_breaker_end_as_undelivered(make):
    r = make()
    r.submit("o-1")
    r.restart()
    rejoin(r, known=[])
    assert r.last("o-1")["code"] == "undelivered"


def test_a_stop_that_rested_when_the_breaker_died_is_a_success_all_the_same(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1", status="PreSubmitted")
    r.restart()
    rejoin(r)
    r.wait(2)
    assert r.stage.core.orders["o-1"].settled == "success"


def test_duplicates_are_recognised_from_the_disk_and_get_the_same_answers(make):
    r = make()
    r.submit("done")
    r.executor.filled("done")
    r.submit("out")
    r.submit("invalid-now", ago=-2)
    r.restart()
    rejoin(r, known=["out"])
    for order_id in ("done", "out", "invalid-now"):
        r.submit(order_id)
    assert r.kinds("done")[-3:] == ["duplicate", "passed", "filled"]
    assert r.kinds("out")[-2:] == ["duplicate", "passed"]
    assert r.kinds("invalid-now")[-2:] == ["duplicate", "invalid"]
    assert r.placed() == ["done", "out"]
    r.submit("done", account="other")
    assert r.state("strategy:alpha")["latched"] is True


def test_a_working_order_takes_its_later_facts_after_a_restart(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.filled("o-1", shares=40)
    r.restart()
    rejoin(r)
    r.executor.filled("o-1", shares=60, cum=100)
    assert r.last("o-1")["done"] is True
    r.restart()
    rejoin(r)
    r.executor.cancelled("o-1", filled=100)
    assert r.last("o-1")["supersedes"] == r.about("o-1")[-2]["seq"]


def test_feedback_that_was_taken_before_is_not_taken_again(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.restart()
    r.executor.hello()
    assert r.sent(Welcome)[-1].feedback_after == 1
    r.executor.joined()
    r.executor.send(1)
    assert r.kinds("o-1") == ["passed", "accepted"]


# Requests.


def test_remembered_cancels_and_answered_requests_survive(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.cancel("o-1", "c-1")
    r.cancel("later", "c-2")
    r.restart(after=1800, rebooted=True)
    r.poll()
    rejoin(r)
    assert [(m.order_id, m.request_id) for m in r.sent(CancelOrder)] == [("o-1", "c-1")] * 2, "goes first"
    r.cancel("o-1", "c-1")
    assert (r.last("o-1")["kind"], r.last("o-1")["again"]) == ("request_passed", True)
    r.submit("later")
    assert r.last("later")["code"] == "cancelled"
    r.restart()
    rejoin(r)
    r.submit("later")
    assert r.kinds("later")[-2:] == ["duplicate", "blocked"]


def test_a_remembered_cancel_is_forgotten_after_its_hour_also_over_a_restart(make):
    r = make()
    r.cancel("later", "c-1")
    r.restart(after=3600)
    r.poll()
    rejoin(r)
    r.submit("later")
    assert r.kinds("later")[-1] == "passed"


# Numbers.


def seqs(r):
    last: Any = {}
    for topic, fields in r.topics:
        if not fields.get("repeat"):
            assert fields["seq"] > last.get(topic, 0), (topic, fields)
            last[topic] = fields["seq"]
    return last


def test_numbers_go_on_exactly_after_a_clean_end_and_jump_after_a_kill(make):
    r = make()
    r.submit("o-1")
    before = seqs(r)
    r.restart(clean=True)
    rejoin(r, known=["o-1"])
    r.submit("o-2")
    assert seqs(r)["order/alpha/"] == before["order/alpha/"] + 1
    middle = seqs(r)
    r.restart()
    rejoin(r, known=["o-1", "o-2"])
    r.submit("o-3")
    assert seqs(r)["order/alpha/"] == middle["order/alpha/"] + SEQ_JUMP + 1
    assert seqs(r)["state/system/"] > middle["state/system/"] + SEQ_JUMP


def test_a_topic_whose_first_events_were_lost_does_not_begin_anew(make):
    r = make()
    for _ in range(2):
        shutil.copytree(r.settings.home, r.settings.home.with_name("earlier"))
        r.submit("b-1", "beta")
        # As after a power cut: the last moments are not on the disk.
        r.end()
        shutil.rmtree(r.settings.home)
        r.settings.home.with_name("earlier").rename(r.settings.home)
        r.start()
        rejoin(r)
    r.submit("b-2", "beta")
    seqs(r)


def test_the_fence_is_higher_after_every_start_also_without_the_journal(make):
    r = make()
    r.executor.hello()
    fences = [r.sent(Welcome)[-1].fence]
    for broken in (None, deleted, lost_with_its_log_left, noise):
        r.restart(after=0.01, break_files=broken)
        r.executor.fences = {"system": fences[-1]}
        r.executor.hello()
        fences.append(r.sent(Welcome)[-1].fence)
    assert fences == sorted(set(fences))


# Torn, foreign, locked, full.


def cut(file):
    file.write_bytes(file.read_bytes()[:100])


def empty(file):
    file.write_bytes(b"")
    file.with_name(FILE + "-wal").unlink(missing_ok=True)


def noise(file):
    file.write_bytes(b"\x5a" * 20_000)


def deleted(file):
    for suffix in ("", "-wal", "-shm"):
        file.with_name(FILE + suffix).unlink(missing_ok=True)


def lost_with_its_log_left(file):
    file.unlink()


def emptied_with_its_log_left(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [lost_with_its_log_left, emptied_with_its_log_left])
def test_the_log_of_a_lost_journal_is_kept_for_a_person_who_wants_to_save_it(make, damage):
    r = make()
    r.submit("o-1")
    r.restart(break_files=damage)
    (log,) = [file for file in r.settings.home.iterdir() if "unreadable" in file.name and file.name.endswith("-wal")]
    assert b"o-1" in log.read_bytes()


def another_programs(file):
    deleted(file)
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE songs (title)")
    database.close()


def a_garbled_order(file):
    database = sqlite3.connect(file)
    database.execute("UPDATE orders SET record = 'not json', state = 'out'")
    database.commit()
    database.close()


@pytest.mark.parametrize("damage", [cut, empty, noise, lost_with_its_log_left, another_programs, a_garbled_order])
def test_a_journal_that_cannot_be_read_is_laid_aside_and_means_open_latched(make, damage):
    r = make()
    r.submit("o-1")
    generation, numbers = r.state()["generation"], seqs(r)
    r.restart(break_files=damage)
    state = r.state()
    assert (state["state"], state["latched"]) == ("OPEN", True)
    assert "unreadable" in state["reason"]
    assert state["generation"] > generation
    aside = [file.name for file in r.settings.home.iterdir() if "unreadable" in file.name]
    assert aside
    assert any(name in state["reason"] for name in aside) or damage is lost_with_its_log_left
    assert seqs(r)["state/system/"] > numbers["state/system/"]
    rejoin(r)
    r.submit("o-2")
    assert r.last("o-2")["code"] == "latched"
    r.restart(clean=True)
    assert r.state()["latched"] is True
    rejoin(r)
    assert r.ask("reset", reason="looked")["ok"] is True


def test_a_breaker_that_dies_before_it_has_saved_anything_in_the_new_journal_is_open_latched_all_the_same(home):
    open_journal(home, wall_ns=SECOND, monotonic_ns=0).close()
    noise(home / FILE)
    saved = open_journal(home, wall_ns=2 * SECOND, monotonic_ns=0).saved
    again = open_journal(home, wall_ns=3 * SECOND, monotonic_ns=0).saved
    assert "unreadable" in saved.trouble
    assert again.trouble == saved.trouble
    assert again.circuits == saved.circuits
    assert again.fence >= saved.fence
    assert again.floor >= saved.floor >= 2_000


def test_a_trouble_is_over_once_the_circuit_says_it_itself(make):
    r = make()
    r.restart(break_files=noise)
    rejoin(r)
    assert r.ask("reset", reason="looked")["ok"] is True
    r.restart()
    assert r.state()["state"] == "CLOSED"


def test_a_circuit_whose_snapshot_cannot_be_read_is_open_latched_and_the_others_are_not(make):
    r = make()
    r.submit("a-1", "alpha")
    r.submit("b-1", "beta")

    def garble(file):
        database = sqlite3.connect(file)
        database.execute("UPDATE circuits SET snapshot = '{' WHERE scope = 'strategy:alpha'")
        database.commit()
        database.close()

    r.restart(break_files=garble)
    rejoin(r, known=["a-1", "b-1"])
    assert r.state("strategy:alpha")["latched"] is True
    r.submit("b-2", "beta")
    assert r.kinds("b-2") == ["passed"]


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(home):
    journal = open_journal(home, wall_ns=1, monotonic_ns=0)
    journal.close()
    database = sqlite3.connect(home / FILE)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(JournalError, match="newer orderfuse"):
        open_journal(home, wall_ns=1, monotonic_ns=0)
    assert [file.name for file in home.iterdir() if "unreadable" in file.name] == []


def test_the_first_start_is_no_incident_and_the_journal_is_its_owners_only(make, home):
    r = make()
    assert (r.state()["state"], r.state()["generation"]) == ("CLOSED", 1)
    assert (home / FILE).stat().st_mode & 0o777 == 0o600


def test_a_start_that_died_before_the_journal_was_whole_is_a_first_start(make, home):
    (home / f"{FILE}.begun").write_bytes(b"half of it")
    assert make().state()["state"] == "CLOSED"


def test_a_condition_of_the_dead_process_does_not_block_for_ever(make):
    r = make()
    r.step(JournalSeen("disk full"))
    r.restart()
    rejoin(r)
    assert r.state()["conditions"] == []
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]


@pytest.fixture
def journal(home):
    opened = open_journal(home, wall_ns=1_700_000_000 * SECOND, monotonic_ns=0)
    yield opened
    opened._db.close()


def event(seq, topic="order/alpha/", at_ns=None):
    at_ns = at_ns or wall_ns_of(ManualClock(wall=datetime.now(UTC).replace(microsecond=0)))
    return Publication(topic, {"seq": seq, "at_ns": at_ns, "kind": "passed", "order_id": f"o-{seq}"}, seq)


def full(journal):
    """No page more: what a full disk answers, without filling one."""
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages}")


def space_again(journal):
    journal._db.execute("PRAGMA max_page_count=1000000")


def test_what_a_full_disk_did_not_take_is_written_when_there_is_room_again(journal):
    journal.save(Batch(publications=[event(1)]))
    full(journal)
    with pytest.raises(JournalError, match="full"):
        journal.save(Batch(publications=[event(seq) for seq in range(2, 500)], fence=7))
    assert journal.has_backlog()
    with pytest.raises(JournalError):
        journal.save(Batch(publications=[event(500 + number) for number in range(2000)]))
    space_again(journal)
    journal.save(Batch())
    assert not journal.has_backlog()
    written = [fields["seq"] for _, fields in journal.events("order/alpha/", 0)]
    assert written == sorted(set(written))
    assert written[-1] == 2499
    assert written[:2] == [1, 2]


def test_a_full_disk_is_no_reason_to_eat_all_memory(journal):
    full(journal)
    for start in range(0, 3 * MAX_UNSAVED_EVENTS, 1000):
        with pytest.raises(JournalError):
            journal.save(Batch(publications=[event(start + number) for number in range(1, 1001)]))
    kept = journal._backlog.batch.publications
    assert (len(kept), kept[-1].seq) == (MAX_UNSAVED_EVENTS, 3 * MAX_UNSAVED_EVENTS)


def test_orders_that_were_passed_are_kept_for_the_disk_however_many_are_refused(make):
    r = make(max_orders_per_second=100_000, queue_limit=100_000)
    r.submit("passed")
    full(r.history)
    backlog = r.history._backlog
    passed = r.stage.core.orders["passed"]
    for start in range(0, 60_000, 1000):
        ids = [f"r-{number}" for number in range(start, start + 1000)]
        batch = Batch(orders={name: replace(passed, order_id=name, passed_wall_ns=0) for name in ids})
        batch.orders["passed"] = passed
        with pytest.raises(JournalError):
            r.history.save(batch)
    assert "passed" in backlog.batch.orders
    assert len(backlog.batch.orders) <= 20_001
    space_again(r.history)


def test_an_unsaved_rest_makes_the_end_unclean(home):
    journal = open_journal(home, wall_ns=SECOND, monotonic_ns=0)
    before = journal.saved.floor
    full(journal)
    with pytest.raises(JournalError):
        journal.save(Batch(publications=[event(number) for number in range(1, 3000)]))
    journal.close()
    again = open_journal(home, wall_ns=SECOND, monotonic_ns=0)
    assert again.saved.floor == before + SEQ_JUMP, "a number that was told is never used again"
    again.save(Batch(ends=True, floor=again.saved.floor))
    again.close()
    again = open_journal(home, wall_ns=SECOND, monotonic_ns=0)
    assert again.saved.floor == before + SEQ_JUMP
    again.close()


def test_numbering_begins_and_goes_on_after_an_unclean_end_by_the_clock(home):
    day = 86_400 * SECOND
    first = open_journal(home, wall_ns=day, monotonic_ns=0)
    assert first.saved.floor == day // 1_000_000, "above all that a journal which was lost can have told"
    first.save(Batch(publications=[Publication("order/a/", {"at_ns": 1}, day // 1_000_000 + 7)]))
    first._db.close()
    later = open_journal(home, wall_ns=3 * day, monotonic_ns=0)
    assert later.saved.topics == {"order/a/": Numbering(3 * day // 1_000_000, 3 * day // 1_000_000)}
    assert later.saved.floor == 3 * day // 1_000_000
    later._db.close()
    back = open_journal(home, wall_ns=day, monotonic_ns=0)
    assert back.saved.topics["order/a/"].seq == day // 1_000_000 + 7 + SEQ_JUMP, "the clock was set back"
    back.close()


def test_somebody_who_locks_the_file_delays_nothing_for_long(journal, home):
    other = sqlite3.connect(home / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        journal.save(Batch(fence=5))
    other.execute("ROLLBACK")
    other.close()
    journal.save(Batch())
    assert not journal.has_backlog()


def test_a_disk_that_refuses_the_start_is_a_clear_error(home):
    (home / FILE).mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        open_journal(home, wall_ns=1, monotonic_ns=0)


def kept_events(journal):
    return [fields["seq"] for _, fields in journal.events("order/alpha/", 0)]


def test_events_older_than_a_week_are_forgotten_a_few_at_a_time(journal, monkeypatch):
    monkeypatch.setattr("services.breaker.store.keeping.AT_ONCE", 10)
    journal.save(Batch(publications=[event(seq, at_ns=SECOND) for seq in range(1, 26)] + [event(26)]))
    keeping, left = journal._keeping, []
    keeping.tidy(0, 8 * DAY_NS - HOUR_NS)
    assert len(kept_events(journal)) == 26, "whether the clock is right is not known yet"
    for step in range(4):
        keeping.tidy(STEADY_SECS + step * AGAIN_SECS, 8 * DAY_NS)
        left.append(len(kept_events(journal)))
    assert left == [16, 6, 1, 1]


def test_events_take_no_more_room_than_they_may_and_the_oldest_go(home, monkeypatch):
    monkeypatch.setattr("services.breaker.store.keeping.AT_ONCE", 10)
    journal = open_journal(home, wall_ns=SECOND, monotonic_ns=0, keep_events_bytes=20_000)
    journal.save(Batch(publications=[event(seq, at_ns=seq) for seq in range(1, 301)]))
    for step in range(50):
        journal._keeping.tidy(step * AGAIN_SECS, SECOND)
    kept = kept_events(journal)
    assert kept == list(range(kept[0], 301))
    size = sum(len(msgspec.json.encode(event(seq, at_ns=seq).fields)) + EVENT_OVERHEAD for seq in kept)
    assert journal._keeping._events_bytes() == size
    assert 17_000 < size <= 20_000


def test_an_order_that_never_passed_is_forgotten_after_a_day_and_one_that_passed_never(make):
    r = make()
    r.submit("o-1")
    r.executor.filled("o-1")
    r.ask("trip", reason="x")
    r.submit("o-2")
    assert r.last("o-2")["code"] == "latched"
    # The last one keeps its number, so that this is not given once more.
    r.submit("o-3")
    began_ns = wall_ns_of(r.clock)
    # Later, a clock that is ahead for a moment and when it has been right for an hour, and a day and an hour.
    for hours, ahead, known in (
        *((0, 0, True), (0.5, 25, True), (23.9, 0, True)),
        *((24.1, 1, True), (24.5, 0, True), (25.6, 0, False)),
    ):
        r.history._keeping.tidy(hours * 3600, began_ns + round((hours + ahead) * HOUR_NS))
        assert (r.history.find_order("o-2") is not None) is known, hours
    assert r.history.find_order("o-1") is not None
    r.submit("o-4")
    numbers = [number for number, _ in r.history.orders(after=0)]
    assert numbers[-1] == 4, "no number is given once more, or who reads on from it misses an order"


def test_the_newest_decisions_of_people_are_kept(journal, monkeypatch):
    monkeypatch.setattr("services.breaker.store.keeping.KEEP_DECISIONS", 10)
    journal.save(Batch(decisions=[HandDecision("trip", "system", str(number), "ann") for number in range(25)]))
    journal._keeping.tidy(0, SECOND)
    reasons = [row[0] for row in journal._db.execute("SELECT reason FROM decisions ORDER BY number")]
    assert reasons == [str(number) for number in range(15, 25)]


def test_a_file_shrinks_when_much_of_it_is_gone(journal):
    journal.save(Batch(publications=[event(seq, at_ns=SECOND) for seq in range(1, 5000)]))
    large = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._keeping.tidy(0, 8 * DAY_NS - HOUR_NS)
    for step in range(200):
        journal._keeping.tidy(STEADY_SECS + step * EVERY_SECS, 8 * DAY_NS + step * round(EVERY_SECS) * SECOND)
    assert journal._db.execute("PRAGMA page_count").fetchone()[0] < large / 4


# Reading it for people.


def orders_request(**fields):
    return convert({"op": "orders", "id": 1, **fields}, OrdersRequest)


def events_request(**fields):
    return convert({"op": "events", "id": 1, **fields}, EventsRequest)


def test_orders_are_listed_page_by_page_each_once_waiting_ones_last(make):
    r = make(window=3)
    for number in range(10):
        r.submit(f"o-{number}", ("alpha", "beta")[number % 2])
    found, after, pages = [], 0, 0
    while True:
        page = complete(answer_orders(orders_request(after=after, limit=2), r.history, r.stage.core.queues))
        found += [(order["order_id"], order["state"]) for order in page["orders"]]
        pages += 1
        assert pages < 20
        if not page["more"]:
            break
        after = page["next"]
    assert found == [(f"o-{number}", "out" if number < 3 else "queued") for number in range(10)]


def test_orders_can_be_asked_by_strategy_id_and_state(make):
    r = make(window=2)
    for number in range(4):
        r.submit(f"o-{number}", ("alpha", "beta")[number % 2])
    r.executor.filled("o-0")

    def ask(**fields):
        request = orders_request(after=0, **fields)
        return [o["order_id"] for o in complete(answer_orders(request, r.history, r.stage.core.queues))["orders"]]

    assert ask(strategy_id="beta") == ["o-1", "o-3"]
    assert ask(state="queued") == ["o-3"]
    assert ask(state="out") == ["o-1", "o-2"]
    assert ask(state="done") == ["o-0"]
    assert ask(order_id="o-3") == ["o-3"]
    assert ask(order_id="nope") == []


def events_page(r, **fields):
    return complete(answer_events(events_request(**fields), r.history, r.stage.core.publisher))


def test_what_was_told_and_is_not_kept_is_marked_as_skipped(make):
    r = make(max_orders_per_second=2)
    for number in range(5):
        r.submit(f"o-{number}")
    r.executor.accepted("o-0")
    page = events_page(r, topic="order/alpha/")
    kept = [fields["seq"] for fields in page["events"]]
    told = [fields["seq"] for topic, fields in r.topics if topic == "order/alpha/"]
    assert page["skipped"] == [[kept[1] + 1, kept[2] - 1]]
    assert sorted([*kept, *range(kept[1] + 1, kept[2])]) == told
    r.submit("o-5")
    assert events_page(r, topic="order/alpha/", after_seq=kept[-1])["skipped"] == [[kept[-1] + 1, kept[-1] + 1]]
    between = events_page(r, topic="order/alpha/", after_seq=kept[1] + 1)["skipped"]
    assert between[0] == [kept[1] + 2, kept[2] - 1]


def test_events_are_listed_behind_a_number_and_cut_to_256_kib(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.filled("o-1")
    first = events_page(r, topic="order/alpha/")["events"][0]["seq"]
    page = events_page(r, topic="order/alpha/", after_seq=first)
    told = [(fields["seq"], fields["kind"]) for fields in page["events"]]
    assert told == [(first + 1, "accepted"), (first + 2, "filled")]
    big = [Publication("order/big/", {"seq": n, "at_ns": 2**62, "text": "x" * 3000}, n) for n in range(1, 301)]
    r.history.save(Batch(publications=big))
    got, after = [], None
    while True:
        page = events_page(r, topic="order/big/", after=after)
        assert len(msgspec.json.encode(page)) < 257 * 1024
        got += [fields["seq"] for fields in page["events"]]
        if not page["more"]:
            break
        after = page["next"]
    assert got == list(range(1, 301))


def test_a_dead_executor_and_a_dead_breaker_together_lose_nothing(make):
    r = make()
    r.submit("written")
    r.submit("lost")
    r.restart(after=1)
    r.executor = Executor(r, executor_id="exec-2", peer=b"p2")
    r.executor.join(known=["written"])
    r.executor.accepted("written")
    r.executor.filled("written")
    assert r.kinds("written") == ["passed", "accepted", "filled"]
    assert r.kinds("lost") == ["passed", "not_placed"]


def test_a_condition_that_somebody_reported_holds_on_until_they_say_that_it_is_over(make):
    r = make()
    r.ask("report", what="condition", name="feed_stale:ES", reason="no tick")
    r.restart()
    rejoin(r)
    assert r.state()["conditions"] == ["feed_stale:ES"]
    assert r.ask("report", what="condition", name="feed_stale:ES", reason="it ticks", holds=False)["conditions"] == []


def test_an_order_settled_by_a_person_stays_settled_and_what_ib_says_later_wins(make):
    r = make()
    r.submit("o-1")
    r.wait(6)
    seq = r.ask("resolve", order_id="o-1", reason="seen", **{"as": "cancelled"})["event"]["seq"]
    r.restart()
    rejoin(r, known=["o-1"])
    assert r.ask("status")["unknown"] == []
    r.executor.accepted("o-1")
    assert (r.last("o-1")["kind"], r.last("o-1")["supersedes"]) == ("accepted", seq)


def test_a_replace_without_an_answer_outlives_the_end_of_its_order_and_a_restart(make):
    r = make()
    r.submit("o-1")
    r.executor.accepted("o-1")
    ask = {"kind": "replace", "order_id": "o-1", "strategy_id": "alpha", "sent_ns": wall_ns_of(r.clock)}
    r.say(**ask, request_id="r-1", revision=1, order={**BUY, "lmtPrice": 11.0})
    r.executor.filled("o-1")
    r.restart()
    listed = r.history.orders(strategy_id=None, order_id=None, state="done", after=0)
    assert [record.order_id for _, record in listed] == ["o-1"]
    r.executor.join()
    _, asked = r.sent(ReplaceOrder)
    assert asked.fence < 0, "a question, not a change"
    r.executor.tell(Replaced(order_id="o-1", strategy_id="alpha", request_id="r-1"), "success")
    assert r.last("o-1")["kind"] == "replaced"
    r.restart()
    assert r.stage.core.orders == {}


@pytest.mark.parametrize("days", [-40, 0])
def test_a_remembered_cancel_is_kept_for_an_hour_at_most_wherever_the_clock_was_set(make, days):
    r = make()
    rejoin(r)
    r.cancel("o-1", "c-1")
    r.cancel("o-2", "c-2")
    r.clock.jump_wall(days * 86_400)
    r.restart()
    rejoin(r)
    r.submit("o-1")
    assert r.last("o-1")["code"] == "cancelled"
    r.wait(3601, step=1)
    r.executor.join()
    r.submit("o-2")
    assert r.last("o-2")["kind"] == "passed"


def test_the_parent_of_a_leg_that_lives_is_read_at_the_start_though_it_has_ended(make):
    r = make()
    r.submit("entry", attached=[{"order_id": "stop", "order": {**BUY, "action": "SELL"}}])
    for order_id in ("entry", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    r.submit("other")
    r.executor.filled("other")
    r.restart()
    assert {each.order_id: each.state for each in r.history.saved.orders} == {"entry": "done", "stop": "working"}
    assert r.stage.core.orders["entry"].filled == 100
