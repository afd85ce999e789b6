"""`python -m services.monitor`: the process that tells what becomes of orders."""

from __future__ import annotations

import sys

from loguru import logger

from orderfuse.exit_codes import DONE, USAGE
from orderfuse.settings import SettingsError
from services.monitor.loop import follow
from services.runtime.process import begin, refuse, stop_asked


def main() -> int:
    """Run until a signal. Returns the exit code (`orderfuse.exit_codes`)."""
    try:
        settings = begin()
        should_stop = stop_asked()
        logger.info("monitor follows {}", settings.home)
        follow(settings, should_stop=should_stop)
    except SettingsError as error:
        return refuse("monitor", error, USAGE)
    logger.info("monitor stopped")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
