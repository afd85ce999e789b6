from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.executor.orders.doubts import ROUNDS_APART_SECS, Doubt, Rounds, same_trading_day


def test_two_rounds_ten_seconds_apart_over_a_newer_connection_settle_a_doubt() -> None:
    rounds, lost = Rounds(), Doubt(5.0)
    rounds.on_round(20.5, 21.0, undisturbed_since=20.0)
    assert not rounds.answers(lost)
    rounds.on_round(30.5, 30.999, undisturbed_since=20.0)
    assert not rounds.answers(lost)
    rounds.on_round(30.999, 21.0 + ROUNDS_APART_SECS, undisturbed_since=20.0)
    assert rounds.answers(lost)


def test_that_bytes_may_be_lost_is_not_settled_by_the_connection_that_lost_them() -> None:
    rounds = Rounds()
    for now in (21.0, 31.0, 41.0):
        rounds.on_round(now - 0.5, now, undisturbed_since=20.0)
        assert not rounds.answers(Doubt(20.0))


def test_what_ib_has_answered_is_settled_by_the_rounds_that_begin_after_it() -> None:
    rounds, answered = Rounds(), Doubt(21.0, bytes_lost=False)
    rounds.on_round(20.9, 22.0, undisturbed_since=20.0)
    rounds.on_round(32.0, 33.0, undisturbed_since=20.0)
    assert not rounds.answers(answered), "the first one may have been asked too early"
    rounds.on_round(42.0, 43.0, undisturbed_since=20.0)
    assert rounds.answers(answered)


def test_rounds_in_quick_succession_settle_it_too() -> None:
    rounds, answered = Rounds(), Doubt(21.0, bytes_lost=False)
    for tenth in range(205, 2000):
        rounds.on_round(tenth / 10, tenth / 10 + 0.05, undisturbed_since=20.0)
        assert rounds.answers(answered) is (tenth >= 310) or tenth in range(305, 325)
    assert rounds.answers(answered)


def test_after_a_disturbance_the_rounds_begin_anew() -> None:
    rounds = Rounds()
    rounds.on_round(20.5, 21.0, undisturbed_since=20.0)
    rounds.on_round(30.9, 31.0, undisturbed_since=30.5)
    assert not rounds.answers(Doubt(5.0))
    assert not rounds.answers(Doubt(5.0, bytes_lost=False))
    rounds.on_round(40.9, 41.0, undisturbed_since=30.5)
    assert rounds.answers(Doubt(5.0))


@pytest.mark.parametrize(
    ("placed", "now", "same"),
    [
        ("2026-03-10 15:00", "2026-03-10 20:00", True),
        ("2026-03-10 23:59", "2026-03-11 00:01", False),
        ("2026-03-10 03:59", "2026-03-10 04:01", False),  # midnight in New York, in summer
        ("2026-03-10 04:59", "2026-03-10 05:01", False),  # and in winter
    ],
)
def test_a_day_that_is_over_somewhere_is_over(placed: str, now: str, same: bool) -> None:
    stamps = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e9 for text in (placed, now)]
    assert same_trading_day(int(stamps[0]), int(stamps[1])) is same
