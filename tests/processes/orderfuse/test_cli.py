"""The `orderfuse` command: what it asks, what it shows, what it ends with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orderfuse.bus.events import Expired
from orderfuse.settings import Settings
from orderfuse.version import __version__
from tests.processes.orderfuse.clisupport import DONE, REFUSED, STATUS, USAGE, Answering, run
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker
from tests.states import Fields


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ORDERFUSE_"):
            monkeypatch.delenv(name)


def test_status_shows_everything_and_nothing_moves_the_terminal(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS):
        result = run(home, "status")
    assert result.exit_code == DONE, result.output
    for word in ("system", "OPEN", "latched", "[in]", "margin_low", "DU0000000", "4010", "3 queued", "2 out", "o-7"):
        assert word in result.output
    assert "\x1b" not in result.output


def test_status_as_json_is_the_replys_map(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS):
        result = run(home, "status", "--json")
    assert result.exit_code == DONE, result.output
    reply = json.loads(result.stdout)
    assert reply["ok"] is True
    assert {name: reply[name] for name in STATUS} == STATUS


def test_without_a_reason_nothing_is_reset(home: Path, settings: Settings) -> None:
    with Answering(settings) as breaker:
        for words in ((), ("--reason", ""), ("--reason", "  ")):
            result = run(home, "reset", *words)
            assert result.exit_code == USAGE
            assert "reason" in result.output
        assert breaker.requests == []


def test_a_reset_hands_on_the_generation_and_a_stale_one_is_refused(home: Path, settings: Settings) -> None:
    with Answering(settings, reset={"generation": 6, "state": "CLOSED"}) as breaker:
        result = run(home, "reset", "--reason", "fine again", "--generation", "5")
        assert result.exit_code == DONE, result.output
        assert "CLOSED, generation 6" in result.output
        assert breaker.requests[-1]["generation"] == 5

        breaker.replies["reset"] = {"ok": False, "code": "stale", "error": "generation is 7"}
        result = run(home, "reset", "--reason", "fine again", "--generation", "5")
        assert result.exit_code == REFUSED
        assert "stale" in result.output
        assert "generation is 7" in result.output


def test_orders_are_listed(home: Path, settings: Settings) -> None:
    order = {
        "order_id": "o-1",
        "strategy_id": "s",
        "contract": {"symbol": "AAPL"},
        "order": {"action": "BUY", "totalQuantity": 10},
        "state": "working",
        "filled": 4.0,
        "last_event": {"kind": "accepted"},
    }
    with Answering(settings, orders={"orders": [order], "more": True}) as breaker:
        result = run(home, "orders", "--strategy", "s", "--state", "working")
        assert result.exit_code == DONE, result.output
        for word in ("o-1", "BUY 10 AAPL", "working", "4", "accepted", "there are more"):
            assert word in result.output
        assert (breaker.requests[0]["strategy_id"], breaker.requests[0]["state"]) == ("s", "working")
        assert json.loads(run(home, "orders", "--json").stdout)["orders"] == [order]


class Listing(Answering):
    """Has 2,500 orders, o-2500 the newest, and 400 of them fit into one reply."""

    def _reply(self, request: Fields) -> Fields:
        last = request.get("before", 2501) - 1
        first = max(1, last - min(request["limit"], 400) + 1)
        orders = [{"order_id": f"o-{number}", "state": "done"} for number in range(last, first - 1, -1)]
        return {"orders": orders, "more": first > 1, **({"next": first} if first > 1 else {})}


def test_the_newest_order_stands_last_above_the_prompt_and_first_in_json(home: Path, settings: Settings) -> None:
    with Listing(settings) as breaker:
        result = run(home, "orders")
        lines = result.stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["order", *(f"o-{number}" for number in range(2451, 2501))]
        assert "older: raise --limit" in result.stderr
        assert [request["limit"] for request in breaker.asked("orders")] == [50]
        listed = json.loads(run(home, "orders", "--json").stdout)
        assert (listed["orders"][0]["order_id"], listed["more"], listed["next"]) == ("o-2500", True, 2451)


def test_as_many_orders_are_asked_for_as_are_wanted(home: Path, settings: Settings) -> None:
    with Listing(settings) as breaker:
        listed = json.loads(run(home, "orders", "--limit", "1001", "--json").stdout)
        assert [order["order_id"] for order in listed["orders"]] == [f"o-{n}" for n in range(2500, 1499, -1)]
        assert [request["limit"] for request in breaker.asked("orders")] == [1000, 601, 201]
        everything = run(home, "orders", "--limit", "10000")
        assert len(everything.stdout.splitlines()) == 2501
        assert everything.stderr == ""


class Deciding(Listing):
    """The newest order waits, and is decided between two pages: then it is the newest of the journal."""

    def _reply(self, request: Fields) -> Fields:
        if request.get("before") != 2101:
            return super()._reply(request)
        reply = super()._reply({**request, "limit": request["limit"] - 1})
        return {**reply, "orders": [{"order_id": "o-2500", "state": "working"}, *reply["orders"]]}


def test_an_order_that_is_decided_between_two_pages_is_listed_once(home: Path, settings: Settings) -> None:
    with Deciding(settings):
        listed = json.loads(run(home, "orders", "--limit", "1001", "--json").stdout)["orders"]
        ids = [order["order_id"] for order in listed]
        assert len(ids) == len(set(ids)) == 1001
        assert (ids[0], listed[0]["state"]) == ("o-2500", "working")


def test_a_breaker_that_goes_in_circles_is_not_asked_for_ever(home: Path, settings: Settings) -> None:
    reply = {"orders": [{"order_id": "o-1", "state": "done"}], "more": True, "next": 5}
    with Answering(settings, orders=reply) as breaker:
        assert len(json.loads(run(home, "orders", "--limit", "10", "--json").stdout)["orders"]) == 1
        assert len(breaker.asked("orders")) == 2


def test_it_says_its_version_without_a_breaker_or_a_home(tmp_path: Path) -> None:
    result = run(tmp_path / "none", "--version")
    assert (result.exit_code, result.stdout) == (DONE, f"orderfuse {__version__}\n")
    assert not (tmp_path / "none").exists()


STILL_OPEN = [
    {"scope": "strategy:a", "state": "OPEN", "latched": True, "reason": "odd \x1bfills", "retry_at": None},
    {"scope": "strategy:b", "state": "OPEN", "latched": False, "reason": "5", "retry_at": "2025-01-06T14:35:00+00:00"},
    {"scope": "strategy:c", "state": "HALF_OPEN", "latched": False, "reason": None, "retry_at": None},
]


def test_a_reset_of_the_system_says_what_stays_open_and_what_to_do(home: Path, settings: Settings) -> None:
    with Answering(settings, status=STATUS, reset={"generation": 6, "state": "CLOSED", "still_open": STILL_OPEN}):
        result = run(home, "reset", "--reason", "fine again")
    assert result.exit_code == DONE, result.output
    half_open = "it closes when its trial orders succeed, and opens again when one fails"
    assert result.stdout.split("system is CLOSED, generation 6\n")[1].splitlines() == [
        "not reset with it, each is reset by itself:",
        "  strategy:a is OPEN and latched: odd �fills",
        "    -> find the cause, then: orderfuse reset --scope strategy:a",
        "  strategy:b is OPEN: 5",
        "    -> tries again at 2025-01-06 14:35:00 UTC (due now); sooner with: orderfuse reset --scope strategy:b",
        "  strategy:c is HALF_OPEN",
        f"    -> {half_open}; or: orderfuse reset --scope strategy:c",
    ]


def test_a_reset_as_json_is_the_replys_map_with_all_warnings(home: Path, settings: Settings) -> None:
    stop = home / "STOP"
    with Answering(settings, status=STATUS, reset={"generation": 6, "state": "CLOSED", "still_open": []}) as breaker:
        result = run(home, "reset", "--reason", "fine again", "--json")
        reply = json.loads(result.stdout)
        assert result.exit_code == DONE, result.output
        assert (reply["generation"], reply["still_open"], reply["warnings"]) == (6, [], [])

        stop.write_text("by hand\n")
        breaker.replies["reset"] = {"generation": 7, "state": "CLOSED", "warning": "not saved"}
        reply = json.loads(run(home, "reset", "--reason", "fine again", "--json").stdout)
        assert reply["warnings"] == ["not saved", f"NO ORDER PASSES: the file {stop} is there (by hand)"]

        breaker.replies["reset"] = {"ok": False, "code": "stale", "error": "generation is 8"}
        result = run(home, "reset", "--reason", "fine again", "--json")
        assert (result.exit_code, result.stdout) == (REFUSED, "")
        assert "stale" in result.stderr


def events_of(count: int, **kinds: str) -> dict[str, list[Fields]]:
    """A journal of one strategy; `kinds` says which events of the order o-1 stand at which seq."""
    others = {"kind": "passed", "order_id": "other"}
    return {
        "order/s/": [
            {**others, **({"order_id": "o-1", "kind": kinds[f"at_{seq}"]} if f"at_{seq}" in kinds else {})}
            | {"seq": seq, "at_ns": seq * 10**9, "unjournaled": False}
            for seq in range(1, count + 1)
        ]
    }


@pytest.mark.parametrize(
    ("journal", "last", "story"),
    [
        (events_of(10, at_3="blocked"), 3, ["1970-01-01 00:00:03.000  blocked"]),
        (
            events_of(3000, at_10="passed", at_20="accepted", at_2500="cancelled"),
            2500,
            [
                "1970-01-01 00:00:10.000  passed",
                "1970-01-01 00:00:20.000  accepted",
                "1970-01-01 00:41:40.000  cancelled",
            ],
        ),
        (
            events_of(20_005, at_2="passed", at_20005="cancelled"),
            20_005,
            ["what happened before is too far back to be looked for", "1970-01-01 05:33:25.000  cancelled"],
        ),
        ({}, 7, ["its events are no longer kept"]),
        ({}, None, ["nothing has happened to it yet"]),
    ],
    ids=["one page", "several pages", "too far back", "no longer kept", "queued"],
)
def test_one_order_is_shown_with_its_whole_story(
    home: Path, settings: Settings, journal: dict[str, list[Fields]], last: int | None, story: list[str]
) -> None:
    with WireBreaker(settings, journal=journal) as breaker:
        event = {"last_event": {"kind": "x", "seq": last}} if last else {}
        breaker.known["o-1"] = {"order_id": "o-1", "strategy_id": "s", **event}
        result = run(home, "orders", "--order", "o-1")
    assert result.exit_code == DONE, result.output
    assert result.output.splitlines()[2:] == ["", *story]


# -- watch ------------------------------------------------------------------------------------------------


def test_watch_prints_one_line_for_each_event_until_it_is_stopped(home: Path, settings: Settings) -> None:
    command = [sys.executable, "-W", "error", "-m", "orderfuse.cli", "--home", str(home), "watch"]
    with (
        WireBreaker(settings) as breaker,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline()]
            while "a breaker is there" not in lines[-1]:
                lines.append(process.stdout.readline())
            breaker.tell(Expired(order_id="o-1", strategy_id="s", age_ms=5001))
            while "expired" not in lines[-1]:
                lines.append(process.stdout.readline())
            process.send_signal(2)
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    assert "order/s/ expired order_id=o-1 strategy_id=s seq=1 age_ms=5001" in lines[-1]


# -- without its extra ------------------------------------------------------------------------------------


def test_without_typer_the_command_says_how_to_get_it() -> None:
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name in ('typer', 'rich') else find(name, *more)\n"
        "from orderfuse.cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == USAGE
    assert "pip install 'orderfuse[cli]'" in done.stderr
    assert done.stdout == ""
