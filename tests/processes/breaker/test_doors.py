"""Few descriptors, and programs that open connections in a loop: nobody ends the breaker, nor keeps others out."""

import stat
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.breaker.public import capacity
from tests.campaigns.fuzz.hostile import hostile
from tests.processes.breaker.process import Home, run_to_the_end
from tests.processes.pipeline.pipeline import wait_until

# What a container or a shell may allow at most.
MAY_OPEN = 1024
# More than any link has room for.
MANY = 600


@pytest.fixture
def home():
    made = Home()
    yield made
    made.close()


def open_files(process):
    """The descriptors of the process; 0 where the system does not tell."""
    folder = Path(f"/proc/{process.pid}/fd")
    return len(list(folder.iterdir())) if sys.platform.startswith("linux") else 0


def dropped(peer, cause):
    peer.seen.clear()
    return peer.until(lambda event: event["kind"] == "health")["dropped"].get(cause, 0)


@pytest.mark.parametrize("link", ["orders", "events", "control", "dispatch", "feedback"])
def test_a_program_that_connects_in_a_loop_fills_no_link(home, link):
    process = home.start(may_open=MAY_OPEN)
    honest = home.peer()
    honest.ready()
    before = open_files(process)
    with hostile("connect", home.path, link, MANY) as flooder:
        wait_until(lambda: dropped(honest, "too_many_connections") > 1000, "connections are cut off")
        assert open_files(process) < MAY_OPEN
        # The executor comes only now, and whoever is connected already goes on.
        executor = home.executor()
        honest.allowed()
        honest.submit("o-1")
        honest.event("o-1", "accepted")
        assert [place["order_id"] for place in executor.placed] == ["o-1"]
        newcomer = home.peer("newcomer")
        newcomer.ready()
        assert newcomer.ask("trip", reason="a flood")["ok"]
        assert newcomer.ask("reset", reason="go on")["ok"]
    # Afterwards all is as it was, for newcomers too.
    late = home.peer("late")
    late.ready()
    late.allowed()
    late.submit("o-2")
    late.event("o-2", "accepted")
    late.close()
    wait_until(lambda: open_files(process) <= before + 20, "the connections are given back")
    assert process.poll() is None
    process.terminate()
    _, text = run_to_the_end(process)
    lines = [line for line in text.splitlines() if "as many connections as one may have" in line]
    assert len(lines) == 1
    assert f"{link}: process {flooder.pid} has" in lines[0]


def test_many_processes_together_fill_a_link_and_leave_the_others_open(home):
    process = home.start(may_open=MAY_OPEN)
    honest = home.peer()
    honest.ready()
    with ExitStack() as floods:
        for _ in range(5):
            floods.enter_context(hostile("connect", home.path, "orders", 50))
        wait_until(lambda: dropped(honest, "connection_refused") > 100, "connections are refused")
        assert open_files(process) < MAY_OPEN
        home.executor()
        honest.allowed()
        honest.submit("o-1")
        honest.event("o-1", "accepted")
        assert home.peer("newcomer").ask("status")["ok"]
    assert process.poll() is None


def test_a_program_with_a_hundred_clients_fits(home):
    home.serve()
    honest = home.peer()
    honest.ready()
    clients = [home.peer(f"s{number}") for number in range(100)]
    for client in clients:
        client.ready()
        assert client.status()["ok"]
    assert dropped(honest, "too_many_connections") == 0


def test_connections_that_come_and_go_leave_nothing_behind(home):
    process = home.serve(may_open=MAY_OPEN)
    honest = home.peer()
    honest.ready()
    before = open_files(process)
    for number in range(100):
        peer = home.peer(f"s{number}")
        assert peer.status()["ok"]
        peer.close()
    wait_until(lambda: open_files(process) <= before + 5, "the connections are given back")
    links = list((home.path / "links").iterdir())
    assert sorted(link.name for link in links) == ["control", "dispatch", "events", "feedback", "orders"]
    assert {stat.S_IMODE(link.stat().st_mode) for link in links} == {0o600}
    honest.submit("o-1")
    honest.event("o-1")


def test_a_link_whose_folder_is_gone_keeps_those_who_are_in(home):
    process = home.serve()
    honest = home.peer()
    honest.ready()
    (home.path / "links").rename(home.path / "away")
    # A newcomer by the old way cannot be let in, since nothing can be put into its place.
    (home.path / "links").write_text("")
    late = home.peer("late")
    late.control.connect(f"ipc://{home.path}/away/control")
    wait_until(lambda: dropped(honest, "connection_refused"), "the newcomer is refused")
    honest.submit("o-1")
    honest.event("o-1")
    process.terminate()
    code, text = run_to_the_end(process)
    assert code == 0
    assert text.count("nobody new can connect to control: links.control is") == 1


def test_a_low_hard_limit_is_said_at_the_start(home):
    process = home.start(may_open=MAY_OPEN)
    home.peer().status()
    process.terminate()
    code, text = run_to_the_end(process)
    assert code == 0
    (line,) = [line for line in text.splitlines() if "open only 1024 files" in line]
    assert "WARNING" in line
    for remedy in ("224 connections", "56 of one process", "ulimit -Hn", "LimitNOFILE=", "--ulimit nofile="):
        assert remedy in line


def test_a_limit_that_is_too_low_is_refused(home):
    code, text = run_to_the_end(home.start(may_open=capacity.LEAST - 1))
    assert code == 1
    assert text.startswith("breaker: the system lets this process open only 511 files")
    assert text.count("\n") == 1


def test_all_links_together_have_less_than_there_is():
    for limit in (capacity.LEAST, MAY_OPEN, capacity.MOST):
        room = capacity.room(limit)
        shares = {link: each.descriptors for link, each in room.items()}
        assert sum(shares.values()) <= limit - capacity.RESERVE
        assert min(shares.values()) == shares["dispatch"] == shares["feedback"]
    assert capacity.warning(capacity.ENOUGH) == ""
