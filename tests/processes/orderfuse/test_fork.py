"""A client that was made before a fork says so in the child, at once, and the parent's goes on.

Each story is a program of its own: a fork of pytest would have its threads and its warnings in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from orderfuse.bus.events import Cancelled, RequestPassed
from orderfuse.settings import Settings
from tests.processes.orderfuse.test_client import MARKET, STOCK, about, passed
from tests.processes.orderfuse.wire import WireBreaker
from tests.states import Fields

# What the programs below begin with. A child that hangs is ended by SIGALRM, which its exit code tells.
PRELUDE = f"""
import gc, multiprocessing, os, signal, sys, threading
from orderfuse import ControlClient, OrderClient, OrderError, UsedAfterFork, Watcher, load_settings

STOCK, MARKET = {STOCK!r}, {MARKET!r}
CHILD_SECS = 20

def forked(story):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        signal.alarm(CHILD_SECS)
        code = 1
        try:
            story()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def refused(call):
    try:
        call()
    except UsedAfterFork as error:
        assert isinstance(error, OrderError) and isinstance(error, RuntimeError)
        assert f"is process {{os.getpid()}}" in str(error) and "nothing was sent" in str(error), error
        return True
    return False
"""


def play(settings: Settings, story: str) -> list[str]:
    """Run a program with this home; the lines that it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
    done = subprocess.run(
        # From 3.12 on a fork beside threads, which is what is tried here, is warned of.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + textwrap.dedent(story)],
        env={**environment, "ORDERFUSE_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def answer(breaker: WireBreaker, fields: Fields) -> None:
    if fields["kind"] == "submit":
        breaker.tell(passed(fields["order_id"]))
    elif fields["kind"] == "cancel":
        asked = {**about(fields["order_id"]), "request_id": fields["request_id"]}
        breaker.tell(RequestPassed(**asked, code="sent", reason=""))
        breaker.tell(Cancelled(**asked, filled=0, remaining=10, reason="asked"))


def test_every_call_of_a_client_from_before_the_fork_is_an_error_and_the_parent_trades_on(settings: Settings) -> None:
    story = """
        client = OrderClient("s")
        handle = client.submit(STOCK, MARKET, order_id="o-1")

        def child():
            calls = {
                "submit": lambda: client.submit(STOCK, MARKET, order_id="o-2"),
                "submit again": lambda: client.submit(STOCK, MARKET, order_id="o-1"),
                "cancel": lambda: client.cancel("o-1"),
                "replace": lambda: client.replace("o-1", MARKET, revision=1),
                "reports": lambda: next(client.reports(1)),
                "status": lambda: client.status("o-1"),
                "heartbeat": lambda: client.heartbeat(1000),
                "wait": lambda: handle.wait(1),
                "wait for ever": lambda: handle.wait(),
                "handle.cancel": lambda: handle.cancel(),
                "with": lambda: client.__enter__().status("o-1"),
            }
            print(*(name for name, call in calls.items() if not refused(call)), sep=", ")
            client.close()
            client.close()

        print("child ended with", forked(child))
        print(client.status("o-1"), client.cancel("o-1").code, handle.wait(10).kind)
        client.close()
    """
    with WireBreaker(settings, answer) as breaker:
        assert play(settings, story) == ["", "child ended with 0", "None sent cancelled"]
        assert [breaker.next_order()["kind"] for _ in range(len(breaker.frames))] == ["submit", "cancel"]


def test_control_client_and_watcher_too(settings: Settings) -> None:
    story = """
        settings = load_settings()
        control, watcher = ControlClient(settings), Watcher(settings)
        control.request("status")
        while not watcher.read(0.1):
            pass

        def child():
            calls = (lambda: control.request("trip"), lambda: watcher.read(1), lambda: next(iter(watcher)))
            print([refused(call) for call in calls])
            with control, watcher:
                pass

        print("child ended with", forked(child))
        print(control.request("status")["ok"], isinstance(watcher.read(5), list))
        control.close(), watcher.close()
    """
    with WireBreaker(settings, answer) as breaker:
        assert play(settings, story) == ["[True, True, True]", "child ended with 0", "True True"]
        assert "trip" not in [request["op"] for request in breaker.requests]


def test_a_lock_that_another_thread_held_at_the_fork_holds_up_nobody(settings: Settings) -> None:
    story = """
        client = OrderClient("s")
        client.submit(STOCK, MARKET, order_id="o-1")
        within, go_on = threading.Event(), threading.Event()

        def busy():
            with client._turns.turn():
                within.set()
                go_on.wait(30)

        thread = threading.Thread(target=busy)
        thread.start()
        within.wait(10)
        print("child ended with", forked(lambda: (print(refused(lambda: client.status("o-1"))), client.close())))
        go_on.set()
        thread.join()
        client.close()
    """
    with WireBreaker(settings, answer):
        assert play(settings, story) == ["True", "child ended with 0"]


@pytest.mark.parametrize("how", ["multiprocessing", "a full end of the interpreter"])
def test_a_child_makes_a_client_of_its_own_and_its_end_takes_nothing_from_the_parent(
    settings: Settings, how: str
) -> None:
    story = f"""
        parents = OrderClient("s")
        parents.submit(STOCK, MARKET, order_id="o-1")

        def child():
            global parents
            with OrderClient("s") as own:
                own.submit(STOCK, MARKET, order_id="o-2")
            del parents
            gc.collect()

        if {how == "multiprocessing"}:
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join(CHILD_SECS)
            print("child ended with", process.exitcode)
            process.kill()
        else:
            pid = os.fork()
            if not pid:
                signal.alarm(CHILD_SECS)
                child()
                sys.exit(0)
            print("child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        print(parents.submit(STOCK, MARKET, order_id="o-3").passed.kind)
        parents.close()
    """
    with WireBreaker(settings, answer) as breaker:
        assert play(settings, story) == ["child ended with 0", "passed"]
        assert [breaker.next_order()["order_id"] for _ in range(3)] == ["o-1", "o-2", "o-3"]
