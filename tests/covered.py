"""`python -m tests.covered`: what the tests that open no socket have covered, after they ran with `--cov`.

Of what decides, the middles, each folder, and each file that is covered below 97 %. If all of that together is below,
the run fails. Of everything else one line for each room: rims are tested as processes, which nobody measures here.
Lines and branches count alike: coverage.py counts a branch that was never taken like a line that was never run.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import coverage

from orderfuse.exit_codes import DONE, REFUSED

ROOT = Path(__file__).parent.parent
MIDDLES = ("services/breaker", "services/executor", "services/gateway", "shared/orderfuse/circuit")
COUNTED = ("num_branches", "missing_branches", "num_statements", "missing_lines")
# In per cent. What is missing are corners such as `assert_never`; whole cases without a test are more than that.
LEAST = 97.0
RUN_AGAIN = "python -m pytest --numprocesses auto --cov --cov-report= tests/unit"

Counts = dict[str, Counter[str]]


def main(root: Path = ROOT, data_file: Path = ROOT / ".coverage" / "data") -> int:
    """Print the tables; returns 1, with a sentence that says why, if too little is covered or nothing can be said."""
    pure = {place for place in sources(root, MIDDLES) if is_pure(root / place)}
    try:
        counts = measured(root, data_file)
        unknown = sorted(pure - counts.keys())
        if unknown:
            raise Stale(f"it knows nothing of {unknown[0]}")
    except Stale as stale:
        sys.stderr.write(f"{data_file} is not of this code: {stale}. Run the tests again: {RUN_AGAIN}\n")
        return REFUSED
    middles = {place: counts[place] for place in pure}
    print_table("what decides", by_folder(middles))
    print_table(f"of it below {LEAST:g} %", {place: each for place, each in middles.items() if share(each) < LEAST})
    others = {place: each for place, each in counts.items() if place not in pure}
    print_table("the rest, as far as it runs without a socket", by_folder(others, depth=2))
    together = share(total(middles.values()))
    if together < LEAST:
        sys.stderr.write(f"what decides is covered to {together:.2f} %, {LEAST:g} % is the least: a case has no test\n")
        return REFUSED
    return DONE


class Stale(Exception):
    """The coverage data is missing, or of another state of the code. The text says by what that shows."""


def sources(root: Path, folders: Iterable[str]) -> Iterator[str]:
    """The files of these folders, by their place below the root."""
    for folder in folders:
        yield from (path.relative_to(root).as_posix() for path in (root / folder).rglob("*.py"))


def is_pure(path: Path) -> bool:
    return bool(re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))


def measured(root: Path, data_file: Path) -> Counts:
    """What coverage.py has counted, by file.

    Raises:
        Stale: there is no data, or it names a file that is not there.
    """
    if not data_file.exists():
        raise Stale("there is none")
    data = coverage.Coverage(data_file=str(data_file))
    data.load()
    for name in sorted(data.get_data().measured_files()):
        if not Path(name).is_relative_to(root):
            raise Stale(f"{name} is in another folder")
        if not Path(name).exists():
            raise Stale(f"{name} is not there any more")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        try:
            data.json_report(outfile=str(report))
        except coverage.exceptions.CoverageException as error:
            raise Stale(str(error)) from None
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    # It names them as seen from where this runs.
    return {
        (Path.cwd() / name).relative_to(root).as_posix(): Counter({each: found["summary"][each] for each in COUNTED})
        for name, found in files.items()
    }


def by_folder(files: Counts, depth: int | None = None) -> Counts:
    """The sums of each folder, or of the first `depth` parts of it."""
    folders: Counts = {}
    for place, counts in sorted(files.items()):
        folders.setdefault("/".join(place.split("/")[:-1][:depth]), Counter()).update(counts)
    return folders


def total(counts: Iterable[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter())


def share(counts: Counter[str]) -> float:
    """How much of the lines and branches was taken, in per cent."""
    branches, missed_branches, lines, missed_lines = (counts[name] for name in COUNTED)
    all_of_it = branches + lines
    return 100 * (1 - (missed_branches + missed_lines) / all_of_it) if all_of_it else 100.0


def print_table(title: str, rows: Counts) -> None:
    if not rows:
        return
    print(f"\n{title:<52}{'branches':>9}{'missed':>8}{'lines':>7}{'missed':>8}{'covered':>9}")
    for place, counts in [*sorted(rows.items()), ("together", total(rows.values()))]:
        branches, missed_branches, lines, missed_lines = (counts[name] for name in COUNTED)
        print(f"{place:<52}{branches:>9}{missed_branches:>8}{lines:>7}{missed_lines:>8}{share(counts):>8.1f}%")


if __name__ == "__main__":
    sys.exit(main())
