"""`python -m tests.stops`: the campaign of stops; `--case N` replays one and shows its logs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from tests.stops.campaign import STOPS, case_of, play

# A case takes about seven seconds; this long means that it hangs.
CASE_SECS = 180


def main() -> int:
    """Play cases; 0: after each stop nothing passed until the reset."""
    parser = argparse.ArgumentParser(prog="python -m tests.stops", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first case")
    parser.add_argument("--count", type=int, default=100, help="how many cases")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--case", type=int, help="replay the case of this seed")
    arguments = parser.parse_args()
    if arguments.case is not None:
        return replay(arguments.case)
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
        say(f"the first that failed: .venv/bin/python -m tests.stops --case {failed[0]}")
    return 1 if failed else 0


def replay(seed: int) -> int:
    """Play one case here; its result is the last line."""
    result = play(case_of(seed))
    say(json.dumps(asdict(result)))
    return 1 if result.complaints else 0


def played(seed: int) -> dict[str, Any]:
    """Play one case in a process of its own."""
    command = [sys.executable, "-m", "tests.stops", "--case", str(seed)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CASE_SECS, check=False)
        result: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    except (subprocess.TimeoutExpired, ValueError) as error:
        what = done.stderr[-300:] if isinstance(error, ValueError) else f"not over after {CASE_SECS} s"
        result = {"seed": seed, "stop": case_of(seed).stop, "troubles": [], "before": 0, "offered": 0}
        result["complaints"] = [f"the case broke off: {what}"]
    return result


def tell(result: dict[str, Any]) -> None:
    """One line for each case, and more for what is not as it should be."""
    how = "FAILED" if result["complaints"] else "ok"
    troubles = ", ".join(result["troubles"])
    say(f"{result['seed']:5} {result['stop']:8} {troubles}: {how}, {result['before']} of {result['offered']} placed")
    for text in result["complaints"]:
        say(f"      {text}")


def say(text: str) -> None:
    """To whoever runs it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
