"""The step that matters most: somebody says stop while orders are on their way."""

from __future__ import annotations

import time
from collections import Counter

from examples.demo.flood import Flood
from examples.demo.scene import ACCOUNT, CONTRACT, ORDER, Scene

ORDERS = 300
# The trip is asked for when so many of them have gone.
GONE = 30
# The executor may write for half a second without a word from the breaker (its lease), and holds back for up to a
# second what would be too much for IB: whatever still came would come within this time.
QUIET_S = 1.5
MEANING = {
    "blocked": ": they waited in the breaker",
    "not_placed": ": on their way to the wire, and taken back",
    "filled": ": IB had them",
}
# Answers that only IB can give.
AT_IB = {"filled", "cancelled", "rejected"}


def trip_under_load(scene: Scene) -> list[str]:
    """Flood the bus, trip, and count what reached the wire; returns the ids of the flood."""
    with Flood(scene.settings) as flood:
        ids = flood.publish(ORDERS, CONTRACT, ORDER | {"totalQuantity": 1}, ACCOUNT)
        scene.tell.fact(f"a program gone wild has published {ORDERS} orders at once")
        scene.wait(
            lambda: len(scene.wire.arrivals_of(ids)) >= GONE,
            f"{GONE} orders of the flood at the wire",
            lambda: len(scene.wire.arrivals_of(ids)),
        )
        asked_ns = time.monotonic_ns()
        scene.command('trip --reason "orders I do not understand"')
        answered_ns = time.monotonic_ns()
        scene.wait(
            lambda: all(scene.bus.answers(order_id) for order_id in ids),
            f"an answer for each of the {ORDERS} orders",
            lambda: f"{sum(not scene.bus.answers(order_id) for order_id in ids)} without one",
        )
        quiet_until = time.monotonic() + QUIET_S
        while time.monotonic() < quiet_until:
            scene.bus.read(0.05)
    _tell_counts(scene, ids, asked_ns, answered_ns)
    return ids


def _tell_counts(scene: Scene, ids: list[str], asked_ns: int, answered_ns: int) -> None:
    arrivals = scene.wire.arrivals_of(ids)
    before = sum(arrival.ns <= asked_ns for arrival in arrivals)
    after = sum(arrival.ns > answered_ns for arrival in arrivals)
    answers = [scene.bus.answers(order_id) for order_id in ids]
    kinds = Counter(found[0].kind for found in answers)
    scene.tell.count(before, "orders were at the wire when the trip was asked for")
    scene.tell.count(
        len(arrivals) - before - after, f"more reached it until the reply, {_ms(asked_ns, answered_ns)} later"
    )
    scene.tell.count(after, f"reached it after the reply ({QUIET_S:g} s watched)")
    for kind, count in kinds.most_common():
        scene.tell.count(count, f"were answered {kind}{MEANING.get(kind, '')}")
    scene.check(after == 0, "no order at the wire after the trip's reply", f"{after} orders")
    scene.check(kinds["blocked"] > 0, "orders still waiting when the trip came", dict(kinds))
    several = [found for found in answers if len(found) > 1]
    scene.check(not several, "exactly one answer for each order", several[:1])
    there = sorted(order_id for order_id, found in zip(ids, answers, strict=True) if found[0].kind in AT_IB)
    arrived = sorted(arrival.order_id for arrival in arrivals)
    scene.check(arrived == there, f"the {len(there)} orders that IB answered at the wire, each once", f"{len(arrived)}")
    scene.tell.notice(
        f"{len(arrivals)} at the wire + {ORDERS - len(arrivals)} stopped = {ORDERS}, each with exactly one answer. At "
        f"IB's pace of 50 a second the flood would have gone on for {ORDERS // 50} s; 0 left after the reply."
    )


def _ms(from_ns: int, to_ns: int) -> str:
    return f"{(to_ns - from_ns) / 1e6:.0f} ms"
