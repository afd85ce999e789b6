"""`python -m tests.campaigns.stops`: the campaign of stops; `--case N` replays one and shows its logs."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.campaigns.alone import play_apart, say, say_complaints, show
from tests.campaigns.stops.campaign import STOPS, case_of, play


def main() -> int:
    """Play cases; 0: after each stop nothing passed until the reset."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.stops", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first case")
    parser.add_argument("--count", type=int, default=100, help="how many cases")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--case", type=int, help="replay the case of this seed")
    arguments = parser.parse_args()
    if arguments.case is not None:
        return show(play(case_of(arguments.case)))
    failed, counts = [], Counter[str]()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(played, range(arguments.seed, arguments.seed + arguments.count)):
            tell(result)
            counts.update({result["stop"]: 1, "before": result["before"], "offered": result["offered"]})
            if result["complaints"]:
                failed.append(result["seed"])
    stops = ", ".join(f"{counts[stop]} by {stop}" for stop in STOPS)
    say(
        f"{arguments.count} stops ({stops}), {counts['before']} orders placed before them, "
        f"{counts['offered']} orders sent; {len(failed)} cases failed"
    )
    if failed:
        say(f"the first that failed: .venv/bin/python -m tests.campaigns.stops --case {failed[0]}")
    return 1 if failed else 0


def played(seed: int) -> dict[str, Any]:
    """Play one case in a process of its own."""
    broken_off = {"seed": seed, "stop": case_of(seed).stop, "troubles": [], "before": 0, "offered": 0}
    return play_apart(["-m", "tests.campaigns.stops", "--case", str(seed)], broken_off)


def tell(result: dict[str, Any]) -> None:
    """One line for each case, and more for what is not as it should be."""
    how = "FAILED" if result["complaints"] else "ok"
    troubles = ", ".join(result["troubles"])
    say(f"{result['seed']:5} {result['stop']:8} {troubles}: {how}, {result['before']} of {result['offered']} placed")
    say_complaints(result)


if __name__ == "__main__":
    sys.exit(main())
