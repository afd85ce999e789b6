"""`python -m tests.unit.journals.make`: keep journals of the present version, made by real processes.

Each version's journals are kept in `schema-<number>/<case>/`, with what is in them beside (`expected.json`), so
that every later version can show that it still reads them. Run it once for each new schema, before that is
released, and keep what it makes; it refuses to write over what is kept. Version 0.1.0 made those of schema 1.

A file is copied as its process left it: with its log where the end was unclean, never compacted.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ib_insync

from orderfuse import __version__
from services.breaker.store import schema as breaker_schema
from services.executor.store import schema as executor_schema
from tests.processes.pipeline.pipeline import SERVICES, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.unit.journals.contents import CLIENT_ID, FILES, contents, copied

FOLDER = Path(__file__).parent
# Two lists of positions that agree, half a minute apart, and the baseline before them.
DRIFT_SECS = 120.0


def main() -> int:
    """Make every case that is not kept yet."""
    schema = max(breaker_schema.VERSION, executor_schema.VERSION)
    for name, story in CASES.items():
        kept = FOLDER / f"schema-{schema}" / name
        if kept.exists():
            sys.stdout.write(f"{kept.relative_to(FOLDER)}: is kept already\n")
            continue
        with running(*SERVICES, ORDERFUSE_PAPER__MAX_WORKING_ORDERS="0") as pipeline:
            status = story(pipeline)
            keep(pipeline.home, kept, status)
        sizes = ", ".join(f"{path.name} {path.stat().st_size:,}" for path in sorted(kept.iterdir()))
        sys.stderr.write(f"{kept.relative_to(FOLDER)}: {sizes}\n")
    return 0


def keep(home: Path, kept: Path, status: dict[str, Any]) -> None:
    """Copy the journals, and write down what is in them. `status` is what the breaker said of itself before."""
    kept.mkdir(parents=True)
    for name in FILES:
        path = home / name
        if path.exists() and path.stat().st_size:
            shutil.copyfile(path, kept / name)
    made_ns = time.time_ns()
    with tempfile.TemporaryDirectory() as folder:
        found = contents(copied(kept, Path(folder) / "home"), made_ns)
    told = {
        "circuits": {
            circuit["scope"]: [circuit["state"], circuit["latched"], circuit["generation"]]
            for circuit in status["circuits"]
        },
        "unknown": status["unknown"],
        "drift": status["drift"],
    }
    expected = {"made_by": __version__, "made_ns": made_ns, "status": told, **found}
    (kept / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n", encoding="utf-8")


# -- cases ------------------------------------------------------------------------------------------------


def working(pipeline: Pipeline) -> dict[str, Any]:
    """Orders that rest: a plain one, one filled in part, a bracket, one with a change that nobody answers;
    and one that was filled before its change was answered."""
    with trading(pipeline) as program:
        rest(program, "rests")
        rest(program, "in-part", quantity=10)
        fault(pipeline, "fill order_ref=in-part shares=4")
        program.wait_event("filled", "in-part")
        leg = {"action": "SELL", "totalQuantity": 1, "tif": "GTC"}
        target = {"order_id": "target", "order": {**leg, "orderType": "LMT", "lmtPrice": 250.0}}
        stop = {"order_id": "stop", "order": {**leg, "orderType": "STP", "auxPrice": 0.25}}
        program.submit("bracket", order=resting(), attached=[target, stop])
        for order_id in ("bracket", "target", "stop"):
            program.wait_event("accepted", order_id)
        rest(program, "changed")
        program.replace("changed", "r-1", 1, resting(1.5))
        program.wait_event("replaced", "changed")
        for order_id in ("changing", "changing-and-filled"):
            rest(program, order_id)
            fault(pipeline, f"swallow on=modify order_ref={order_id}")
            program.replace(order_id, f"r-{order_id}", 1, resting(1.5))
            program.wait_event("request_passed", order_id)
            wait_until(partial(is_changed, pipeline, order_id), "the change at the gateway")
        fault(pipeline, "fill order_ref=changing-and-filled")
        program.wait_event("commission", "changing-and-filled")
        filled(program)
        return ended(pipeline, program)


def latched(pipeline: Pipeline) -> dict[str, Any]:
    """The circuit of a strategy and that of all, both latched by a person."""
    with trading(pipeline) as program:
        filled(program)
        rest(program, "rests")
        program.request("trip", scope="strategy:raw", reason="its model is wrong", who="a person", cancel="none")
        program.wait_event("blocked", program.submit("blocked"))
        program.request("trip", reason="the market is not what it was", who="a person", cancel="none")
        program.wait_state(state="OPEN", latched=True, fenced=True)
        return ended(pipeline, program)


def unknown(pipeline: Pipeline) -> dict[str, Any]:
    """Orders of which IB never said a word: one that it has, and one that it does not have."""
    with trading(pipeline) as program:
        filled(program)
        for order_id, booked in (("unheard", "true"), ("lost", "false")):
            fault(pipeline, f"swallow booked={booked} order_ref={order_id}")
            program.submit(order_id, order=resting())
        for order_id in ("unheard", "lost"):
            program.wait_event("unknown", order_id)
        return ended(pipeline, program)


def drift(pipeline: Pipeline) -> dict[str, Any]:
    """Somebody else trades the account, and nobody has said that this is as it should be."""
    with trading(pipeline) as program:
        filled(program)
        wait_until(lambda: pipeline.at_the_wire("cancelPositions"), "the first list of positions", secs=DRIFT_SECS)
        asyncio.run(foreign_trade(pipeline.port))
        wait_until(lambda: program.request("status")["drift"], "the difference", secs=DRIFT_SECS)
        filled(program)
        return ended(pipeline, program)


def remembered_cancel(pipeline: Pipeline) -> dict[str, Any]:
    """Cancels of orders that have not come yet, and one of an order that has."""
    with trading(pipeline) as program:
        for order_id in ("not-yet", "nor-this"):
            program.cancel(order_id, f"c-{order_id}")
            program.wait_event("request_passed", order_id)
        rest(program, "came")
        program.cancel("came", "c-came")
        program.wait_event("cancelled", "came")
        return ended(pipeline, program)


def unclean(pipeline: Pipeline) -> dict[str, Any]:
    """Both processes are killed; what happened last, a trip too, stands in the logs only."""
    with trading(pipeline) as program:
        filled(program)
        rest(program, "early")
        for name in ("breaker", "executor"):
            pipeline.end(name)
        pipeline.start("executor", "breaker")
        program.wait_trading()
        rest(program, "late")
        filled(program)
        program.request("trip", reason="before the kill", who="a person", cancel="none")
        program.wait_state(state="OPEN", latched=True, fenced=True)
        status = program.request("status")
        for name in ("breaker", "executor"):
            pipeline.kill(name, signal.SIGKILL)
        return status


def example(pipeline: Pipeline) -> dict[str, Any]:
    """The home of somebody who has tried `make run` and nothing else."""
    with RawProgram(pipeline.home) as program:
        program.events.subscribe(b"order/example/")
        program.wait_trading()
        pipeline.start("strategy")

        def fills() -> int:
            program.next_event(0.1)
            return len({event["order_id"] for event in program.seen if event["kind"] == "filled" and event["done"]})

        wait_until(lambda: fills() >= 4, "four fills of the example")
        pipeline.end("strategy")
        return ended(pipeline, program)


CASES: dict[str, Callable[[Pipeline], dict[str, Any]]] = {
    "working": working,
    "latched": latched,
    "unknown": unknown,
    "drift": drift,
    "remembered-cancel": remembered_cancel,
    "unclean": unclean,
    "example": example,
}

# -- steps ------------------------------------------------------------------------------------------------


def trading(pipeline: Pipeline) -> RawProgram:
    program = RawProgram(pipeline.home)
    program.ready()
    program.wait_trading()
    return program


def ended(pipeline: Pipeline, program: RawProgram) -> dict[str, Any]:
    """End both processes as a person does. Returns what the breaker said of itself before."""
    status = program.request("status")
    for name in ("breaker", "executor"):
        assert pipeline.end(name) == 0, pipeline.log(name)
    return status


def resting(price: float = 1.0, quantity: float = 1) -> dict[str, Any]:
    return {"action": "BUY", "orderType": "LMT", "totalQuantity": quantity, "lmtPrice": price, "tif": "GTC"}


def rest(program: RawProgram, order_id: str, quantity: float = 1) -> None:
    program.submit(order_id, order=resting(quantity=quantity))
    program.wait_event("accepted", order_id)


def filled(program: RawProgram) -> None:
    """A market order, to its commission: nothing of it is on its way any more."""
    program.wait_event("commission", program.submit())


def fault(pipeline: Pipeline, line: str) -> None:
    done = pipeline.command(f"paper fault {line}")
    assert done.returncode == 0, done.stderr


def is_changed(pipeline: Pipeline, order_id: str) -> bool:
    return len(placed(pipeline, order_id)) == 2


def placed(pipeline: Pipeline, order_id: str) -> list[dict[str, Any]]:
    return pipeline.at_the_wire("placeOrder", orderRef=order_id)


async def foreign_trade(port: int) -> None:
    ib = ib_insync.IB()
    await ib.connectAsync("127.0.0.1", port, clientId=CLIENT_ID + 1)
    trade = ib.placeOrder(ib_insync.Stock("MSFT", "SMART", "USD"), ib_insync.MarketOrder("BUY", 5))
    deadline = time.monotonic() + DRIFT_SECS
    while not trade.isDone():
        assert time.monotonic() < deadline, "the foreign order was not filled"
        await asyncio.sleep(0.05)
    ib.disconnect()


if __name__ == "__main__":
    sys.exit(main())
