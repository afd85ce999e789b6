"""What every test gets."""

import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from orderfuse.settings import Settings, load_settings

# These wait longest, for processes and for time. Begun first, none is left to the end with one worker.
FIRST = tuple(
    f"tests/{place}"
    for place in """
    simulation/ campaigns/test_mutations.py processes/docs/test_pages.py campaigns/fuzz/
    processes/pipeline/test_lost_journals.py campaigns/crash/ processes/demo/ processes/breaker/test_subscribers.py
    processes/examples/test_strategies.py processes/examples/test_monitors.py processes/pipeline/ campaigns/stops/
    processes/gateway/test_panic.py processes/wheel/ processes/strategy/ processes/breaker/test_loop.py
    processes/make/
    """.split()
)

# No wall time in a test: a machine may be busy. And the same examples each time, so that what fails fails again.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")


def pytest_configure() -> None:
    """Let ctrl-C reach what the tests start: a shell starts what it puts in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Half of the time processes wait for each other: more tests than there are cores keep these busy."""
    cores = os.cpu_count() or 1
    return max(1, cores * 3 // 2) if "tests/processes" in config.args else cores


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is begun first."""
    items.sort(key=lambda item: next((rank for rank, place in enumerate(FIRST) if item.nodeid.startswith(place)), 99))


@pytest.fixture
def home() -> Iterator[Path]:
    """Where a pipeline lives. Not tmp_path: a socket's path has room for 107 bytes only."""
    with tempfile.TemporaryDirectory(prefix="orderfuse-") as folder:
        yield Path(folder)


@pytest.fixture
def settings(home: Path) -> Settings:
    """The defaults, for `home`."""
    return load_settings(home, environ={})


@pytest.fixture(autouse=True)
def close_databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open: a process that is killed closes nothing, and Python 3.13 warns of it."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remember(*args: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    yield
    for database in opened:
        database.close()
