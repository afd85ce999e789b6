"""`python -m tests.simulation.judge --seeds 100000 --first 0`: prints each story that fails, and how many did."""

from __future__ import annotations

import argparse

from loguru import logger

from tests.simulation.judge.play import play

MAX_TOLD = 5


def main() -> int:
    """Play them; returns 1 if any fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    chosen = parser.parse_args()
    logger.remove()
    failed = 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        story = play(seed)
        if story:
            failed += 1
            if failed <= MAX_TOLD:
                print(story, end="\n\n", flush=True)  # noqa: T201 - a command for people
    print(f"{chosen.seeds} stories from seed {chosen.first}: {failed} failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
