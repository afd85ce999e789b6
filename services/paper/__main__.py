"""`python -m services.paper`: the paper gateway as a process."""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from orderfuse.settings import Settings, SettingsError, load_settings
from services import crash_points
from services.log import configure_log
from services.paper.control import SocketInUseError
from services.paper.faults import Fault
from services.paper.gateway import HOST, PaperGateway
from services.paper.instruments import UnknownContractError
from services.paper.scenario import ScenarioError, load_scenario
from services.paper.state import StateError


def main(arguments: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    options = _parser().parse_args(arguments)
    configure_log()
    try:
        settings = load_settings()
        path = options.scenario or settings.paper.scenario
        scenario = load_scenario(Path(path)) if path else []
    except (SettingsError, ScenarioError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    try:
        return asyncio.run(_serve(settings, scenario))
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.paper",
        description="A stand-in for TWS and IB Gateway on loopback, with an exchange of its own.",
        epilog="Everything else is a setting: see docs/paper-gateway.md.",
    )
    parser.add_argument("--scenario", metavar="FILE", help="TOML file of faults to play; wins over paper.scenario")
    return parser


async def _serve(settings: Settings, scenario: list[Fault]) -> int:
    crash_points.arm()
    paper = settings.paper
    # Only where one is set, so that what wraps the gateway may have a default of its own.
    sizes: dict[str, Any] = {"available_size": paper.available_size} if paper.available_size else {}
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        gateway = PaperGateway(
            port=paper.port,
            seed=paper.seed,
            messages_per_second=paper.messages_per_second,
            control_path=settings.home / "links" / "paper",
            record_path=Path(paper.wire_record) if paper.wire_record else None,
            state_path=Path(paper.state_file) if paper.state_file else None,
            scenario=scenario,
            max_working_orders=paper.max_working_orders,
            **sizes,
        )
        await gateway.start()
    except (SocketInUseError, StateError) as error:
        logger.error("{}", error)
        return 1
    except UnknownContractError as error:
        logger.error("the scenario cannot be played: {}", error)
        return 2
    except OSError as error:
        logger.error("{}", _explain(error, paper.port))
        return 1
    await stopped.wait()
    await gateway.stop()
    logger.info("paper gateway stopped")
    return 0


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {HOST} is in use: stop the other program, or set paper.port"
            f" (ORDERFUSE_PAPER__PORT) to a free port, and ib.port (ORDERFUSE_IB__PORT) to the same one"
        )
    return f"the paper gateway cannot start: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
