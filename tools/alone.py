"""`python tools/alone.py ARGUMENTS`: become `sh ARGUMENTS` as soon as nobody else in this checkout is it."""

import fcntl
import os
import signal
import sys

# Until then ctrl-C just ends this process; Python would show where it was waiting.
signal.signal(signal.SIGINT, signal.SIG_DFL)
lock = os.open("pyproject.toml", os.O_RDWR)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.stdout.write("another make is setting up an environment here: waiting for its end\n")
    sys.stdout.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
# Whatever the shell starts inherits it, so that a pip whose make was killed is waited for as well.
os.set_inheritable(lock, True)
os.execv("/bin/sh", ["sh", *sys.argv[1:]])  # noqa: S606
