"""The fence round ib_insync: it is imported here, and nowhere else."""

from __future__ import annotations

import asyncio


def _lend_event_loop() -> None:
    """Have an event loop at hand, so that ib_insync can be imported.

    eventkit, below ib_insync, asks for the thread's loop while it is imported, and fails where there is none: since
    Python 3.14 none is made by asking. It would only use it for events that other threads send, of which we have none.
    So it gets one that is closed, on every version of Python: an open one would never be closed by anybody.
    Whatever runs later has the loop of its own `asyncio.run`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        loop.close()
        asyncio.set_event_loop(loop)


_lend_event_loop()

# Behind the loop that it wants.
from ib_insync.client import Client  # noqa: E402
from ib_insync.contract import ComboLeg, Contract, DeltaNeutralContract, TagValue  # noqa: E402
from ib_insync.decoder import Decoder  # noqa: E402
from ib_insync.objects import ExecutionFilter, SoftDollarTier  # noqa: E402
from ib_insync.order import Order, OrderComboLeg, OrderCondition  # noqa: E402

__all__ = [
    "Client",
    "ComboLeg",
    "Contract",
    "Decoder",
    "DeltaNeutralContract",
    "ExecutionFilter",
    "Order",
    "OrderComboLeg",
    "OrderCondition",
    "SoftDollarTier",
    "TagValue",
]
