from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.executor.doubts import ROUNDS_APART_SECS, Rounds, same_trading_day


def test_two_rounds_ten_seconds_apart_over_a_newer_connection_settle_a_doubt() -> None:
    rounds = Rounds()
    rounds.on_round(now=21.0, undisturbed_since=20.0)
    assert not rounds.settle(doubt_since=5.0)
    rounds.on_round(now=30.999, undisturbed_since=20.0)
    assert not rounds.settle(doubt_since=5.0)
    rounds.on_round(now=21.0 + ROUNDS_APART_SECS, undisturbed_since=20.0)
    assert rounds.settle(doubt_since=5.0)


def test_a_doubt_that_arose_over_this_connection_is_not_settled_by_it() -> None:
    rounds = Rounds()
    for now in (21.0, 31.0, 41.0):
        rounds.on_round(now, undisturbed_since=20.0)
        assert not rounds.settle(doubt_since=20.0)


def test_after_a_disturbance_the_rounds_begin_anew() -> None:
    rounds = Rounds()
    rounds.on_round(now=21.0, undisturbed_since=20.0)
    rounds.on_round(now=31.0, undisturbed_since=30.5)
    assert not rounds.settle(doubt_since=5.0)
    rounds.on_round(now=41.0, undisturbed_since=30.5)
    assert rounds.settle(doubt_since=5.0)


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
