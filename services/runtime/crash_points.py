"""Places at which a process can be made to die, to prove that dying there costs nothing.

`ORDERFUSE_CRASH_AT=<point>:<count>` makes a service kill itself with SIGKILL when it reaches that point for
the count-th time. Without the variable `reach` compares one name with None. Whoever restarts the process must
start it without the variable. `make crash` drives this: see docs/crash-campaign.md.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from orderfuse.settings import SettingsError, crash_at

# Every point there is, and what is true when it is reached. "Journaled" means committed to SQLite.
POINTS = {
    # -- executor
    "executor.intent.unsaved": "an order has passed its final check; nothing of it is journaled",
    "executor.intent.uncommitted": "the intent stands in the transaction that is not committed",
    "executor.intent.synced": "the intent is on the disk; no byte of the order has left",
    "executor.order.half_frame": "half of the order's frame has left for IB",
    "executor.order.written": "the whole order has left; that it did is not journaled",
    "executor.ack.received": "IB reported a status; the ledger has not heard it",
    "executor.fill.received": "IB reported an execution; the ledger has not heard it",
    "executor.feedback.unsaved": "facts wait to be journaled",
    "executor.feedback.uncommitted": "facts stand in the transaction that is not committed",
    "executor.feedback.committed": "facts are journaled; the breaker has not been told",
    "executor.feedback.sent": "a fact was handed to the feedback link",
    "executor.cancel.unsent": "a cancel is about to leave for IB",
    "executor.cancel.sent": "a cancel has left for IB; that it did is not journaled",
    "executor.reconcile.asking": "a list was asked for; its end has not come",
    "executor.reconcile.answered": "a list has come completely; the round is not over",
    "executor.round.complete": "a round is complete; what it proves is not journaled",
    "executor.fence.taken": "a fence was taken; the breaker has not been told",
    "executor.welcome.taken": "the breaker's welcome was taken, and is not answered",
    # -- breaker
    "breaker.order.received": "an order or a request has come and is not looked at",
    "breaker.save.unsaved": "a turn's decisions are about to be journaled",
    "breaker.save.uncommitted": "a turn's decisions stand in the transaction that is not committed",
    "breaker.save.committed": "a turn's decisions are journaled; nobody was told",
    "breaker.fence.committed": "a raised fence is on the disk; nobody was told",
    "breaker.place.unsent": "an order's decision is journaled; it was not handed over",
    "breaker.place.sent": "an order was handed to the dispatch link; its decision is not published",
    "breaker.event.published": "a journaled event was published",
    "breaker.feedback.received": "a fact of the executor has come and was not taken",
    "breaker.feedback.taken": "a fact was taken; neither it nor its number is journaled",
    "breaker.dispatch.taken": "a hello, joined, lease or fence of the executor was taken, and is not answered",
    "breaker.reply.unsent": "a request on control was carried out and journaled; its reply was not sent",
    # -- paper gateway
    "paper.order.received": "an order has come and is recorded; it is not booked",
    "paper.order.booked": "an order is booked in memory; the state file does not have it",
    "paper.cancel.received": "a cancel has come and is recorded; it is not booked",
    "paper.state.half_line": "half of what has changed stands in the state file",
    "paper.state.saved": "what has changed stands in the state file; nobody was told",
    "paper.reply.half_frame": "half of what is to be said has left for the client",
    "paper.reply.written": "a reply has left for the client",
}


class _Armed:
    """Where this process dies, and how many times it still passes there."""

    point: str | None = None
    left = 0


def arm() -> None:
    """Read, at the start of a service, where it shall die; usually nowhere.

    Raises:
        SettingsError: the variable names no point, or no count.
    """
    wanted = crash_at()
    if wanted is None:
        return
    point, count = wanted
    if point not in POINTS:
        raise SettingsError(
            f"ORDERFUSE_CRASH_AT names the point {point!r}, known are {', '.join(POINTS)}. "
            "Unset it: it is for tests only."
        )
    _Armed.point, _Armed.left = point, count


def reach(point: str, last_deed: Callable[[], object] | None = None) -> None:
    """Die here, if this is the point and the time; `last_deed` is done right before, such as half a write."""
    if point != _Armed.point:
        return
    _Armed.left -= 1
    if _Armed.left:
        return
    if last_deed is not None:
        last_deed()
    # Not an exception, not an exit: nothing of this process may run on, no handler and no `finally`.
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
