"""`orderfuse panic`: stop with the file, and hand over to the process that can talk to IB.

That process is `services/gateway/panic.py` of the checkout that this library belongs to; the library alone has nothing
that speaks to IB.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

from orderfuse.cli.exits import fail
from orderfuse.cli.show import clean
from orderfuse.exit_codes import USAGE
from orderfuse.home import why
from orderfuse.stopfile import StopFile

MODULE = "services.gateway.panic"
REASON = "orderfuse panic"


def stop_all_orders(home: Path) -> str:
    """Make the file STOP, which stays; returns what that means, for the person."""
    file = StopFile(home)
    path = clean(file.path)
    try:
        file.make(REASON)
    except OSError as error:
        return (
            f"the file {path} COULD NOT BE MADE ({why(error)}): an executor that runs goes on placing orders, "
            "so end it first"
        )
    return f"the file {path} stands: no order passes until a reset of system removes it (orderfuse reset)"


def start_panic(home: Path, *, yes: bool) -> NoReturn:
    """Become the process that cancels everything at IB.

    Raises:
        typer.Exit: it is not there.
    """
    checkout = Path(__file__).resolve().parents[3]
    there = checkout.joinpath(*MODULE.split(".")).with_suffix(".py").is_file()
    if not there or importlib.util.find_spec("ib_insync") is None:
        fail(
            USAGE,
            "panic talks to IB, which the services of an orderfuse checkout can do; here is only the library. Run it "
            "with the checkout that the executor runs from (.venv/bin/orderfuse panic), or cancel in TWS. Beside "
            f"that, {stop_all_orders(home)}",
        )
    os.chdir(checkout)
    os.execv(  # noqa: S606 - nothing of a shell is wanted
        sys.executable, [sys.executable, "-m", MODULE, "--home", str(home), *(["--yes"] if yes else [])]
    )
