"""The file STOP trips the system, whoever made it, and a reset has to remove it first."""

import shutil
import socket
import time

import pytest

from services.breaker.inputs import StopSeen
from tests.processes.breaker.process import Home, kill
from tests.unit.breaker.harness import open_by_rejections, trading


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


def opened(peer):
    return peer.until(lambda e: e["kind"] == "state" and e["scope"] == "system" and e["state"] == "OPEN")


def system(peer):
    return next(circuit for circuit in peer.status()["circuits"] if circuit["scope"] == "system")


def still_there(peer, path):
    """The breaker has had time for many looks at the file."""
    for _ in range(20):
        peer.status()
    return path.exists()


# In virtual time: what the stage makes of it.


def test_the_file_latches_the_system_and_is_journaled_with_its_owner():
    r = trading()
    r.submit("o-1")
    r.step(StopSeen("it looks wrong", "ann"))
    state = r.state()
    assert (state["state"], state["latched"], state["reason"]) == ("OPEN", True, "it looks wrong")
    assert [(made.op, made.scope, made.reason, made.who) for made in r.history.decisions] == [
        ("stop", "system", "it looks wrong", "ann")
    ]
    r.submit("o-2")
    assert r.last("o-2")["code"] == "latched"


def test_the_file_latches_a_circuit_that_is_open_already():
    r = trading()
    open_by_rejections(r)
    assert not r.state()["latched"]
    r.step(StopSeen("stay down", "ann"))
    assert (r.state()["latched"], r.state()["reason"]) == (True, "stay down")


def test_who_has_latched_it_before_keeps_the_word():
    r = trading()
    r.ask("trip", reason="fills look wrong", who="ann")
    r.step(StopSeen("the file STOP", "root"))
    assert r.state()["reason"] == "fills look wrong"
    assert [made.op for made in r.history.decisions] == ["trip", "stop"]


def test_a_file_that_was_empty_at_first_gets_its_reason_when_it_has_one():
    r = trading()
    for reason in ("the file STOP", "fills look wrong", "and another word"):
        r.step(StopSeen(reason, "ann"))
    assert (r.state()["latched"], r.state()["reason"]) == (True, "fills look wrong")


def test_working_orders_are_treated_as_at_any_trip():
    r = trading(on_trip="cancel")
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.step(StopSeen("x", "ann"))
    assert not r.stage.core.orders["o-1"].cancel_wanted, "a request may follow that says otherwise"
    r.wait(1.1)
    assert r.stage.core.orders["o-1"].cancel_wanted


def test_a_request_that_follows_the_file_says_what_is_cancelled():
    r = trading(on_trip="cancel")
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.step(StopSeen("x", "ann"))
    r.ask("trip", reason="x", cancel="none")
    r.wait(2)
    assert not r.stage.core.orders["o-1"].cancel_wanted


def test_a_reset_before_that_keeps_the_orders():
    r = trading(on_trip="cancel")
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.step(StopSeen("x", "ann"))
    r.ask("reset", reason="a mistake")
    r.wait(2)
    assert not r.stage.core.orders["o-1"].cancel_wanted


# By the real process.


def test_a_touch_is_enough_and_only_a_reset_ends_it(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    stop.touch()
    state = opened(peer)
    assert (state["latched"], state["reason"]) == (True, "the file STOP")
    stop.unlink()
    assert system(peer)["latched"], "removing it by hand ends nothing"
    stop.touch()
    assert still_there(peer, stop)
    assert peer.ask("reset", reason="go")["ok"]
    assert not stop.exists()
    assert system(peer)["state"] == "CLOSED"


def test_its_first_line_is_the_reason(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    stop.write_text("fills look wrong\nsecond line\n")
    peer.until(lambda e: e["kind"] == "state" and e["scope"] == "system" and e["reason"] == "fills look wrong")


def test_a_breaker_that_starts_finds_it(home):
    (home.path / "STOP").write_text("before it began\n")
    home.serve()
    state = system(home.peer())
    assert (state["state"], state["latched"], state["reason"]) == ("OPEN", True, "before it began")
    first = home.peer().ask("events", topic="state/system/")["events"][0]
    assert first["state"] == "OPEN", "nobody ever heard that it was CLOSED"


def test_a_breaker_that_is_killed_right_after_its_reset_has_not_lost_the_latch_or_the_reset(home):
    process = home.serve()
    (home.path / "STOP").touch()
    opened(home.peer())
    assert home.peer().ask("reset", reason="go")["ok"]
    kill(process)
    home.serve()
    assert system(home.peer())["state"] == "CLOSED"


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link", "a megabyte", "no text"])
def test_whatever_stands_there_stops_and_is_removed_by_a_reset(home, kind):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    if kind == "folder":
        stop.mkdir()
    elif kind == "link":
        stop.symlink_to("/etc/hostname")
    elif kind == "dangling link":
        stop.symlink_to("/nowhere/at/all")
    else:
        stop.write_bytes(b"A" * 2**20 if kind == "a megabyte" else b"\xff\xfe\x00\x1b[2J")
    state = opened(peer)
    assert state["latched"]
    assert len(state["reason"]) <= 200
    assert state["reason"].isprintable()
    assert peer.ask("reset", reason="go")["ok"]
    assert not stop.exists()
    assert not stop.is_symlink()


def test_a_reset_that_cannot_remove_it_is_refused_and_changes_nothing(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    (stop / "full").mkdir(parents=True)
    opened(peer)
    before = system(peer)
    reply = peer.ask("reset", reason="go")
    assert (reply["ok"], reply["code"]) == (False, "not_allowed")
    assert str(stop) in reply["error"]
    after = system(peer)
    assert (after["state"], after["latched"], after["generation"]) == ("OPEN", True, before["generation"])
    shutil.rmtree(stop)
    assert peer.ask("reset", reason="go")["ok"]


def test_a_reset_that_is_refused_for_another_reason_leaves_it_where_it_is(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    stop.touch()
    opened(peer)
    assert peer.ask("reset", reason="go", generation=0)["code"] == "stale"
    assert still_there(peer, stop)


def test_a_reset_of_a_strategy_leaves_it_where_it_is(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    peer.ask("trip", reason="x", scope="strategy:raw")
    stop.touch()
    opened(peer)
    assert peer.ask("reset", reason="go", scope="strategy:raw")["ok"]
    assert still_there(peer, stop)


def test_made_and_removed_a_thousand_times_it_has_stopped_and_the_breaker_serves(home):
    home.serve()
    peer, stop = home.peer(), home.path / "STOP"
    for _ in range(1000):
        stop.touch()
        stop.unlink()
    stop.touch()
    assert opened(peer)["latched"]
    assert peer.ask("reset", reason="go")["ok"]


def test_a_home_that_is_gone_stops_and_cannot_be_reset(home):
    home.serve()
    peer = home.peer()
    peer.status()
    moved = home.path.with_name(f"{home.path.name}-moved")
    home.path.rename(moved)
    try:
        state = opened(peer)
        assert state["latched"]
        assert "cannot be looked at" in state["reason"]
        # Whoever still comes in must not have the breaker make a home without a STOP, which would be another one.
        with socket.socket(socket.AF_UNIX) as newcomer:
            newcomer.settimeout(30)
            newcomer.connect(str(moved / "links" / "control"))
            assert newcomer.recv(1) == b"", "nobody can be let in"
        assert not home.path.exists()
        assert peer.ask("reset", reason="go")["code"] == "not_allowed"
    finally:
        moved.rename(home.path)
    deadline = time.monotonic() + 30
    while not peer.ask("reset", reason="go")["ok"]:
        assert time.monotonic() < deadline
