"""Whatever IB says in whatever order: one end or unknown, true quantities, and no ordinary end counts."""

from __future__ import annotations

import pytest

from tests.simulation.judge.play import play

SEEDS, AT_ONCE = 300, 50


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_what_is_told_of_an_order_is_what_ib_has(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        story = play(seed)
        assert not story, story
