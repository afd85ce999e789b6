"""What `OrderClient.reports` still has to tell: without a socket."""

from __future__ import annotations

import pytest

import orderfuse.client.reports
from orderfuse.bus.events import Expired, State
from orderfuse.bus.notices import Gap, Silent, Unreadable
from orderfuse.client.reports import Reports
from tests.states import state


def event(seq: int, *, again: bool = False) -> Expired:
    return Expired(order_id="o-1", strategy_id="s", age_ms=1, seq=seq, again=again)


def told(reports: Reports) -> list[object]:
    return [reports.pop() for _ in range(len(reports))]


def test_each_event_is_told_once_and_a_repeat_never() -> None:
    reports = Reports()
    for item in (event(1), event(1), event(2, again=True), event(3)):
        reports.keep(item)
    assert told(reports) == [event(1), event(3)]
    assert reports.pop() is None


def test_what_does_not_fit_is_told_once_the_journal_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orderfuse.client.reports, "MAX_REPORTS", 2)
    reports = Reports()
    for seq in range(1, 5):
        reports.keep(event(seq))
    assert (reports.overflowed, reports.kept_seq) == (True, 2)
    assert told(reports) == [event(1), event(2)]
    reports.keep(event(5))
    assert told(reports) == [], "not before those that did not fit"
    reports.refill([event(3), event(4)], complete=False)
    assert (reports.overflowed, told(reports)) == (True, [event(3), event(4)])
    reports.refill([event(5)], complete=True)
    assert (reports.overflowed, told(reports)) == (False, [event(5)])


def test_a_hole_is_told_only_where_a_strategy_would_believe_to_have_heard_all() -> None:
    reports = Reports()
    lost, filled = Gap(3, 0, missing=True), Gap(3, 2, missing=False)
    newer, broken = Unreadable("a newer event", "unknown_kind"), Unreadable("no number", "bad_field")
    quiet: list[State | Silent] = [state(), Silent(2.0)]
    for item in (lost, filled, newer, broken, *quiet):
        reports.keep(item)
    assert told(reports) == [lost, broken]


def test_a_new_journal_counts_anew() -> None:
    reports = Reports()
    for item in (event(7), event(1), Gap(0, 1, missing=False), event(1)):
        reports.keep(item)
    assert told(reports) == [event(7), event(1)]
