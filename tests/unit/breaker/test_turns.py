"""Whose turn it is among those that wait, and that nobody is looked at for nothing."""

import random
from collections import deque
from itertools import zip_longest
from typing import Any

from services.breaker import dispatcher
from services.breaker.circuits.places import Places
from services.breaker.gates import turn_of
from services.breaker.orders import OrderRecord
from services.breaker.queues import Queues
from tests.unit.breaker.harness import trading


def order(number, strategy_id):
    return OrderRecord(f"o-{number}", strategy_id, b"", "", {}, {}, False, 0, 0, 0)


class Walked:
    """The same turns, found by walking through all that waits each time."""

    def __init__(self, program_of):
        self.program_of, self.waiting, self.served = program_of, {}, {}

    def add(self, item):
        self.waiting.setdefault(item.strategy_id, deque()).append(item)

    def remove(self, item):
        self.waiting[item.strategy_id].remove(item)
        if not self.waiting[item.strategy_id]:
            del self.waiting[item.strategy_id]

    def whose_turn(self):
        of: Any = {program: [] for program in self.served}
        for strategy_id in self.waiting:
            of.setdefault(self.program_of[strategy_id], []).append(strategy_id)
        self.served = {program: None for program in self.served if of[program]}
        in_order = sorted(of, key=lambda program: program in self.served)
        rounds = zip_longest(*(of[program] for program in in_order))
        return next((each for round_ in rounds for each in round_ if each is not None), None)

    def pop(self, strategy_id):
        program = self.program_of[strategy_id]
        self.served.pop(program, None)
        self.served[program] = None
        queue = self.waiting.pop(strategy_id)
        queue.popleft()
        if queue:
            self.waiting[strategy_id] = queue


def test_turns_are_those_that_one_finds_by_walking_through_all_that_waits():
    chance = random.Random(3)
    program_of = {f"s-{number}": f"pid {number % 4}" for number in range(12)}
    places = Places(100)
    for strategy_id, program in program_of.items():
        places.use(strategy_id, program)
    items: list[Any] = []
    queues, walked = Queues(1000, places), Walked(program_of)
    for number in range(5000):
        queues.begin_turns()
        assert queues.whose_turn() == walked.whose_turn()
        act = chance.random()
        if act < 0.5 and len(items) < 60:
            item = order(number, chance.choice(list(program_of)))
            queues.add(item)
            walked.add(item)
            items.append(item)
        elif act < 0.9 and items:
            turn: Any = queues.whose_turn()
            head = queues.head(turn)
            items.remove(head)
            queues.serve(turn)
            queues.remove(head)
            walked.pop(turn)
        elif items:
            item = items.pop(chance.randrange(len(items)))
            queues.remove(item)
            walked.remove(item)
    assert set(queues.lengths()) == set(walked.waiting)


def judged(monkeypatch, act):
    """Whose next was looked at while this happened."""
    found = []

    def looked_at(core, item):
        found.append(item.strategy_id)
        return turn_of(core, item)

    with monkeypatch.context() as patch:
        patch.setattr(dispatcher, "turn_of", looked_at)
        act()
    return found


def test_while_the_window_is_full_only_those_are_looked_at_of_which_something_has_changed(monkeypatch):
    r = trading(window=1, max_strategies=300)
    r.submit("first", "first", ttl_ms=60_000)
    for number in range(200):
        r.submit(f"o-{number}", f"s-{number}", ttl_ms=60_000)
    assert judged(monkeypatch, r.poll) == []
    assert judged(monkeypatch, r.executor.lease) == []
    assert judged(monkeypatch, lambda: r.submit("o-new", "s-new", ttl_ms=60_000)) == ["s-new"]
    trip = judged(monkeypatch, lambda: r.ask("trip", scope="strategy:s-7", reason="x"))
    assert set(trip) == {"s-7"}
    assert r.last("o-7")["code"] == "latched"
    # One leaves the window: the next has its turn, and nobody behind it is asked.
    answered = judged(monkeypatch, lambda: r.executor.accepted("first", "first"))
    assert answered == ["s-0"]
    assert r.placed() == ["first", "o-0"]


def test_a_stop_reaches_all_that_wait_however_many():
    r = trading(window=1, max_strategies=300)
    r.submit("first", "first", ttl_ms=60_000)
    for number in range(250):
        r.submit(f"o-{number}", f"s-{number}", ttl_ms=60_000)
    r.ask("trip", reason="x")
    while r.stage.has_more_to_do():
        r.poll()
    assert all(r.last(f"o-{number}")["code"] == "latched" for number in range(250))
    assert r.placed() == ["first"]
