"""Room for connections: libzmq ends the process when it cannot accept one more."""

from __future__ import annotations

import resource

# Each connection costs some 40 KB here, and a program that opens more than this is no client's mistake any more.
MOST = 16_384


def raise_limit() -> None:
    """Allow this process as many descriptors as the system lets it have, up to `MOST`.

    A shell's usual limit is 1,024 (256 on macOS), which one client that connects in a loop reaches in a second.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
