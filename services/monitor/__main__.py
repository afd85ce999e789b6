"""`python -m services.monitor`: the process that tells what happens."""

from __future__ import annotations

import signal
import sys

from loguru import logger

from orderfuse.settings import Settings, SettingsError, load_settings
from services.log import configure_log
from services.monitor.loop import follow


def main() -> int:
    """Run until a signal; 0: stopped, 2: a setting is wrong."""
    configure_log()
    try:
        settings = load_settings()
        _run(settings)
    except SettingsError as error:
        print(f"monitor: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    return 0


def _run(settings: Settings) -> None:
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    logger.info("monitor follows {}", settings.home)
    follow(settings, should_stop=lambda: bool(stopped))
    logger.info("monitor stopped")


if __name__ == "__main__":
    sys.exit(main())
