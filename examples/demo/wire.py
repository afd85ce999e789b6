"""What reached the gateway, from its own record and not from our say-so."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order that arrived at the gateway; `ns` is the monotonic clock, which all processes of a machine share."""

    order_id: str
    ns: int


class Wire:
    """Reads the wire record as it grows. A line is written before anybody can have its answer."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._read_bytes = 0
        self._arrivals: list[Arrival] = []

    def arrivals_of(self, order_ids: Collection[str]) -> list[Arrival]:
        """Which of these orders have arrived so far, oldest first; one that arrived twice is there twice."""
        self._read()
        wanted = set(order_ids)
        return [arrival for arrival in self._arrivals if arrival.order_id in wanted]

    def _read(self) -> None:
        if not self._record.exists():
            return
        with self._record.open("rb") as file:
            file.seek(self._read_bytes)
            # The last line may still be being written.
            whole, end, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(end)
        for line in whole.splitlines():
            entry = json.loads(line)
            if entry["dir"] == "in" and entry["message"] == "placeOrder":
                self._arrivals.append(Arrival(entry["fields"]["orderRef"], entry["ns"]))
