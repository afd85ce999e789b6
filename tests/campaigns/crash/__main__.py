"""`python -m tests.campaigns.crash`: the campaign, resumable; `--seed N` replays one case and shows its logs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.runtime.crash_points import POINTS
from tests.campaigns.alone import play_apart, say, say_complaints, show
from tests.campaigns.crash.campaign import case_of, play
from tests.campaigns.crash.losses import LOSSES


def main() -> int:
    """Play the cases that have no result yet; 0: all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.crash", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=200, help="how many seeds")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--results", type=Path, default=Path(".crash/results.jsonl"), help="kept for a resume")
    parser.add_argument("--seed", type=int, help="replay this one case")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return show(play(case_of(arguments.seed)))
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first, arguments.first + arguments.count)
    results = {seed: result for seed, result in known(arguments.results).items() if seed in seeds}
    with (
        arguments.results.open("a", encoding="utf-8") as file,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        for result in pool.map(played, (seed for seed in seeds if seed not in results)):
            results[result["seed"]] = result
            file.write(json.dumps(result) + "\n")
            file.flush()
            tell(result)
    print_table(list(results.values()))
    return 1 if any(result["complaints"] for result in results.values()) else 0


def played(seed: int) -> dict[str, Any]:
    """Play one case in a process of its own."""
    broken_off = {
        **asdict(case_of(seed)),
        "reached": False,
        "orders": 0,
        "executions": 0,
        "replaces": 0,
        "met": {},
        "unknown": [],
    }
    return play_apart(["-m", "tests.campaigns.crash", "--seed", str(seed)], broken_off)


def known(path: Path) -> dict[int, dict[str, Any]]:
    """Results of earlier runs; what failed is played again."""
    if not path.exists():
        return {}
    results = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {result["seed"]: result for result in results if not result["complaints"]}


def tell(result: dict[str, Any]) -> None:
    """One line for each case, and more for what is not as it should be."""
    how = "FAILED" if result["complaints"] else "ok" if result["reached"] else "not reached"
    extras = "".join(f" {name}" for name in ("both", "rollback", "away", "patient") if result[name])
    if result["closes"]:
        extras += f" closes {result['closes']}"
    if result["loss"]:
        extras += f" {result['loss']} of {' and '.join(result['lost'])}{' tripped' * result['tripped']}"
    say(f"{result['seed']:5} {result['point']}:{result['count']}{extras}: {how}, {result['orders']} orders")
    say_complaints(result)


def print_table(results: list[dict[str, Any]]) -> None:
    """Kill point, how many, how it went; then what stayed unknown, and the sums."""
    say(f"\n{'point':32} {'cases':>5} {'killed':>6} {'passed':>6} {'unknown':>7} {'failed':>6}")
    for point in POINTS:
        mine = [result for result in results if result["point"] == point]
        counts = Counter(
            killed=sum(result["reached"] for result in mine),
            passed=sum(result["reached"] and not result["complaints"] for result in mine),
            unknown=sum(len(result["unknown"]) for result in mine),
            failed=sum(bool(result["complaints"]) for result in mine),
        )
        say(f"{point:32} {len(mine):5} " + " ".join(f"{counts[name]:{width}}" for name, width in COLUMNS.items()))
    say(f"\n{'journal':32} {'cases':>5} {'passed':>6} {'unknown':>7} {'failed':>6}")
    for loss, text in LOSSES.items():
        mine = [result for result in results if result["loss"] == loss]
        failed = sum(bool(result["complaints"]) for result in mine)
        unknown = sum(len(result["unknown"]) for result in mine)
        say(f"{loss:32} {len(mine):5} {len(mine) - failed:6} {unknown:7} {failed:6}  {text}")
    for result in results:
        for text in result["unknown"]:
            say(f"unknown under seed {result['seed']} ({result['point']}): {text}")
    sums = {name: sum(result[name] for result in results) for name in ("orders", "executions", "replaces")}
    met = Counter[str]()
    for result in results:
        met.update(result.get("met", {}))
    say(
        f"{met['ordinary']} orders ended by IB in the ordinary course, {met['part']} filled in part before they were "
        f"cancelled; cancels refused: {met['10147']} with 10147, {met['10148']} with 10148"
    )
    say(
        f"{len(results)} cases, {sum(result['reached'] for result in results)} processes killed at their point, "
        f"{sums['orders']} orders, {sums['executions']} executions, {sums['replaces']} replaces, "
        f"{sum(bool(result['complaints']) for result in results)} cases failed"
    )


COLUMNS = {"killed": 6, "passed": 6, "unknown": 7, "failed": 6}


if __name__ == "__main__":
    sys.exit(main())
