from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from orderfuse.bus.codec import decode
from orderfuse.bus.events import Accepted, Filled
from services.executor.batch import Keep
from services.executor.global_cancel import OwedCancel
from services.executor.journal import KEEP_FEEDBACK_NS, MARK_TAKEN_NS, Journal, JournalError, JournalMismatch
from services.executor.orders.records import Execution, OrderRecord
from services.wire.feedback import Feedback

PATH = "executor.sqlite"


class Wall:
    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns


def accepted(order_id: str) -> Accepted:
    return Accepted(order_id=order_id, strategy_id="s1", ib_order_id=1, perm_id=2, status="Submitted")


def facts(*order_ids: str) -> Keep:
    return Keep(facts=[(accepted(order_id), None) for order_id in order_ids])


def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    record = OrderRecord("o-1", "s1", 41, 100, tif="IOC")
    journal.save(Keep(intents=[record]), journal.wall_ns())
    record.perm_id, record.accepted, record.counted = 9, True, "success"
    execution = Execution("a.01", "o-1", 10, 1.5)
    journal.save(Keep(orders={"o-1": record}, executions=[execution]), journal.wall_ns())
    journal.close()
    again = Journal(tmp_path / PATH, 7)
    assert again.journal_id == journal.journal_id
    assert again.highest_ib_order_id == 41
    assert again.open_orders() == [record]
    assert again.find_order(perm_id=9) == again.find_order(ib_order_id=41) == record
    assert again.find_order(perm_id=0) is None
    assert again.find_executions("o-1") == [execution]
    assert again.find_execution("a.01") == execution
    again.close()


def test_an_ended_order_is_not_open_but_still_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    record = OrderRecord("o-1", "s1", 1, 100)
    journal.save(Keep(intents=[record]), journal.wall_ns())
    record.ended = "filled"
    journal.save(Keep(orders={"o-1": record}), journal.wall_ns())
    assert journal.open_orders() == []
    assert journal.find_order(order_id="o-1") == record
    journal.close()


def test_an_order_id_of_ib_is_never_used_twice_and_never_goes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(Keep(intents=[OrderRecord("o-1", "s1", 41, 100)]), journal.wall_ns())
    for lower in (41, 40, 1):
        with pytest.raises(JournalError, match="not above 41"):
            journal.save(Keep(intents=[OrderRecord(f"o-{lower}", "s1", lower, 100)]), journal.wall_ns())
    with pytest.raises(JournalError):
        journal.save(Keep(intents=[OrderRecord("o-1", "s1", 42, 100)]), journal.wall_ns())
    assert journal.highest_ib_order_id == 41
    journal.close()


def test_what_is_committed_is_told_though_the_disk_takes_no_pruning_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(None, 7)

    def full() -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(journal, "prune", full)
    monkeypatch.setattr("services.executor.journal.PRUNE_EVERY", 1)
    assert [seq for seq, _, _ in journal.save(facts("o-1"), journal.wall_ns())] == [1]


def test_feedback_is_numbered_without_a_gap_and_its_bytes_say_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    told = journal.save(facts("o-1", "o-2"), journal.wall_ns()) + journal.save(facts("o-1"), journal.wall_ns())
    assert [seq for seq, _, _ in told] == [1, 2, 3]
    for seq, feedback, payload in told:
        assert decode(payload, Feedback) == feedback
        assert (feedback.seq, feedback.journal_id) == (seq, journal.journal_id)
    assert [seq for seq, _ in journal.feedback_after(1, 10)] == [2, 3]
    assert [seq for seq, _ in journal.feedback_after(0, 2)] == [1, 2]
    assert [seq for seq, _ in journal.feedback_of("o-1")] == [1, 3]
    assert journal.feedback_range() == (1, 3)
    journal.close()


def test_feedback_goes_a_week_after_it_was_taken_and_its_numbers_are_not_given_again(tmp_path: Path) -> None:
    wall = Wall()
    journal = Journal(tmp_path / PATH, 7, wall_ns=wall)
    assert journal.feedback_range() == (1, 0)
    journal.save(facts("o-1", "o-2"), journal.wall_ns())
    journal.note_taken(2)
    wall.ns += KEEP_FEEDBACK_NS
    journal.prune()
    assert journal.feedback_range() == (1, 2)
    wall.ns += 1
    journal.prune()
    assert journal.feedback_range() == (3, 2)
    assert journal.save(facts("o-3"), journal.wall_ns())[0][0] == 3
    journal.close()


def test_feedback_that_the_breaker_has_not_taken_stays_however_old_it_is(tmp_path: Path) -> None:
    wall = Wall()
    journal = Journal(tmp_path / PATH, 7, wall_ns=wall)
    journal.save(facts("o-1", "o-2", "o-3"), journal.wall_ns())
    journal.note_taken(1)
    journal.close()
    wall.ns += 40 * 86_400 * 10**9
    journal = Journal(tmp_path / PATH, 7, wall_ns=wall)
    assert journal.feedback_range() == (2, 3), "only what was taken long ago has gone"
    journal.note_taken(3)
    journal.prune()
    assert journal.feedback_range() == (2, 3), "taken just now, after a pause of 40 days"
    wall.ns -= 80 * 86_400 * 10**9
    journal.prune()
    assert journal.feedback_range() == (2, 3), "a clock that is set back loses nothing"
    journal.close()


def test_marks_of_what_was_taken_do_not_pile_up(tmp_path: Path) -> None:
    wall = Wall()
    journal = Journal(tmp_path / PATH, 7, wall_ns=wall)
    for number in range(1, 1001):
        journal.save(facts(f"o-{number}"), journal.wall_ns())
        journal.note_taken(number)
        wall.ns += MARK_TAKEN_NS // 2
    journal.prune()
    (marks,) = journal._db.execute("SELECT count(*) FROM taken").fetchone()
    assert 100 < marks < 200
    journal.close()


def test_what_this_process_told_under_the_id_of_an_old_copy_is_told_again_under_the_new_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(facts("o-1", "o-2"), journal.wall_ns())
    journal.saved()
    journal.save(facts("o-3"), journal.wall_ns())
    renamed = journal.rename()
    ((seq, payload),) = journal.feedback_after(0, 10)
    told = decode(payload, Feedback)
    assert isinstance(told.fact, Accepted)
    assert (seq, told.seq, told.journal_id, told.fact.order_id) == (3, 3, renamed, "o-3")
    assert journal.feedback_range() == (3, 3)
    journal.close()


def test_an_old_copy_takes_another_id_drops_what_it_told_and_goes_on_numbering(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(facts("o-1", "o-2"), journal.wall_ns())
    before = journal.journal_id
    # The process after that.
    journal.saved()
    renamed = journal.rename()
    assert renamed == journal.journal_id != before
    assert journal.feedback_range() == (3, 2)
    ((seq, feedback, _),) = journal.save(facts("o-3"), journal.wall_ns())
    assert (seq, feedback.journal_id) == (3, renamed)
    journal.close()
    again = Journal(tmp_path / PATH, 7)
    assert again.journal_id == renamed
    again.close()


def test_a_fence_of_all_takes_the_place_of_every_strategys(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    assert journal.fences() == {}
    journal.save(Keep(fences=[("system", 5)]), journal.wall_ns())
    journal.save(Keep(fences=[("strategy:a", 6)]), journal.wall_ns())
    assert journal.fences() == {"system": 5, "strategy:a": 6}
    journal.save(Keep(fences=[("system", 7)]), journal.wall_ns())
    journal.close()
    again = Journal(tmp_path / PATH, 7)
    assert again.fences() == {"system": 7}
    again.close()


def test_a_global_cancel_that_is_owed_outlives_the_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    assert journal.owed_cancel() is None
    journal.save(Keep(owed=[OwedCancel(number=4, listed=[11, 12])]), journal.wall_ns())
    journal.close()
    again = Journal(tmp_path / PATH, 7)
    assert again.owed_cancel() == OwedCancel(number=4, listed=[11, 12])
    again.save(Keep(owed=[None]), again.wall_ns())
    assert again.owed_cancel() is None
    again.close()


def test_an_order_that_was_found_at_ib_is_known_for_ever_and_its_number_is_used(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    found = OrderRecord(order_id="o-9", strategy_id="adopted", ib_order_id=41, quantity=10.0, perm_id=900)
    journal.save(Keep(orders={"o-9": found}), journal.wall_ns())
    assert journal.highest_ib_order_id == 41
    journal.close()
    again = Journal(tmp_path / PATH, 7)
    assert again.find_order(order_id="o-9") == found
    assert again.find_order(ib_order_id=41) == found
    again.close()


def test_a_journal_of_another_client_id_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Journal(tmp_path / PATH, 7).close()
    with pytest.raises(JournalMismatch, match="Set it back to 7"):
        Journal(tmp_path / PATH, 8)


def test_a_journal_of_another_account_is_refused_with_what_to_do(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(Keep(account="DU1"), journal.wall_ns())
    journal.save(Keep(account="DU1"), journal.wall_ns())
    with pytest.raises(JournalMismatch, match="belongs to the account DU1"):
        journal.save(Keep(account="DU2"), journal.wall_ns())
    journal.close()


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / PATH, 7).close()
    with sqlite3.connect(tmp_path / PATH) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(JournalError, match=r"newer orderfuse \(schema 99"):
        Journal(tmp_path / PATH, 7)


def test_a_journal_with_a_garbled_order_is_laid_aside_and_the_new_one_has_another_id(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(Keep(intents=[OrderRecord("o-1", "s1", 1, 100)]), journal.wall_ns())
    journal.close()
    with sqlite3.connect(tmp_path / PATH) as db:
        db.execute("UPDATE orders SET record = 'not json'")
    db.close()
    again = Journal(tmp_path / PATH, 7)
    assert "damaged" in again.trouble
    assert again.journal_id != journal.journal_id
    assert again.open_orders() == []
    again.close()
    assert Journal(tmp_path / PATH, 7).trouble == ""


def test_a_journal_whose_client_id_is_no_number_is_laid_aside(tmp_path: Path) -> None:
    Journal(tmp_path / PATH, 7).close()
    with sqlite3.connect(tmp_path / PATH) as db:
        db.execute("UPDATE meta SET value = 'seven' WHERE key = 'client_id'")
    db.close()
    assert "seven" in Journal(tmp_path / PATH, 7).trouble


def test_when_one_part_cannot_be_kept_nothing_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    journal.save(Keep(intents=[OrderRecord("o-1", "s1", 1, 100)]), journal.wall_ns())
    broken = Keep(facts=[(accepted("o-1"), None)], executions=[Execution("a.01", "o-1", float("nan"), 1)])
    with pytest.raises(JournalError):
        journal.save(broken, journal.wall_ns())
    assert journal.feedback_range() == (1, 0)
    fill = Filled(
        order_id="o-1",
        strategy_id="s1",
        exec_id="a.01",
        shares=1,
        price=1,
        cum_qty=1,
        avg_price=1,
        remaining=0,
        done=True,
    )
    assert journal.save(Keep(facts=[(fill, "success")]), journal.wall_ns())[0][0] == 1
    journal.close()


def test_the_intent_is_on_the_disk_before_anything_can_be_sent(tmp_path: Path) -> None:
    journal = Journal(tmp_path / PATH, 7)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    journal.save(Keep(intents=[OrderRecord("o-1", "s1", 1, 100)]), journal.wall_ns())
    other = sqlite3.connect(tmp_path / PATH)
    assert other.execute("SELECT order_id FROM orders").fetchall() == [("o-1",)]
    other.close()
    journal.close()
