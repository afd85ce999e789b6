"""Seeded runs of the whole pipeline in virtual time. A failing run names its seed; `SEED=17` runs it alone.

`SEEDS=5000 pytest tests/simulation` looks for longer.
"""

import os

from tests.simulation.world import World

SEEDS = int(os.environ.get("SEEDS", "250"))


def seeds():
    alone = os.environ.get("SEED")
    return [int(alone)] if alone else range(SEEDS)


def test_whatever_happens_no_order_is_lost_doubled_or_written_after_the_stop():
    seen = set()
    for seed in seeds():
        world = World(seed)
        world.run()
        seen |= world.oracle.kinds_seen
    wanted = {"passed", "blocked", "expired", "unknown", "rejected", "cancelled", "filled", "not_placed", "duplicate"}
    missing = (wanted | {"OPEN", "HALF_OPEN", "CLOSED"}) - seen
    assert not missing or len(seeds()) < 20, f"the runs never met {missing}: they prove less than they seem to"


def test_a_seed_is_a_run():
    first, second = World(3), World(3)
    first.run()
    second.run()
    assert first.history.events == second.history.events
