"""What an earlier process of the breaker has left, as its journal has it at the start of the next one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.breaker.batch import KeptHeartbeat, Numbering
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.dispatch.owed import OwedCancel
from services.breaker.orders import OrderRecord


@dataclass(slots=True)
class Saved:
    """What the journal had at the start.

    `circuits`: by scope. `orders`: those without an end, and the parents of legs among them; their times already those
    of this process. `floor`: above it new topics begin to count. `trouble`: why the previous journal could not be read;
    nobody trades until a person has looked.
    """

    fence: int = 0
    circuits: Mapping[str, KeptCircuit] = field(default_factory=dict)
    orders: list[OrderRecord] = field(default_factory=list)
    feedback_taken: dict[str, int] = field(default_factory=dict)
    retold: dict[str, int] = field(default_factory=dict)
    remembered_cancels: dict[tuple[str, str], int] = field(default_factory=dict)
    topics: dict[str, Numbering] = field(default_factory=dict)
    floor: int = 0
    refused_marks: dict[str, int] = field(default_factory=dict)
    heartbeats: dict[str, KeptHeartbeat] = field(default_factory=dict)
    last_failures: dict[str, str] = field(default_factory=dict)
    owed: OwedCancel | None = None
    trouble: str = ""
