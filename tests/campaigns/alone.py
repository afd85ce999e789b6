"""What campaigns share: each case has a number that replays it, and is played in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

# A case takes five to seven seconds; this long means that it hangs.
CASE_SECS = 180


def play_apart(arguments: list[str], broken_off: dict[str, Any]) -> dict[str, Any]:
    """Run `python ARGUMENTS`, which shows a result; `broken_off` is the result of a case that shows none."""
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CASE_SECS, check=False)
    except subprocess.TimeoutExpired:
        return {**broken_off, "complaints": [f"the case broke off: not over after {CASE_SECS} s"]}
    try:
        result: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    except ValueError:
        return {**broken_off, "complaints": [f"the case broke off: {done.stderr[-300:]}"]}
    return result


def show(result: Any) -> int:
    """Print the result of a case that was played here as the last line; returns the exit code."""
    say(json.dumps(asdict(result)))
    return 1 if result.complaints else 0


def say_complaints(result: dict[str, Any]) -> None:
    """A line for each thing that is not as it should be."""
    for text in result["complaints"]:
        say(f"      {text}")


def say(text: str) -> None:
    """Print at once: a person watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
