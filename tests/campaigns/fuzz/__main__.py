"""`python -m tests.campaigns.fuzz`: garbage on the public links of a running pipeline; docs/fuzzing.md says more."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

from tests.campaigns.fuzz.campaign import ROUND, Result, attack, run
from tests.campaigns.fuzz.hostile import Hostiles
from tests.campaigns.fuzz.mutate import case_of_text

PROGRESS_SECS = 30.0


def main() -> int:
    """Run and print how it went; 0: all is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="which garbage")
    parser.add_argument("--secs", type=float, default=600.0, help="for how long")
    parser.add_argument("--first", type=int, default=0, help="the first case under this seed")
    parser.add_argument("--count", type=int, help="so many cases instead of a time")
    parser.add_argument("--replay", metavar="CASE", nargs="+", help="these cases, as a failing run printed them")
    arguments = parser.parse_args()
    logs = StringIO()
    with redirect_stdout(logs):
        result = _play(arguments)
    if result.complaints:
        _say(logs.getvalue()[-20_000:])
    print_table(result)
    return 1 if result.complaints else 0


def _play(arguments: argparse.Namespace) -> Result:
    if arguments.replay:
        cases = enumerate(map(case_of_text, arguments.replay))
        return attack(Result(arguments.seed, 0), cases, lambda _: False)
    started, told = time.monotonic(), time.monotonic()

    def over(result: Result) -> bool:
        if arguments.count is not None:
            return result.sent.total() + result.held_back >= arguments.count
        return time.monotonic() - started > arguments.secs

    def tell(result: Result) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECS:
            told = time.monotonic()
            _say(f"{told - started:5.0f} s  {result.sent.total():7} messages")

    return run(arguments.seed, over, first=arguments.first, tell=tell, hostiles=Hostiles())


def print_table(result: Result) -> None:
    """What was sent by kind of mutation, what the breaker dropped by cause, what it cost, and what is wrong."""
    _say(f"{'mutation':45} {'messages':>9}")
    for name, count in sorted(result.sent.items()):
        _say(f"{name:45} {count:9}")
    _say(f"{'held back: a valid order or command of others':45} {result.held_back:9}")
    _say(f"\n{'programs that flood and die, or that lag':45} {'times':>9}")
    for name, count in sorted(result.hostile.items()):
        _say(f"{name:45} {count:9}")
    _say(f"\n{'dropped by the breaker':45} {'messages':>9}")
    for cause, count in sorted(Counter(result.dropped).items()):
        _say(f"{cause:45} {count:9}")
    _say(f"\n{'process':12} {'MB, warm':>9} {'MB, end':>9} {'log lines':>10}")
    for name, (first, last) in result.memory_mb.items():
        _say(f"{name:12} {first:9.1f} {last:9.1f} {result.lines[name]:10}")
    _say(
        f"\nseed {result.seed} from {result.first}: {result.sent.total()} messages, {result.placed} orders at the "
        f"gateway, {result.fills} fills of the honest strategy ({result.held_up} held up), slowest answer on control "
        f"{result.slowest_answer_s * 1000:.0f} ms, slowest message of the fuzzer {result.slowest_send_s * 1000:.0f} "
        f"ms, {len(result.complaints)} complaints"
    )
    for text in result.complaints:
        _say(f"WRONG: {text}")
    if result.complaints and result.last:
        suspects = list(result.last)
        first, last = suspects[0][0], suspects[-1][0]
        these = f"--seed {result.seed} --first {first} --count {last - first + 1}"
        _say(f"these cases again: python -m tests.campaigns.fuzz {these}")
        _say("those of the last round, oldest first, for --replay:")
        for number, case in suspects[-ROUND:]:
            _say(f"{number:8} {case.mutation:40} {case.as_text()}")


def _say(text: str) -> None:
    """To whoever runs it."""
    terminal = sys.__stdout__
    assert terminal is not None
    terminal.write(text + "\n")
    terminal.flush()


if __name__ == "__main__":
    sys.exit(main())
