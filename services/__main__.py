"""`python -m services`: everything in the Procfile, as `make run` starts it. Arguments are honcho's."""

from __future__ import annotations

import os
import signal
import sys

from honcho.command import main as honcho


def main() -> None:
    """Run `honcho start`, which ends with its first process, by ctrl-C, by SIGTERM, and when its terminal is closed."""
    # Of a closed terminal honcho knows nothing: it would die, and leave its processes trading with nobody to see it.
    signal.signal(signal.SIGHUP, _end)
    honcho(["start", *sys.argv[1:]])


def _end(_number: int, _frame: object) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        # honcho says what it does before it does it, and there is no terminal any more.
        os.dup2(nowhere, stream)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
