"""The sliding window that every rate and every count over time is kept in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.window import SlidingWindow


def test_what_is_exactly_as_old_as_the_span_still_counts_and_a_nanosecond_later_no_more() -> None:
    window: SlidingWindow[int, None] = SlidingWindow(1_000_000_000)
    window.add(5, None)
    assert window.count(1_000_000_005) == 1
    assert window.count(1_000_000_006) == 0


def test_looking_drops_nothing_and_forgetting_does() -> None:
    window: SlidingWindow[int, str] = SlidingWindow(10)
    window.add(0, "a")
    window.add(9, "b")
    assert window.within(11) == ["b"]
    assert list(window) == [(0, "a"), (9, "b")]
    window.forget_old(11)
    assert list(window) == [(9, "b")]


def test_of_more_than_are_kept_the_oldest_go() -> None:
    window: SlidingWindow[float, int] = SlidingWindow(60.0, most=3)
    for number in range(5):
        window.add(float(number), number)
    assert len(window) == 3
    assert window.within(5.0) == [2, 3, 4]
    window.clear()
    assert window.count(5.0) == 0


@pytest.mark.parametrize("unit", [int, float])
@given(steps=st.lists(st.integers(0, 5), max_size=40), span=st.integers(1, 8))
def test_it_counts_what_a_list_of_all_moments_would(unit: type, steps: list[int], span: int) -> None:
    window: SlidingWindow[float, None] = SlidingWindow(unit(span))
    now, moments = 0, []
    for step in steps:
        now += step
        window.add(unit(now), None)
        moments.append(now)
        assert window.count(unit(now)) == sum(now - at <= span for at in moments)


def test_what_happened_last_can_be_moved_to_when_it_really_did() -> None:
    window: SlidingWindow[int, str] = SlidingWindow(10)
    for at, item in enumerate("abc"):
        window.add(at, item)
    window.restamp_last(2, 8)
    assert list(window) == [(0, "a"), (8, "b"), (8, "c")]
    window.restamp_last(9, 9)
    assert list(window) == [(9, "a"), (9, "b"), (9, "c")]
