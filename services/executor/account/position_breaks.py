"""Whether IB's positions are what our fills make them: the sum of the fills on top of a baseline. Pure.

A difference is a position break: it means that somebody else trades the account, that a fill never reached us, or that
IB changed the position itself (an option expired, a split). It opens no circuit; a person has to look. The baseline is
taken once in a journal's life, at the first list of positions; whatever the account holds then is as expected.

A person may accept a difference: what is held at that moment is as expected from then on.

Fills and positions travel apart, so a list may lack a fill or be ahead of one. A difference is therefore
believed only if two lists in a row show the same one and the contract had no fill in between; one that is
traded without a pause needs more lists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

from services.gateway.position_list import Held
from services.gateway.reports import UNNAMED, Traits
from services.wire.standing import DUST, Drift

# Lists with the same difference: for a contract at rest, and for one that never rests.
SIGHTINGS = 2
BUSY_SIGHTINGS = 4
# A symbol as it is told: no longer than those of IB, so that all that is told stays inside a message.
MAX_SYMBOL = 20


@dataclass(frozen=True, slots=True)
class LegFill:
    """What one execution moves the position by: above 0 bought. A correction has the same `base`."""

    base: str
    con_id: int
    symbol: str
    shares: float
    traits: Traits = UNNAMED


@dataclass(slots=True)
class Baseline:
    """What the journal keeps of one contract.

    Attributes:
        base: the position that was there without our fills.
        told: the difference that was told and has not gone yet; 0 for none.
    """

    con_id: int
    symbol: str
    base: float = 0.0
    told: float = 0.0
    traits: Traits = UNNAMED


@dataclass(frozen=True, slots=True)
class Findings:
    """What a list of positions brought.

    Attributes:
        new: differences to tell, each once.
        gone: differences that are no more.
        changed: what the journal has to keep.
        first: this list was the baseline.
    """

    new: list[Drift] = field(default_factory=list)
    gone: list[Drift] = field(default_factory=list)
    changed: list[Baseline] = field(default_factory=list)
    first: bool = False


@dataclass(slots=True)
class _Sighting:
    """A difference, in how many lists in a row it was, and in how many of them since the last fill."""

    difference: float
    lists: int = 0
    at_rest: int = 0


class PositionBreaks:
    """Adds up fills and compares them with the positions of the account.

    Args:
        sums: the fills of the journal, added up by contract.
        baselines: what it knows of contracts, or None before the first list.
    """

    def __init__(self, sums: Iterable[LegFill], baselines: Iterable[Baseline] | None) -> None:
        sums = list(sums)
        self._sums = {each.con_id: each.shares for each in sums}
        self._baselines = None if baselines is None else {each.con_id: each for each in baselines}
        # What each contract is called, as it was said last.
        self._names = {each.con_id: (each.symbol, each.traits) for each in sums}
        self._sums_when_asked: dict[int, float] = {}
        self._seen: dict[int, _Sighting] = {}
        # What is told and has not gone, as it was in the last list.
        self._standing: dict[int, Drift] = {}
        for each in (self._baselines or {}).values():
            if each.told:
                self._stands(each)

    @property
    def standing(self) -> tuple[Drift, ...]:
        """The differences that were told and have not gone."""
        return tuple(self._standing.values())

    @property
    def has_baseline(self) -> bool:
        """Whether there was a list of positions."""
        return self._baselines is not None

    def on_fill(self, fill: LegFill, before: float = 0.0) -> None:
        """Count an execution of ours; of a correction, what changed since it was `before`."""
        self._sums[fill.con_id] = self._sums.get(fill.con_id, 0.0) + fill.shares - before
        self._names[fill.con_id] = (fill.symbol, fill.traits)
        if fill.con_id in self._seen:
            self._seen[fill.con_id].at_rest = 0

    def on_asked(self) -> None:
        """IB is asked for a list: it holds what had been filled before it was made, and maybe more."""
        if self._baselines is None:
            self._sums_when_asked = dict(self._sums)

    def on_positions(self, held: Iterable[Held]) -> Findings:
        """Compare a complete list. What it does not name is not held."""
        actual = {each.con_id: each for each in held}
        self._names.update({each.con_id: (each.symbol, each.traits) for each in actual.values()})
        if self._baselines is None:
            return self._take_as_baseline(actual)
        findings = Findings()
        for con_id in sorted(actual.keys() | self._sums.keys() | self._baselines.keys()):
            baseline = self._baselines.setdefault(con_id, Baseline(con_id, ""))
            baseline.symbol, baseline.traits = self._names.get(con_id, (baseline.symbol, baseline.traits))
            quantity = actual[con_id].quantity if con_id in actual else 0.0
            self._compare(baseline, quantity, findings)
        return findings

    def explains(self, con_id: int, quantity: float) -> bool:
        """Whether our fills, and what was told already, make this position; so does anything before the first list."""
        if self._baselines is None:
            return True
        baseline = self._baselines.get(con_id) or Baseline(con_id, "")
        return _same(quantity, baseline.base + baseline.told + self._sums.get(con_id, 0.0))

    def accepted(self, differences: Iterable[Drift]) -> list[Baseline]:
        """What contracts are expected to be if a person accepts these, as far as they still stand just so.

        Nothing is changed by asking: `accept` does that, once it is in the journal.
        """
        baselines = self._baselines or {}
        standing = [(baselines[each.con_id], each) for each in differences if each.con_id in self._standing]
        return [
            replace(baseline, base=baseline.base + baseline.told, told=0.0)
            for baseline, each in standing
            if _same(baseline.told, each.difference)
        ]

    def accept(self, baselines: Iterable[Baseline]) -> None:
        """Expect from now on what `accepted` made."""
        for baseline in baselines:
            assert self._baselines is not None, "accepted before there was a list of positions"
            self._baselines[baseline.con_id] = baseline
            self._standing.pop(baseline.con_id, None)
            self._seen.pop(baseline.con_id, None)

    def _stands(self, baseline: Baseline) -> Drift:
        expected = baseline.base + self._sums.get(baseline.con_id, 0.0)
        standing = Drift(
            con_id=baseline.con_id,
            symbol=baseline.symbol[:MAX_SYMBOL],
            expected=expected,
            actual=expected + baseline.told,
            **asdict(baseline.traits),
        )
        self._standing[baseline.con_id] = standing
        return standing

    def _take_as_baseline(self, actual: dict[int, Held]) -> Findings:
        self._baselines = {}
        for con_id in actual.keys() | self._sums_when_asked.keys():
            quantity = actual[con_id].quantity if con_id in actual else 0.0
            base = quantity - self._sums_when_asked.get(con_id, 0.0)
            symbol, traits = self._names.get(con_id, ("", UNNAMED))
            self._baselines[con_id] = Baseline(con_id, symbol, base, traits=traits)
        return Findings(changed=list(self._baselines.values()), first=True)

    def _compare(self, baseline: Baseline, actual: float, findings: Findings) -> None:
        con_id = baseline.con_id
        expected = baseline.base + self._sums.get(con_id, 0.0)
        difference = actual - expected
        if _same(difference, baseline.told):
            self._seen.pop(con_id, None)
            if baseline.told:
                self._stands(baseline)
            return
        seen = self._seen.get(con_id)
        if seen is None or not _same(difference, seen.difference):
            seen = self._seen[con_id] = _Sighting(difference)
        seen.lists += 1
        seen.at_rest += 1
        if seen.at_rest < SIGHTINGS and seen.lists < BUSY_SIGHTINGS:
            return
        del self._seen[con_id]
        if _same(difference, 0.0):
            baseline.told = 0.0
            findings.gone.append(self._standing.pop(con_id))
        else:
            baseline.told = difference
            findings.new.append(self._stands(baseline))
        findings.changed.append(baseline)


def _same(one: float, other: float) -> bool:
    return abs(one - other) < DUST
