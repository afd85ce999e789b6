"""`python -m tests.clients [CLIENT ...]`: play the script with each client and print the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.campaigns.alone import say
from tests.clients.environments import InstallError, prepare
from tests.clients.runs import Run, Step, play

# Client -> the newest versions of the gateway that it plays with. The first one is today's; the others show it an
# older gateway, so that its own encoder and decoder are tried at each version that a client of these stops at.
CLIENTS = {"ib_insync": (178, 157), "ib_async": (178, 176, 157), "ibapi": (178,), "nautilus": (178, 176, 157)}
# IBKR's own clients lose what they read when it happens to be a multiple of 4096 bytes and nothing follows within
# a second. No gateway can keep that from happening, so these two, and only these, may try a second time.
MAY_TRY_AGAIN = frozenset({"ibapi", "nautilus"})


def main() -> int:
    """Run everything; return 1 if any step failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"one of {', '.join(CLIENTS)}; default: all")
    names = parser.parse_args().clients or list(CLIENTS)
    unknown = [name for name in names if name not in CLIENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(CLIENTS)}")
    try:
        with ThreadPoolExecutor(len(names)) as pool:
            pythons = dict(zip(names, pool.map(prepare, names), strict=True))
    except InstallError as error:
        say(str(error))
        return 1
    runs = [
        play_or_again(name, partial(play, name, pythons[name], server_max))
        for name in names
        for server_max in CLIENTS[name]
    ]
    say(table(runs))
    for run in runs:
        report_failures(run)
    steps = [step for run in runs for step in run.steps]
    failed = sum(not step.ok for step in steps)
    say(f"{len(steps) - failed} passed, {failed} failed")
    return 1 if failed else 0


def play_or_again(client: str, once: Callable[[], Run]) -> Run:
    """Play once, and once more if that failed and the client may."""
    run = once()
    if run.failed and client in MAY_TRY_AGAIN:
        report_failures(run)
        run = once()
        run.attempts = 2
    return run


def table(runs: list[Run]) -> str:
    """Return client x step as text, with the milliseconds of each step that passed."""
    names = list(dict.fromkeys(step.name for run in runs for step in run.steps))
    columns = [
        head(run) + [cells.get(name, "-") for name in names]
        for run, cells in zip(runs, map(by_step, runs), strict=True)
    ]
    rows = zip(["", "", "server version", "", *names], *columns, strict=True)
    widths = [max(map(len, names)), *(max(map(len, column)) for column in columns)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(line for line in lines if line)


def head(run: Run) -> list[str]:
    """Return the four lines above a run's column."""
    return [run.client, run.client_version, str(run.server_version), "2nd try" if run.attempts > 1 else ""]


def by_step(run: Run) -> dict[str, str]:
    """Return what the table says of each step."""
    return {step.name: cell(step) for step in run.steps}


def cell(step: Step) -> str:
    """Return what the table says of a step."""
    return f"ok {step.ms or '<1':>5}" if step.ok else "FAILED"


def report_failures(run: Run) -> None:
    """Print the reason for every failed step."""
    for step in run.steps:
        if not step.ok:
            say(f"{run.client}, server version {run.server_version}, {step.name}: {step.detail}")


if __name__ == "__main__":
    sys.exit(main())
