"""The command line with the whole pipeline behind it."""

from __future__ import annotations

from tests.processes.pipeline.pipeline import running, wait_until
from tests.processes.pipeline.raw import RawProgram


def test_a_person_sees_orders_stops_looks_and_goes_on() -> None:
    with running("paper", "executor", "breaker", ORDERFUSE_BREAKER__ON_TRIP="cancel") as pipeline:
        wait_until((pipeline.home / "links" / "control").exists, "the breaker's links")
        with RawProgram(pipeline.home, "alpha") as program:
            program.ready()
            program.wait_trading()
            resting, kept = program.submit_resting(), program.submit_resting("alpha-kept")
            program.wait_event("accepted", resting)
            program.wait_event("accepted", kept)
            story = pipeline.command("orders --order alpha-kept").stdout
            _, row, _, *events = story.splitlines()
            assert row.split()[:8] == ["alpha-kept", "alpha", "BUY", "1", "AAPL", "LMT", "at", "1"]
            assert [line.split()[2] for line in events] == ["passed", "accepted"]

            trip = pipeline.command("trip --reason 'looks odd'").stdout
            assert "orders working at IB: cancelled, except those that protect a position" in trip
            assert "system is OPEN and latched" in trip
            assert "confirmed by the executor" in trip
            assert f"being cancelled: {', '.join(sorted([resting, kept]))}" in trip
            program.wait_event("cancelled", kept)

            pipeline.kill("paper")
            program.wait_state(conditions=["broker_disconnected"])
            said = pipeline.command("status").stdout
            assert said.startswith("NO ORDER PASSES: system is OPEN, latched; broker_disconnected holds\n")
            assert "looks odd\n    -> find the cause, then: orderfuse reset\n" in said
            assert "account   DU0000000" in said.splitlines()
            assert f"is TWS or IB Gateway running and logged in at 127.0.0.1:{pipeline.port}?" in said
            reset = pipeline.command("reset --reason 'found it'").stdout
            assert "but broker_disconnected still holds, and blocks until it is over" in reset
            assert "looks odd" in reset
