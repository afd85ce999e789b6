"""How many connections there is room for: libzmq ends the process when it cannot accept one more."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass

from orderfuse.bus.links import LinkName

# Each connection costs some 40 KB here, and a program that opens more than this is no client's mistake any more.
MOST = 16_384
# With less, a few programs that are connected on each link are all that there is room for.
LEAST = 512
# Below this the breaker says at the start how many connections there is room for.
ENOUGH = 4096
# Descriptors that are no connections: the interpreter, the journal with its files, ZeroMQ's own. 60 were seen.
RESERVE = 128
# What each link may have of the rest, in eighths. What fills one leaves the others open: a trip must come through,
# and nobody but the executor is to be expected on the last two.
SHARES: Mapping[LinkName, int] = {"orders": 2, "events": 2, "control": 2, "dispatch": 1, "feedback": 1}
# What one process may have of each: a program with 100 clients has 100 connections to each public link, and a command
# or two beside them. An executor has one, and those that it has just left may not have ended yet.
OF_ONE_PROCESS: Mapping[LinkName, int] = {"orders": 104, "events": 104, "control": 104, "dispatch": 8, "feedback": 8}
# Where descriptors are few, at most this part: with a listener for each, in case they come one by one, half of the
# link is left to others.
LARGEST_PART = 4


@dataclass(frozen=True, slots=True)
class Room:
    """What the connections of one link may have: descriptors all together, connections of one process."""

    descriptors: int
    of_one_process: int


class TooFewDescriptors(Exception):
    """This process may not open as many files as a breaker needs."""


def raise_limit() -> int:
    """Allow this process as many descriptors as the system lets it have, up to `MOST`; returns how many these are.

    A shell's usual limit is 1,024 (256 on macOS), which one client that connects in a loop reaches in a second.

    Raises:
        TooFewDescriptors: there are fewer than `LEAST`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < LEAST:
        raise TooFewDescriptors(f"{_said(wanted)}, and a breaker needs {LEAST} at least. {_REMEDY}")
    return wanted


def room(limit: int) -> dict[LinkName, Room]:
    """How much of each link its connections may have."""
    eighth = (limit - RESERVE) // sum(SHARES.values())
    return {
        link: Room(eighth * share, min(OF_ONE_PROCESS[link], eighth * share // LARGEST_PART))
        for link, share in SHARES.items()
    }


def warning(limit: int) -> str:
    """What a person should know of a low limit; empty if it is none."""
    if limit >= ENOUGH:
        return ""
    public = room(limit)["orders"]
    return (
        f"{_said(limit)}: there is room for some {public.descriptors} connections to each of orders, events and "
        f"control, {public.of_one_process} of one process, and more are refused. {_REMEDY}"
    )


def _said(limit: int) -> str:
    return f"the system lets this process open only {limit} files (hard limit)"


_REMEDY = (
    f"Raise it to {ENOUGH} or more: `ulimit -Hn` shows it in a shell; a unit of systemd has LimitNOFILE=, "
    "a container --ulimit nofile="
)
