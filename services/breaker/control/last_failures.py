"""What failed: the latest failures of each circuit, as people are told of them. Pure.

A circuit keeps only when its failures happened. People also ask what they were, so that survives a restart, and goes
with a reset and with the circuit.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from orderfuse.text import plain

# Failures that are told of one circuit; those with the same code and text are one.
MOST = 5
MAX_TEXT = 200
# Failures of the system of which it is known whose they were. A threshold may be higher, but nobody reads further.
MOST_SOURCES = 100
# Of all circuits together in one reply: it has to stay far below what clients accept, however many strategies fail.
MAX_TOLD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Failed:
    """One failure.

    Attributes:
        text: what happened, for people.
        code: IB's number; the word for what is no answer of IB's; None where the text says all.
        order_id: the order that failed, None if it was none.
    """

    text: str
    code: int | str | None = None
    order_id: str | None = None


def of_order(order_id: str, event: Mapping[str, Any] | None) -> Failed:
    """The failure of an order, by the event that told of it."""
    event = event or {}
    reason, kind = str(event.get("reason") or ""), str(event.get("kind") or "")
    # IB's no needs no word of ours: its code says what it is.
    text = reason if "ib_code" in event else f"{kind}: {reason}" if reason else kind
    return Failed(text, event.get("ib_code") or None, order_id)


class _Group(msgspec.Struct):
    """Failures with the same code and text; `order_id` and `at` (ISO 8601, UTC) are the latest one's."""

    code: int | str | None
    text: str
    order_id: str | None
    count: int
    at: str


class _Kept(msgspec.Struct):
    """What is kept of one circuit. `groups`: newest first. `sources`: when, and whose it was; the oldest first."""

    groups: list[_Group] = []
    sources: list[tuple[str, str]] = []

    def size(self) -> int:
        """At most so many bytes in a reply."""
        return sum(200 + 4 * len(group.text) for group in self.groups)


@dataclass(slots=True)
class LastFailures:
    """The latest failures of every circuit that has any; whoever forgets a circuit clears it here too."""

    _kept: dict[str, _Kept] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    def note(self, scope: str, failed: Failed, at: datetime, source: str | None) -> None:
        """The circuit of `scope` has counted a failure. `source`: whose it is, if it stands in the circuit's window."""
        kept = self._kept.setdefault(scope, _Kept())
        text = plain(failed.text, MAX_TEXT)
        same = next((each for each in kept.groups if (each.code, each.text) == (failed.code, text)), None)
        if same is not None:
            kept.groups.remove(same)
        count = same.count + 1 if same is not None else 1
        kept.groups.insert(0, _Group(failed.code, text, failed.order_id, count, at.isoformat()))
        del kept.groups[MOST:]
        if source is not None:
            kept.sources.append((at.isoformat(), source))
            del kept.sources[:-MOST_SOURCES]
        self._changed.add(scope)

    def clear(self, scope: str) -> None:
        """Forget those of one circuit."""
        if self._kept.pop(scope, None) is not None:
            self._changed.add(scope)

    def told(self) -> dict[str, list[dict[str, Any]]]:
        """By scope, newest first. Where all is too much for one reply, the lists of those that failed last."""
        latest = sorted(self._kept.items(), key=lambda item: item[1].groups[0].at, reverse=True)
        found: dict[str, list[dict[str, Any]]] = {}
        left = MAX_TOLD_BYTES
        for scope, kept in latest:
            left -= kept.size()
            if left < 0:
                break
            found[scope] = [msgspec.structs.asdict(group) for group in kept.groups]
        return found

    def __contains__(self, scope: str) -> bool:
        """Whether anything is kept of this circuit."""
        return scope in self._kept

    def by_source(self, scope: str, failures: list[datetime]) -> dict[str, int]:
        """Whose the failures of a circuit's window are, each with its number; of what is not known there is nothing."""
        kept = self._kept.get(scope)
        sources: dict[str, list[str]] = {}
        for at, source in kept.sources if kept is not None else ():
            sources.setdefault(at, []).append(source)
        counts: dict[str, int] = {}
        for failure in failures[-MOST_SOURCES:]:
            known = sources.get(failure.isoformat())
            if known:
                source = known.pop(0)
                counts[source] = counts.get(source, 0) + 1
        return counts

    # -- over a restart ------------------------------------------------------------------------------------

    def take_changed(self) -> dict[str, str | None]:
        """What is to be saved since the last call, as text by scope; None: nothing is kept any more."""
        changed = {
            scope: msgspec.json.encode(self._kept[scope]).decode() if scope in self._kept else None
            for scope in self._changed
        }
        self._changed.clear()
        return changed

    def restore(self, saved: Mapping[str, str], scopes: Container[str]) -> None:
        """Go on with what an earlier process kept. No decision hangs on it, so what can't be read is forgotten."""
        for scope, text in saved.items():
            try:
                kept = msgspec.json.decode(text, type=_Kept)
            except msgspec.MsgspecError:
                kept = _Kept()
            if kept.groups and scope in scopes:
                self._kept[scope] = kept
            else:
                self._changed.add(scope)
