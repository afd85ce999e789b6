"""Garbage collection is measured where it happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import gc
from services.runtime.collector import THRESHOLDS, tune
kept = [[] for _ in range(200_000)]
meter = tune()
assert gc.get_threshold() == THRESHOLDS
assert gc.get_freeze_count() > 200_000, "what was there is looked at no more"
before = meter.collections
gc.collect()
assert meter.collections == before + 1
assert 0 < meter.longest_full_ms <= meter.longest_ms
assert meter.last_words().endswith(" ms") and meter.full == 2
print(meter)
"""


def test_a_tuned_process_leaves_alone_what_it_began_with_and_knows_its_longest_pause() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("garbage collections: ")
