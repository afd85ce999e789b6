"""`python -m tests.covered`: which branches the tests that open no socket have taken, after they ran with `--cov`.

What decides, the middles, file by file; of everything else one line for each room: rims are tested as processes, which
nobody measures here. coverage.py counts a branch that was never taken like a line that was never run.
"""

from __future__ import annotations

import ast
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

import coverage

ROOT = Path(__file__).parent.parent
MIDDLES = ("services/breaker/", "services/executor/", "services/gateway/", "shared/orderfuse/circuit/")
COUNTED = ("num_branches", "missing_branches", "num_statements", "missing_lines")


def main() -> None:
    middles: dict[str, Counter[str]] = {}
    rooms: dict[str, Counter[str]] = {}
    for place, counts in measured().items():
        if place.startswith(MIDDLES) and is_pure(ROOT / place):
            middles[place] = counts
        else:
            rooms.setdefault("/".join(place.split("/")[:2]), Counter()).update(counts)
    write("the middles", middles)
    write("the rest, as far as it runs without a socket", rooms)


def measured() -> dict[str, Counter[str]]:
    """What coverage.py has counted, by file."""
    data = coverage.Coverage()
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        data.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {place: Counter({name: files[place]["summary"][name] for name in COUNTED}) for place in sorted(files)}


def is_pure(path: Path) -> bool:
    return bool(re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))


def write(title: str, rows: dict[str, Counter[str]]) -> None:
    print(f"\n{title:<52}{'branches':>9}{'missed':>8}{'lines':>7}{'missed':>8}{'covered':>9}")
    for place, counts in [*rows.items(), ("together", sum(rows.values(), Counter()))]:
        branches, missed_branches, lines, missed_lines = (counts[name] for name in COUNTED)
        all_of_it = branches + lines
        share = 100 * (1 - (missed_branches + missed_lines) / all_of_it) if all_of_it else 100
        print(f"{place:<52}{branches:>9}{missed_branches:>8}{lines:>7}{missed_lines:>8}{share:>8.1f}%")


if __name__ == "__main__":
    main()
