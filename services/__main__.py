"""`python -m services`: everything in the Procfile, as `make run` starts it. Arguments are honcho's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

from honcho.command import main as honcho

from orderfuse.settings import begin_run


def main() -> None:
    """Run `honcho start`, which ends with its first process, by ctrl-C, by SIGTERM, and when its terminal is closed."""
    # Of a closed terminal honcho knows nothing: it would die, and leave its processes trading with nobody to see it.
    signal.signal(signal.SIGHUP, _end)
    # honcho listens to each service in a process of its own, which must outlive the hangup to tell of the service's
    # end: without that honcho waits for ever. Only a forked one inherits the handler, and since Python 3.14 it takes
    # asking to have them forked on Linux too.
    multiprocessing.set_start_method("fork")
    begin_run()
    honcho(["start", *sys.argv[1:]])


def _end(_number: int, _frame: object) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        # honcho says what it does before it does it, and there is no terminal any more.
        os.dup2(nowhere, stream)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
