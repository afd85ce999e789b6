"""How the runs of `make test-clients` are judged and shown, and what its clients may be installed from."""

from __future__ import annotations

import json
import re

from tests.clients.__main__ import CLIENTS, play_or_again, table
from tests.clients.environments import REQUIREMENTS, ROOT
from tests.clients.runs import Run, Step, judge

PASSED = Run("c", steps=[Step("connect", ok=True)])
FAILED = Run("c", steps=[Step("connect", ok=True), Step("sync", ok=False)])


def test_a_client_that_dies_on_the_way_has_failed_in_what_it_did_not_play() -> None:
    lines = [
        {"client": "c", "version": "1.0", "server_version": 176, "steps": ["connect", "sync"]},
        {"step": "connect", "ok": True, "ms": 3, "detail": ""},
    ]
    run = judge("c", "\n".join(map(json.dumps, lines)), "Traceback", ended="it ended with exit code 1")
    assert [(step.name, step.ok) for step in run.steps] == [("connect", True), ("sync", False)]
    assert "exit code 1" in run.steps[1].detail
    assert "Traceback" in run.steps[1].detail


def test_a_client_that_does_not_start_has_failed() -> None:
    assert judge("c", "", "No module named 'x'", ended="it ended with exit code 1").failed


def test_only_the_clients_that_lose_bytes_may_try_again_and_only_once() -> None:
    for client, expected, attempts in (("ib_insync", 1, 1), ("ib_async", 1, 1), ("ibapi", 2, 2), ("nautilus", 2, 2)):
        played: list[Run] = []

        def once(played: list[Run] = played) -> Run:
            played.append(Run("c", steps=list(FAILED.steps)))
            return played[-1]

        run = play_or_again(client, once)
        assert (len(played), run.attempts, run.failed) == (expected, attempts, True)


def test_a_run_that_passes_is_not_played_again() -> None:
    assert play_or_again("ibapi", lambda: PASSED).attempts == 1


def test_the_table_has_a_column_for_each_run_and_a_row_for_each_step() -> None:
    first = Run("one", "1.0", 178, [Step("connect", ok=True, ms=3), Step("sync", ok=True)])
    second = Run("two", "2.0", 157, [Step("connect", ok=False)], attempts=2)
    rows = [line.split() for line in table([first, second]).splitlines()]
    assert rows == [
        ["one", "two"],
        ["1.0", "2.0"],
        ["server", "version", "178", "157"],
        ["2nd", "try"],
        ["connect", "ok", "3", "FAILED"],
        ["sync", "ok", "<1", "-"],
    ]


def test_every_client_is_pinned_and_no_requirement_names_a_host() -> None:
    files = {path.stem: path.read_text().splitlines() for path in REQUIREMENTS.iterdir()}
    assert set(files) == set(CLIENTS)
    for lines in files.values():
        for line in lines:
            assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line), line


def test_clients_under_ibkrs_licence_are_no_dependency_of_the_project() -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        assert "ibapi" not in (ROOT / name).read_text()
