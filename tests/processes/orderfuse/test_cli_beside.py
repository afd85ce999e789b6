"""`orderfuse drift` and `orderfuse foreign`: nothing is taken that nobody has seen, and none is not `not known`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orderfuse.settings import Settings
from tests.processes.orderfuse.clisupport import (
    COMMAND,
    DONE,
    NOTHING_ANSWERS,
    REFUSED,
    USAGE,
    Answering,
    Terminal,
    process,
    run,
    unread,
)
from tests.states import Fields

NS = 1_736_174_100_000_000_000
AS_OF = "as of IB's list of 14:35:00 UTC"
SPY = {"account": "DU1", "con_id": 1, "symbol": "SPY", "expected": 0.0, "actual": 5.0}
QQQ = {"account": "DU1", "con_id": 2, "symbol": "QQQ", "expected": 1.0, "actual": 4.0}
ORDER = {
    "account": "DU1",
    "perm_id": 77,
    "client_id": 99,
    "ib_order_id": 5,
    "by_hand": False,
    "action": "BUY",
    "quantity": 100.0,
    "order_type": "LMT",
    "con_id": 1,
    "symbol": "SPY",
}
WORDS = "BUY 100 SPY (1) LMT, client 99, permanent id 77"
SEEN_ORDER = {key: value for key, value in ORDER.items() if key not in ("account", "by_hand", "symbol")}


def status(*, present: bool = True, **told: Any) -> Fields:
    system = {"scope": "system", "state": "CLOSED", "trading_allowed": True, "conditions": []}
    gateway = {"connected": True, "host": "h", "port": 1, "drift_at_ns": NS, "foreign_at_ns": NS}
    gateway |= {"foreign_ignored": False} | told.pop("gateway", {})
    fields = {"circuits": [system], "executor": {"present": present}, "gateway": gateway, "drift": [], "foreign": []}
    return {**fields, **told}


def accepted(*told: Fields) -> Fields:
    return {"accepted": list(told)}


# -- what there is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "drift", "foreign"),
    [
        (
            status(),
            f"no drift: IB holds what the fills make, {AS_OF}",
            f"none: every open order of the account is orderfuse's, {AS_OF}",
        ),
        (status(present=False), "not known: no executor is there", "not known: no executor is there"),
        (
            status(gateway={"drift_at_ns": 0, "foreign_at_ns": 0}),
            "not known: the executor has had no complete list of IB's positions yet",
            "not known: the executor has had no complete list of IB's open orders yet",
        ),
        (
            status(gateway={"foreign_ignored": True, "foreign_at_ns": 0}),
            f"no drift: IB holds what the fills make, {AS_OF}",
            "nobody looks: executor.foreign_orders is ignore",
        ),
        ({"circuits": []}, "not told by this breaker", "not told by this breaker"),
    ],
    ids=["none", "no executor", "no list", "ignored", "older"],
)
def test_that_there_is_none_is_said_only_where_it_is_known(
    home: Path, settings: Settings, reply: Fields, drift: str, foreign: str
) -> None:
    with Answering(settings, status=reply):
        for command, said in (("drift", drift), ("foreign", foreign)):
            assert run(home, command).stdout == f"{said}\n"
            known = AS_OF in said
            assert json.loads(run(home, command, "--json").stdout) == ([] if known else None)
            row = next(line for line in run(home, "status").stdout.splitlines() if line.startswith(command))
            assert row.split(maxsplit=1)[1] == (f"none, {AS_OF}" if known else said)
            refused = run(home, command, "accept", "x")
            assert (refused.exit_code, refused.stderr) == (REFUSED, f"orderfuse: refused: {said}\n")


def test_what_was_told_last_is_shown_as_that(home: Path, settings: Settings) -> None:
    with Answering(settings, status=status(present=False, drift=[SPY])):
        said = "IB holds 5 SPY (1), our fills make 0\nthat is what was told last; not known: no executor is there\n"
        assert run(home, "drift").stdout == said
        assert json.loads(run(home, "drift", "--json").stdout) == [SPY]
        assert "1 contract when it was told last; not known: no executor is there" in run(home, "status").stdout


# -- accepting --------------------------------------------------------------------------------------------


def test_what_is_accepted_is_what_was_shown_before_the_question(home: Path, settings: Settings) -> None:
    with Answering(settings, status=status(drift=[SPY, QQQ]), accept=accepted(SPY, QQQ)) as breaker:
        with Terminal(home, "drift", "accept") as terminal:
            terminal.wait_for("Why")
            assert "IB holds 5 SPY (1), our fills make 0" in terminal.seen
            assert "IB holds 4 QQQ (2), our fills make 1" in terminal.seen
            breaker.replies["status"] = status(drift=[SPY, {**QQQ, "actual": 40.0}])
            terminal.type("bought by hand\n")
            assert terminal.end() == DONE
        (asked,) = breaker.asked("accept")
        assert asked["reason"] == "bought by hand"
        assert asked["seen"] == [
            {"con_id": 1, "expected": 0.0, "actual": 5.0},
            {"con_id": 2, "expected": 1.0, "actual": 4.0},
        ]


def test_what_has_changed_since_it_was_shown_is_said(home: Path, settings: Settings) -> None:
    with Answering(settings, status=status(drift=[SPY, QQQ]), accept=accepted(QQQ)):
        result = run(home, "drift", "accept", "by", "hand")
        assert result.stdout == "accepted: IB holds 4 QQQ (2), our fills make 1; 4 is as expected from now on\n"
        changed = "IB holds 5 SPY (1), our fills make 0"
        assert result.stderr == f"warning: NOT accepted, it has changed since it was shown: {changed}\n"
        reply = json.loads(run(home, "drift", "accept", "x", "--json").stdout)
        assert (reply["accepted"], reply["not_accepted"], reply["warnings"]) == ([QQQ], [SPY], [])


def test_one_of_several_is_chosen_by_its_number(home: Path, settings: Settings) -> None:
    other = {**ORDER, "perm_id": 78}
    reply = status(drift=[SPY, QQQ], foreign=[ORDER, other])
    with Answering(settings, status=reply, accept=accepted(ORDER)) as breaker:
        run(home, "drift", "accept", "x", "--con-id", "2")
        assert run(home, "foreign", "accept", "x", "--perm-id", "77").stdout == f"accepted: {WORDS}\n"
        drift, foreign = breaker.asked("accept")
        assert [each["con_id"] for each in drift["seen"]] == [2]
        assert foreign["seen"] == [SEEN_ORDER]
        refused = run(home, "drift", "accept", "x", "--con-id", "7")
        assert refused.exit_code == REFUSED
        assert refused.stderr == (
            "orderfuse: refused: there is no drift of contract 7; there is one of: SPY (1); QQQ (2)\n"
        )
        refused = run(home, "foreign", "accept", "x", "--perm-id", "79")
        assert refused.stderr.startswith(
            f"orderfuse: refused: IB lists no open order of others with the permanent id 79; there is one of: {WORDS}; "
        )
        assert len(breaker.asked("accept")) == 2


@pytest.mark.parametrize("number", ["-1", str(2**63), str(10**30)])
@pytest.mark.parametrize(("command", "option"), [("drift", "--con-id"), ("foreign", "--perm-id")])
def test_a_number_that_no_contract_has_is_refused_with_what_is_allowed(
    home: Path, command: str, option: str, number: str
) -> None:
    result = run(home, command, "accept", "x", option, number)
    assert result.exit_code == USAGE
    assert "allowed: a whole number from 0 to 9223372036854775807" in result.stderr


@pytest.mark.parametrize("words", [["drift", "accept"], ["foreign", "accept"], ["reset"]])
def test_a_reason_that_is_no_text_is_cleaned(home: Path, settings: Settings, words: list[str]) -> None:
    reply = status(drift=[SPY], foreign=[ORDER])
    with Answering(settings, status=reply, accept=accepted(SPY), reset={"state": "CLOSED"}) as breaker:
        done = process(home, *words, "--reason", "caf\udce9")
        assert done.returncode == DONE, done.stderr
        assert breaker.asked(words[-1])[0]["reason"] == "caf�"


def test_json_in_front_of_accept_counts_too(home: Path, settings: Settings) -> None:
    with Answering(settings, status=status(drift=[SPY], foreign=[ORDER]), accept=accepted(SPY)):
        for words in (["drift", "--json", "accept", "x"], ["drift", "accept", "--json", "x"]):
            assert json.loads(run(home, *words).stdout)["accepted"] == [SPY]
        assert json.loads(run(home, "foreign", "--json", "accept", "x").stdout)["not_accepted"] == [ORDER]


def test_a_circuit_that_stays_open_is_said(home: Path, settings: Settings) -> None:
    opened = {
        "scope": "system",
        "state": "OPEN",
        "trading_allowed": False,
        "conditions": [],
        "reason": "foreign_orders",
    }
    reply = status(foreign=[ORDER], circuits=[{**opened, "retry_at": "2025-01-06T14:35:00+00:00"}])
    with Answering(settings, status=reply, accept=accepted(ORDER)):
        first, second, third, fourth = run(home, "foreign", "accept", "x").stdout.splitlines()
        assert first == f"accepted: {WORDS}"
        assert second == "accepting them closes no circuit:"
        assert third == "  system is OPEN: foreign_orders"
        assert fourth.startswith("    -> tries again at 2025-01-06 14:35:00 UTC")
        assert fourth.endswith("sooner with: orderfuse reset")


def test_without_a_breaker_nothing_is_asked(home: Path) -> None:
    assert run(home, "drift", "accept", "x").exit_code == NOTHING_ANSWERS


# -- output that nobody takes -----------------------------------------------------------------------------


def test_the_version_into_a_closed_pipe_is_no_failure(home: Path) -> None:
    assert unread(home, "--version") == (DONE, "")
    assert unread(home, "trip", "--help")[1] == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_the_version_onto_a_full_disk_is_one_line(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(home, "--version", stdout=full)
    assert done.returncode == REFUSED
    assert done.stderr.startswith("orderfuse: what was asked may have been done, but its answer cannot be written")
    assert len(done.stderr.splitlines()) == 1, COMMAND
