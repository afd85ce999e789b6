"""`python -m examples.demo`: play the incident once; the exit code says whether it happened."""

from __future__ import annotations

import signal
import sys


def run() -> int:
    """Play the incident."""
    # Until there is something to end, ctrl-C just ends this process; Python would show where it was importing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from examples.demo.play import main

    return main()


if __name__ == "__main__":
    sys.exit(run())
