"""The strategies of docs/PROTOCOL.md, as printed there, against the whole pipeline."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes.examples.conftest import wait_trading
from tests.processes.examples.javascript import INSTALLING
from tests.processes.examples.programs import Program, source, started
from tests.processes.examples.relay import Event, losing
from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram

pytestmark = [INSTALLING, pytest.mark.xdist_group("strategies")]
DECISIONS = {"passed", "blocked", "expired", "invalid"}
STRATEGIES = ("strategy.py", "strategy.mjs")


def command(pipeline: Pipeline, line: str) -> None:
    done = pipeline.command(line)
    assert done.returncode == 0, done.stderr


def told(program: Program) -> list[tuple[str, dict[str, Any]]]:
    """What it said of each event: kind and keys."""
    return [(line.partition(" ")[0], json.loads(line.partition(" ")[2])) for line in program.lines]


def kinds(program: Program) -> list[str]:
    return [kind for kind, _ in told(program)]


def news(program: Program) -> list[tuple[str, dict[str, Any]]]:
    """The same without repeats: a resend may cross its decision on a busy machine."""
    return [(kind, event) for kind, event in told(program) if kind != "duplicate" and not event.get("again")]


def wait_done(pipeline: Pipeline, program: Program) -> None:
    """Wait until the breaker knows the end of the program's order."""
    order_id = told(program)[0][1]["order_id"]
    with RawProgram(pipeline.home) as raw:
        wait_until(
            lambda: raw.request("orders", order_id=order_id)["orders"][0]["state"] == "done",
            f"{order_id} has its end",
        )


def placed(pipeline: Pipeline, program: Program) -> int:
    """How often the program's order came to the gateway."""
    order_id = told(program)[0][1]["order_id"]
    return len(pipeline.at_the_wire("placeOrder", orderRef=order_id))


@contextmanager
def both(home: Path, folder: Path) -> Iterator[list[Program]]:
    """Both strategies at the same time, so that they wait together."""
    with ExitStack() as stack:
        yield [stack.enter_context(started(name, home, folder)) for name in STRATEGIES]


def test_they_import_nothing_of_orderfuse() -> None:
    for name in STRATEGIES:
        imported = [line for line in source(name).splitlines() if line.startswith(("import", "from"))]
        assert imported
        assert not [line for line in imported if "orderfuse" in line]


def test_an_order_is_filled(pipeline: Pipeline, tmp_path: Path) -> None:
    with both(pipeline.home, tmp_path) as programs:
        for program in programs:
            assert program.exit_code() == 0
            assert [kind for kind, _ in news(program)][:3] == ["passed", "accepted", "filled"]
            assert placed(pipeline, program) == 1


def test_an_order_is_rejected(pipeline: Pipeline, tmp_path: Path) -> None:
    command(pipeline, "paper reject --count 2 --code 201 --text 'Order rejected - reason: test'")
    with both(pipeline.home, tmp_path) as programs:
        for program in programs:
            assert program.exit_code() == 1
            kind, rejected = news(program)[-1]
            assert (kind, rejected["ib_code"]) == ("rejected", 201)


def test_an_order_is_blocked_while_the_circuit_is_open(pipeline: Pipeline, tmp_path: Path) -> None:
    command(pipeline, "trip --reason test")
    with both(pipeline.home, tmp_path) as programs:
        for program in programs:
            assert program.exit_code() == 1
            ((kind, blocked),) = news(program)
            assert (kind, blocked["code"], blocked["state"]) == ("blocked", "latched", "OPEN")
            assert placed(pipeline, program) == 0
    command(pipeline, "reset --reason test")


@pytest.mark.parametrize("point", ["breaker.order.received", "breaker.place.sent"])
def test_a_breaker_that_dies_over_an_order_answers_when_it_is_back(
    pipeline: Pipeline, tmp_path: Path, point: str
) -> None:
    pipeline.end("breaker")
    pipeline.start("breaker", crash_at=f"{point}:1")
    wait_trading(pipeline)
    with both(pipeline.home, tmp_path) as programs:
        pipeline.processes["breaker"].wait(timeout=DEADLINE_SECS)
        pipeline.start("breaker")
        for program in programs:
            # It is filled, or else never reached IB: blocked since the executor was not back yet, or handed
            # over to a socket that died with the breaker.
            code, said = program.exit_code(), kinds(program)
            assert (code, "filled" in said, placed(pipeline, program)) in [(0, True, 1), (1, False, 0)]
            assert len(DECISIONS & set(said)) == 1
            assert len([kind for kind, _ in news(program) if kind in DECISIONS]) <= 1
        if point == "breaker.place.sent":
            # Decided by the breaker that died, and told by the next one, since it was asked again.
            assert any("duplicate" in kinds(program) for program in programs)
    wait_trading(pipeline)


@pytest.mark.parametrize("lost", [{"filled"}, {"passed", "accepted", "filled", "commission"}])
def test_what_a_link_loses_is_asked_for_again(pipeline: Pipeline, tmp_path: Path, lost: set[str]) -> None:
    def loses(event: Event) -> bool:
        return event["kind"] in lost and not event.get("again")

    with losing(pipeline.home, loses) as relay, both(relay.home, tmp_path) as programs:
        for program in programs:
            assert program.exit_code() == 0
            assert [kind for kind, event in told(program) if event.get("again")][:2] == ["passed", "filled"]
            assert placed(pipeline, program) == 1


def test_what_was_told_before_a_restart_is_asked_for_after_it(pipeline: Pipeline, tmp_path: Path) -> None:
    def loses(event: Event) -> bool:
        return event["kind"] in ("accepted", "filled", "commission") and not event.get("again")

    with losing(pipeline.home, loses) as relay, both(relay.home, tmp_path) as programs:
        for program in programs:
            program.wait_line(lambda line: line.startswith("passed"), "its order has passed")
            wait_done(pipeline, program)
        # All of it was lost, and no later event shows the gap: only the new breaker's subscription can.
        assert [kinds(program) for program in programs] == [["passed"], ["passed"]]
        pipeline.end("breaker")
        pipeline.start("breaker")
        for program in programs:
            assert program.exit_code() == 0
    wait_trading(pipeline)


def test_an_order_that_is_unknown_has_not_ended(pipeline: Pipeline, tmp_path: Path) -> None:
    # Booked, and told later than the gateway hangs: nobody can look up meanwhile what became of it.
    command(pipeline, "paper fault delay ms=2000 count=2")
    with both(pipeline.home, tmp_path) as programs:
        for program in programs:
            program.wait_line(lambda line: line.startswith("passed"), "its order has passed")
        pipeline.signal("paper", signal.SIGSTOP)
        for program in programs:
            program.wait_line(lambda line: line.startswith("unknown"), "its order is unknown")
        with RawProgram(pipeline.home) as raw:
            # Three states from now on take a second, longer than an end would have to stand.
            for _ in range(3):
                raw.wait_state()
        assert [program.process.poll() for program in programs] == [None, None]
        pipeline.signal("paper", signal.SIGCONT)
        for program in programs:
            assert program.exit_code() == 0
            assert [kind for kind, _ in news(program)][:4] == ["passed", "unknown", "accepted", "filled"]
            assert placed(pipeline, program) == 1
    command(pipeline, "reset --reason 'the gateway is back'")
    wait_trading(pipeline)


def test_without_a_breaker_they_say_so_and_send_nothing(tmp_path: Path) -> None:
    with running() as nothing, both(nothing.home, tmp_path) as programs:
        for program in programs:
            assert program.exit_code() == 3
            assert program.lines == ["no breaker answers; nothing was sent"]
