"""How many of the system's failures are one strategy's: a broken one must not stop its neighbours. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from orderfuse.window import SlidingWindow


@dataclass(slots=True)
class _Share:
    """What is known of one strategy."""

    # Failures that the system counted, newest last; more than the threshold need not be kept.
    counted: SlidingWindow[int, None]
    last_success_ns: int | None = None

    def succeeded_since(self, since_ns: int) -> bool:
        """Whether an order of it has got into the market since then."""
        return self.last_success_ns is not None and self.last_success_ns >= since_ns


@dataclass(slots=True)
class FairShares:
    """What each strategy has added to the system's count inside the window.

    `threshold`: so many failures open the system's circuit. `window_ns`: for how long one counts.
    """

    threshold: int
    window_ns: int
    _shares: dict[str, _Share] = field(default_factory=dict)

    def succeeded(self, strategy_id: str, now_ns: int) -> None:
        """An order of this strategy is in the market: then IB takes orders, whatever befalls its neighbours."""
        self._share(strategy_id, now_ns).last_success_ns = now_ns

    def takes_one_more(self, strategy_id: str, now_ns: int, *, capped: bool) -> bool:
        """Whether the system counts one more failure of this strategy; then it is in its share.

        While another strategy has had a success inside the window, one strategy's failures count at most threshold - 1
        times, so that alone it can't open the system. `capped`: that rule holds now.
        """
        counted, since = self._share(strategy_id, now_ns).counted, now_ns - self.window_ns
        if capped and counted.count(now_ns) >= self.threshold - 1 and self._others_succeed(strategy_id, since):
            return False
        counted.add(now_ns, None)
        return True

    def begin_anew(self) -> None:
        """The system's circuit counts from nought again, so each strategy's share of its count does too."""
        for share in self._shares.values():
            share.counted.clear()

    def _others_succeed(self, strategy_id: str, since_ns: int) -> bool:
        return any(name != strategy_id and other.succeeded_since(since_ns) for name, other in self._shares.items())

    def _share(self, strategy_id: str, now_ns: int) -> _Share:
        found = self._shares.get(strategy_id)
        if found is None:
            # Also those that have lost their place meanwhile, as long as what they did counts.
            since = now_ns - self.window_ns
            self._shares = {
                name: known
                for name, known in self._shares.items()
                if known.counted.count(now_ns) or known.succeeded_since(since)
            }
            found = self._shares[strategy_id] = _Share(SlidingWindow(self.window_ns, self.threshold))
        return found
