"""What every test gets."""

import signal
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# No wall time in a test: a machine may be busy. And the same examples each time, so that what fails fails again.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


def pytest_configure() -> None:
    """Let ctrl-C reach what the tests start: a shell starts what it puts in the background with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
