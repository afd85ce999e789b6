"""One table of deadlines: each is due once, at the time that was said last."""

import random

from services.breaker.deadlines import MOST_STALE, Deadline, Deadlines, Due

ORDER, OTHER = Deadline(Due.ANSWER, "o-1"), Deadline(Due.ANSWER, "o-2")


def test_what_is_due_comes_once_and_in_the_order_of_the_times():
    table = Deadlines()
    table.set(OTHER, 20)
    table.set(ORDER, 10)
    assert table.take_due(9) == []
    assert table.take_due(10) == [ORDER]
    assert table.take_due(30) == [OTHER]
    assert table.take_due(10**9) == []


def test_the_time_that_was_said_last_holds_whether_later_or_sooner():
    table = Deadlines()
    table.set(ORDER, 10)
    table.set(ORDER, 30)
    table.set(OTHER, 30)
    table.set(OTHER, 10)
    assert table.take_due(29) == [OTHER]
    assert table.take_due(30) == [ORDER]


def test_what_was_dropped_is_not_due_and_may_be_set_again():
    table = Deadlines()
    table.set(ORDER, 10)
    table.drop(ORDER)
    table.set(ORDER, 10)
    table.set(OTHER, 5)
    table.drop(OTHER)
    assert table.take_due(10) == [ORDER]
    assert table.take_due(10) == []


def test_it_agrees_with_a_table_that_looks_at_all_of_them():
    chance = random.Random(7)
    table, plain, now = Deadlines(), {}, 0
    names = [Deadline(Due.HEARTBEAT, f"s-{number}") for number in range(20)]
    for _ in range(20_000):
        name, act = chance.choice(names), chance.random()
        if act < 0.6:
            plain[name] = now + chance.randrange(1, 400)
            table.set(name, plain[name])
        elif act < 0.7:
            plain.pop(name, None)
            table.drop(name)
        else:
            now += chance.randrange(30)
            due = {name for name, at in plain.items() if at <= now}
            assert set(table.take_due(now)) == due
            plain = {name: at for name, at in plain.items() if name not in due}
        assert set(table) == set(plain)


def test_it_stays_small_whoever_sets_and_drops_all_day():
    table = Deadlines()
    for number in range(100_000):
        table.set(ORDER, 10**9 - number)
        table.drop(ORDER)
        table.set(OTHER, 10**9 - number)
    assert len(table._heap) <= MOST_STALE + 2
