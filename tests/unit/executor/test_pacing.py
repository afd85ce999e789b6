from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.pacing import CANCEL_RESERVE, Pacer


@given(
    limit=st.integers(1, 60),
    steps=st.lists(st.tuples(st.floats(0, 0.4), st.booleans(), st.integers(1, 30)), max_size=60),
)
def test_no_sliding_second_ever_holds_more_than_the_limit(limit: int, steps: list[tuple[float, bool, int]]) -> None:
    pacer = Pacer(limit)
    now = 0.0
    sent: list[float] = []
    for pause, cancel, wanted in steps:
        now += pause
        for _ in range(wanted):
            if pacer.free(now, cancel=cancel):
                pacer.note(now)
                sent.append(now)
    for start in sent:
        assert sum(1 for at in sent if start <= at <= start + 1.0) <= limit


def test_the_last_messages_of_a_second_are_kept_for_cancels() -> None:
    pacer = Pacer(45)
    orders = 0
    while pacer.free(0.0):
        pacer.note(0.0)
        orders += 1
    cancels = 0
    while pacer.free(0.0, cancel=True):
        pacer.note(0.0)
        cancels += 1
    assert (orders, cancels) == (45 - CANCEL_RESERVE, CANCEL_RESERVE)
    assert not pacer.free(1.02, cancel=True)
    assert pacer.free(1.021)


def test_a_limit_of_one_still_lets_orders_through() -> None:
    assert Pacer(1).free(0.0)


def test_without_a_limit_nothing_is_counted() -> None:
    pacer = Pacer(0)
    for _ in range(1000):
        pacer.note(0.0)
    assert pacer.free(0.0)
    assert not pacer._sent
