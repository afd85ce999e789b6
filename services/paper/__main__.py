"""`python -m services.paper`: the paper gateway as a process."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from orderfuse.exit_codes import DONE, REFUSED, USAGE
from orderfuse.home import HOME_VARIABLE, check_socket_path, why
from orderfuse.settings import Settings, SettingsError, variable_name
from orderfuse.text import shown
from services.paper.faults.families import Fault
from services.paper.faults.scenario import ScenarioError, load_scenario
from services.paper.market.instruments import UnknownContractError
from services.paper.market.state import StateError
from services.paper.server.control import SocketInUseError
from services.paper.server.gateway import HOST, PaperGateway
from services.runtime.process import STOP_SIGNALS, begin, refuse


def main(arguments: Sequence[str] = ()) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code (`orderfuse.exit_codes`)."""
    options = _parser().parse_args(arguments)
    try:
        settings = begin()
        for key in ("wire_record", "state_file"):
            _check_file(key, getattr(settings.paper, key))
        check_socket_path(str(_control_path(settings)), HOME_VARIABLE)
        path = options.scenario or settings.paper.scenario
        scenario = load_scenario(Path(path)) if path else []
    except SettingsError as error:
        return refuse("paper", error, USAGE)
    except ScenarioError as error:
        return refuse("paper", f"{'--scenario' if options.scenario else 'paper.scenario'}: {error}", USAGE)
    try:
        return asyncio.run(_serve(settings, scenario))
    except KeyboardInterrupt:
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.paper",
        description="A stand-in for TWS and IB Gateway on loopback, with an exchange of its own.",
        epilog="Everything else is a setting: see docs/paper-gateway.md.",
    )
    parser.add_argument("--scenario", metavar="FILE", help="TOML file of faults to play; wins over paper.scenario")
    return parser


def _check_file(key: str, path: str) -> None:
    """Refuse what cannot be kept as a file, such as a folder, or a device that can be read for ever."""
    if not path:
        return
    try:
        file = Path(path)
        if file.exists() and not file.is_file():
            raise PermissionError(None, "it is a folder or a device")
        # What is missing of the path is made in the first folder that is there.
        place = next(place for place in (file, *file.absolute().parents) if place.exists())
        if place != file and not place.is_dir():
            raise NotADirectoryError
        if not os.access(place, os.W_OK):
            raise PermissionError(None, "you may not write there")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"paper.{key} is {shown(path)}, allowed is a file that can be written: {why(error)}. "
            f"Change it, or set {variable_name('paper', key)}; empty means none."
        ) from error


def _control_path(settings: Settings) -> Path:
    return settings.home / "links" / "paper"


async def _serve(settings: Settings, scenario: list[Fault]) -> int:
    paper = settings.paper
    # Only where one is set, so that what wraps the gateway may have a default of its own.
    sizes: dict[str, Any] = {"available_size": paper.available_size} if paper.available_size else {}
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopped.set)
    try:
        gateway = PaperGateway(
            port=paper.port,
            seed=paper.seed,
            messages_per_second=paper.messages_per_second,
            control_path=_control_path(settings),
            record_path=Path(paper.wire_record) if paper.wire_record else None,
            state_path=Path(paper.state_file) if paper.state_file else None,
            scenario=scenario,
            max_working_orders=paper.max_working_orders,
            account_id=paper.account,
            **sizes,
        )
        await gateway.start()
    except (SocketInUseError, StateError) as error:
        logger.error("{}", error)
        return REFUSED
    except UnknownContractError as error:
        logger.error("the scenario cannot be played: {}", error)
        return USAGE
    except OSError as error:
        logger.error("{}", _explain(error, paper.port))
        return REFUSED
    await stopped.wait()
    await gateway.stop()
    logger.info("paper gateway stopped")
    return DONE


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {HOST} is in use, perhaps by another paper gateway or by TWS: end that program, or set"
            f" paper.port (ORDERFUSE_PAPER__PORT) to a free port, and ib.port (ORDERFUSE_IB__PORT) to the same one"
        )
    place = f"{error.filename}: " if error.filename else ""
    return f"the paper gateway cannot start: {place}{why(error)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
