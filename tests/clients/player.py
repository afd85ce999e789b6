"""Plays the script with one client, inside that client's environment; prints one JSON line for each step."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.clients.driver import Driver
from tests.clients.script import Script


def main() -> int:
    """Play; return 0 whatever came of the steps, since the lines tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("client", choices=sorted(DRIVERS))
    parser.add_argument("port", type=int)
    parser.add_argument("--server-max", type=int, required=True, help="the gateway's newest version")
    parser.add_argument("--messages", type=Path, required=True, help="JSON file of messages to decode")
    options = parser.parse_args()
    driver = DRIVERS[options.client]()
    version = min(options.server_max, driver.offers[1])
    script = Script(
        driver,
        options.port,
        expected_version=version,
        messages=json.loads(options.messages.read_text()),
    )
    names = [name for name, _ in script.steps()]
    say({"client": options.client, "version": driver.client_version, "server_version": version, "steps": names})
    for result in script.play():
        say(result)
    return 0


def say(line: dict[str, object]) -> None:
    """Print a line at once, so that a crash or a deadline loses nothing."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def ib_insync() -> Driver:
    """Return ib_insync."""
    from tests.clients.asyncio_driver import AsyncioDriver

    return AsyncioDriver("ib_insync", "ib_insync")


def ib_async() -> Driver:
    """Return ib_async."""
    from tests.clients.asyncio_driver import AsyncioDriver

    return AsyncioDriver("ib_async", "ib_async")


def ibapi() -> Driver:
    """Return IBKR's client of 2020."""
    from tests.clients.callback_driver import IBAPI_9, CallbackDriver

    return CallbackDriver("ibapi", IBAPI_9)


def nautilus() -> Driver:
    """Return IBKR's client of today."""
    from tests.clients.callback_driver import IBAPI_10, CallbackDriver

    return CallbackDriver("nautilus_ibapi", IBAPI_10)


# The modules of a driver exist only in its client's environment, hence the imports inside.
DRIVERS = {"ib_insync": ib_insync, "ib_async": ib_async, "ibapi": ibapi, "nautilus": nautilus}


if __name__ == "__main__":
    sys.exit(main())
