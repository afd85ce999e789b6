"""What a strategy or a monitor hears: the events of the bus, and what `Watcher` says about hearing them.

`OrderHandle.wait`, `OrderHandle.events` and `OrderClient.reports` give events of orders (`AnyOrderEvent`), which a
`match` takes apart:

    match handle.wait(timeout=60):
        case Filled(avg_price=price):
            ...
        case Cancelled(filled=shares) if shares:
            ...

`Watcher` gives those of all strategies, `State` at each change of a circuit, `Health` once a second, and the notices
`Heard`, `Silent`, `Gap` and `Unreadable`. docs/PROTOCOL.md tells when each of them comes.
"""

from orderfuse.bus.events import (
    Accepted,
    AnyOrderEvent,
    Blocked,
    CancelFailed,
    Cancelled,
    Commission,
    Duplicate,
    Expired,
    Filled,
    Health,
    Invalid,
    NotPlaced,
    OrderEvent,
    Passed,
    Rejected,
    Replaced,
    ReplaceFailed,
    RequestPassed,
    RequestRefused,
    State,
    Unknown,
)
from orderfuse.bus.notices import Gap, Heard, Silent, Unreadable
from orderfuse.client.handle import Decision, End

__all__ = [
    "Accepted",
    "AnyOrderEvent",
    "Blocked",
    "CancelFailed",
    "Cancelled",
    "Commission",
    "Decision",
    "Duplicate",
    "End",
    "Expired",
    "Filled",
    "Gap",
    "Health",
    "Heard",
    "Invalid",
    "NotPlaced",
    "OrderEvent",
    "Passed",
    "Rejected",
    "ReplaceFailed",
    "Replaced",
    "RequestPassed",
    "RequestRefused",
    "Silent",
    "State",
    "Unknown",
    "Unreadable",
]


def __dir__() -> list[str]:
    return __all__
