"""What one order costs in our breaker, and one call in the breakers that a Python user would pick instead.

    python3 -m venv .venv-bench && .venv-bench/bin/pip install -e '.[bench]'
    .venv-bench/bin/python benchmarks/circuit_speed.py

Two things are compared, each with a default breaker kept in memory: letting one piece of work through while the
circuit is closed (ours: `admit` and `record_success`; theirs: a call of a function that does nothing), and turning
one away while it is open (ours: `admit`; theirs: the call that raises, and catching it). The others can be used in
several ways; all documented ones that decide and record are measured, the fastest counts. Rounds are interleaved,
so that a busy machine slows all of them; the median round counts. The exit code is 1 if ours is not the fastest.

Last comes what others have no word for: `snapshot`, which the pipeline saves with each decision, and `restore`.
"""

import functools
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import aiobreaker
import circuitbreaker
import purgatory
import pybreaker

from orderfuse.circuit import CircuitBreakerConfig, TradingCircuitBreaker

ROUNDS = 15
OPERATIONS = 20_000

# Runs so many operations, returns how many let work through.
Loop = Callable[[int], int]


def nothing() -> None:
    """The guarded work."""


def failure() -> None:
    """Work that opens a circuit."""
    raise RuntimeError


def ours() -> tuple[dict[str, Loop], dict[str, Loop]]:
    """A closed and an open breaker of this project."""
    closed, opened = TradingCircuitBreaker(CircuitBreakerConfig()), TradingCircuitBreaker(CircuitBreakerConfig())
    for _ in range(5):
        opened.record_failure()

    def let_through(times: int) -> int:
        passed = 0
        for _ in range(times):
            if closed.admit("o-1").allowed:
                closed.record_success("o-1")
                passed += 1
        return passed

    def turn_away(times: int) -> int:
        passed = 0
        for _ in range(times):
            if opened.admit("o-1").allowed:
                passed += 1
        return passed

    return {"admit + record_success": let_through}, {"admit": turn_away}


def through(call: Callable[[], object], refused: type[BaseException]) -> Loop:
    """A loop over a guarded call."""

    def loop(times: int) -> int:
        passed = 0
        for _ in range(times):
            try:
                call()
            except refused:
                pass
            else:
                passed += 1
        return passed

    return loop


def through_calling(call: Callable[[Callable[[], None]], object], refused: type[BaseException]) -> Loop:
    """A loop over a method that takes the function to be guarded."""

    def loop(times: int) -> int:
        passed = 0
        for _ in range(times):
            try:
                call(nothing)
            except refused:
                pass
            else:
                passed += 1
        return passed

    return loop


def open_by_failures(call: Callable[[], object]) -> None:
    """Fail until any default threshold is reached."""
    for _ in range(10):
        try:
            call()
        except Exception:  # noqa: BLE001, S112 - the failures are the point, whatever the library makes of them
            continue


def pybreaker_loops() -> tuple[dict[str, Loop], dict[str, Loop]]:
    """pybreaker: `call` and the decorator."""
    closed, opened = pybreaker.CircuitBreaker(), pybreaker.CircuitBreaker(reset_timeout=3600)
    open_by_failures(lambda: opened.call(failure))
    error = pybreaker.CircuitBreakerError
    return (
        {"call": through_calling(closed.call, error), "decorator": through(closed(nothing), error)},
        {"call": through_calling(opened.call, error), "decorator": through(opened(nothing), error)},
    )


def aiobreaker_loops() -> tuple[dict[str, Loop], dict[str, Loop]]:
    """aiobreaker: `call` and the decorator, both of which take plain functions too."""
    closed, opened = aiobreaker.CircuitBreaker(), aiobreaker.CircuitBreaker()
    open_by_failures(lambda: opened.call(failure))
    error = aiobreaker.CircuitBreakerError
    return (
        {"call": through_calling(closed.call, error), "decorator": through(closed(nothing), error)},
        {"call": through_calling(opened.call, error), "decorator": through(opened(nothing), error)},
    )


def circuitbreaker_loops() -> tuple[dict[str, Loop], dict[str, Loop]]:
    """circuitbreaker: the decorator, and by hand, asking `opened` before the `with` block, which does not ask."""
    closed = circuitbreaker.CircuitBreaker(name="closed")
    opened = circuitbreaker.CircuitBreaker(name="opened", recovery_timeout=3600)
    open_by_failures(opened.decorate(failure))

    def by_hand(breaker: circuitbreaker.CircuitBreaker) -> Loop:
        def loop(times: int) -> int:
            passed = 0
            for _ in range(times):
                if not breaker.opened:
                    with breaker:
                        nothing()
                    passed += 1
            return passed

        return loop

    error = circuitbreaker.CircuitBreakerError
    return (
        {"decorator": through(closed.decorate(nothing), error), "opened, with": by_hand(closed)},
        {"decorator": through(opened.decorate(nothing), error), "opened, with": by_hand(opened)},
    )


def purgatory_loops() -> tuple[dict[str, Loop], dict[str, Loop]]:
    """purgatory: the decorator, and a `with` block around a breaker that is fetched once."""
    factory = purgatory.SyncCircuitBreakerFactory(default_ttl=3600)
    open_by_failures(factory("opened")(failure))

    def with_block(name: str) -> Loop:
        breaker = factory.get_breaker(name)

        def loop(times: int) -> int:
            passed = 0
            for _ in range(times):
                try:
                    with breaker:
                        nothing()
                    passed += 1
                except error:
                    pass
            return passed

        return loop

    error = purgatory.domain.model.OpenedState
    return (
        {"decorator": through(factory("closed")(nothing), error), "with": with_block("closed")},
        {"decorator": through(factory("opened")(nothing), error), "with": with_block("opened")},
    )


CONTENDERS = {
    "orderfuse": ours,
    "pybreaker": pybreaker_loops,
    "aiobreaker": aiobreaker_loops,
    "circuitbreaker": circuitbreaker_loops,
    "purgatory": purgatory_loops,
}


def measure(loops: dict[tuple[str, str], Loop]) -> dict[tuple[str, str], float]:
    """Median nanoseconds an operation."""
    rounds: dict[tuple[str, str], list[float]] = {key: [] for key in loops}
    for _ in range(ROUNDS):
        for key, loop in loops.items():
            started_ns = time.perf_counter_ns()
            loop(OPERATIONS)
            rounds[key].append((time.perf_counter_ns() - started_ns) / OPERATIONS)
    return {key: statistics.median(values) for key, values in rounds.items()}


def report(title: str, loops: dict[tuple[str, str], Loop]) -> bool:
    """Print one table; returns whether ours was the fastest."""
    fastest: dict[str, tuple[float, str]] = {}
    for (name, way), nanoseconds in measure(loops).items():
        fastest[name] = min(fastest.get(name, (float("inf"), "")), (nanoseconds, way))
    print(f"\n{title}")
    for name, (nanoseconds, way) in sorted(fastest.items(), key=lambda item: item[1]):
        print(f"  {name + ' ' + version(name):24} {nanoseconds:8.0f} ns   {way}")
    winner = min(fastest, key=lambda name: fastest[name])
    print(f"  fastest: {winner}")
    return winner == "orderfuse"


def report_snapshots() -> None:
    """Print what remembering a circuit costs, by how many orders are out."""
    print("\nsnapshot and restore, median of 1,000")
    for orders_out in (0, 100):
        breaker = TradingCircuitBreaker(CircuitBreakerConfig())
        for number in range(orders_out):
            breaker.admit(f"o-{number}")
        saved, config = breaker.snapshot(), breaker.config
        save = median_us(breaker.snapshot)
        back = median_us(functools.partial(TradingCircuitBreaker.restore, saved, config))
        print(f"  {orders_out:3} orders out {save:8.1f} us   restore {back:8.1f} us")


def median_us(call: Callable[[], object], times: int = 1000) -> float:
    """Median microseconds of one call."""
    taken: list[int] = []
    for _ in range(times):
        started_ns = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - started_ns)
    return statistics.median(taken) / 1000


def main() -> int:
    """Measure and print all tables."""
    closed: dict[tuple[str, str], Loop] = {}
    opened: dict[tuple[str, str], Loop] = {}
    for name, loops in CONTENDERS.items():
        for_closed, for_opened = loops()
        closed.update({(name, way): loop for way, loop in for_closed.items()})
        opened.update({(name, way): loop for way, loop in for_opened.items()})
    assert all(loop(10) == 10 for loop in closed.values()), "a closed circuit lets everything through"
    assert all(loop(10) == 0 for loop in opened.values()), "an open circuit lets nothing through"
    print(f"Python {sys.version.split()[0]}, median of {ROUNDS} rounds of {OPERATIONS:,} operations")
    won = [report("closed: one through", closed), report("open: one turned away", opened)]
    report_snapshots()
    return 0 if all(won) else 1


if __name__ == "__main__":
    sys.exit(main())
