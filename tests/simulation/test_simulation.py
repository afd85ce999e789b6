"""Seeded runs of both real middles in virtual time. A failing run names its seed and prints its story.

`SEED=17 pytest tests/simulation` runs one alone; `make simulate SEEDS=10000` looks for longer.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.play import seeds, story_of
from tests.simulation.world import World

# So that more than one worker has some of them.
PARTS = 5
STATES = {"OPEN", "HALF_OPEN", "CLOSED"}
KINDS = set("passed blocked expired unknown rejected cancelled filled not_placed duplicate replaced".split())


# Half a minute where nothing else runs.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_no_order_is_lost_doubled_or_written_after_the_stop(part: int) -> None:
    seen: set[str] = set()
    count = int(os.environ.get("SEEDS", "250")) // PARTS
    for seed in seeds(count, first=part * count):
        world = World(seed)
        try:
            world.run()
        except AssertionError as error:
            pytest.fail(story_of(world, error))
        seen |= world.oracle.kinds_seen
    missing = (KINDS | STATES) - seen
    assert not missing or "SEED" in os.environ, f"never met: {missing}; the runs prove less than they seem to"


def test_a_seed_is_a_run() -> None:
    first, second = World(3), World(3)
    first.run()
    second.run()
    assert list(first.trace) == list(second.trace)
