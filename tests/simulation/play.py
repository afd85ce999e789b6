"""Playing seeds, for the tests and for `make simulate`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterable

from tests.simulation.world import World


def seeds(count: int, first: int = 0) -> Iterable[int]:
    """The seeds to run: `SEED` alone if it is set."""
    alone = os.environ.get("SEED")
    return [int(alone)] if alone else range(first, first + count)


def story_of(world: World, error: BaseException) -> str:
    """What happened until it failed."""
    where = "".join(traceback.format_exception(error)) if not isinstance(error, AssertionError) else ""
    return "\n".join([*world.trace, where, f"FAILED: {error}", f"replay: SEED={world.seed} make simulate"])


def main() -> int:
    """Play many, print each that fails, and say how many did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    failed = []
    for seed in seeds(options.seeds, options.first):
        world = World(seed)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - a run that breaks is a finding like any other
            failed.append(seed)
            sys.stdout.write(f"{story_of(world, error)}\n\n")
    sys.stdout.write(f"{options.seeds} runs from seed {options.first}: {len(failed)} failed {failed or ''}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
