"""What the fields of messages may be, and what all messages have in common. Pure.

Durations carry their unit, `*_ns` are wall clock nanoseconds since 1970 UTC. What comes from outside is checked once,
while it is decoded (`orderfuse.bus.codec`); behind that door a message is what its type says.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

VERSION = 1

OrderId = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
StrategyId = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
# Wall clock nanoseconds: positive, and inside 64 bits.
Nanos = Annotated[int, Meta(ge=0, le=2**63 - 1)]
TtlMs = Annotated[int, Meta(ge=1, le=3_600_000)]
Reason = Annotated[str, Meta(max_length=500)]
# Who asks, for the journal: user, host and process id, as the asker says.
Who = Annotated[str, Meta(max_length=200)]
Scope = Annotated[str, Meta(max_length=41, pattern=r"^(system|strategy:[A-Za-z0-9][A-Za-z0-9._-]{0,31})\Z")]

ConditionName = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*\Z")]

# Whose orders nobody here may submit: a person's own (`operator`), and those found at IB that no journal knows.
OPERATOR, ADOPTED = "operator", "adopted"
RESERVED_STRATEGIES = frozenset({OPERATOR, ADOPTED})

# The generation of a circuit's state. Shares and price as a person gives them who resolves an order.
Generation = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shares = Annotated[float, Meta(gt=0, le=1e15)]
# IB's number of a contract or of an order.
IbId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Price = Annotated[float, Meta(ge=-1e15, le=1e15)]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """A map of the bus. Fields that have their default are left out of the map."""
