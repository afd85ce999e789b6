"""`python -m tests.processes.docs [PAGE...]`: run what the pages print, and write down what it says now.

Look at the difference afterwards (`git diff docs`): whatever it says becomes what the documents promise.
"""

from __future__ import annotations

import sys

from tests.processes.docs.pages import DOCS
from tests.processes.docs.reader import recording
from tests.processes.docs.test_pages import RUN_HERE


def main(names: list[str]) -> int:
    """Record the named pages, or all of them. 0: nothing had changed, or it is written down."""
    unknown = sorted(set(names) - set(RUN_HERE))
    if unknown:
        sys.stderr.write(f"{', '.join(unknown)}: no such page; there are {', '.join(RUN_HERE)}\n")
        return 2
    for name in names or RUN_HERE:
        with recording(DOCS / name) as reader:
            reader.read(DOCS / name)
        sys.stdout.write(f"{name}: {len(reader.edits)} outputs are new\n")
        for step, _ in reader.edits:
            sys.stdout.write(f"    line {step.line - 1}: {step.command}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
