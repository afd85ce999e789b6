"""Long answers: a little in each turn, for each program in turn, and only so many at once."""

from typing import Any

from services.breaker.control.lookups import MOST, MOST_OF_ONE, Lookup, Lookups


def answer(rows, told=None):
    for number in range(rows):
        if told is not None:
            told.append(number)
        yield
    return {"rows": rows}


def everybody(_):
    return True


def all_but_one(whose):
    return whose != "stuck"


def steps(count):
    """Says that it is over after so many steps."""
    left = iter(range(count))
    return lambda: next(left, None) is None


def test_programs_take_turns_row_by_row_so_that_a_short_answer_waits_for_no_long_one():
    lookups = Lookups()
    lookups.add("pid 1", Lookup("long", answer(1000)))
    lookups.add("pid 1", Lookup("longer", answer(1000)))
    lookups.add("pid 2", Lookup("short", answer(3)))
    assert list(lookups.step(everybody, steps(10))) == [("short", {"rows": 3})]
    assert len(lookups) == 2


def test_what_is_over_for_now_goes_on_where_it_stood():
    told: list[Any] = []
    lookups = Lookups()
    lookups.add("pid 1", Lookup("t", answer(5, told)))
    assert list(lookups.step(everybody, steps(2))) == []
    assert told == [0, 1]
    assert list(lookups.step(everybody, steps(100))) == [("t", {"rows": 5})]
    assert told == [0, 1, 2, 3, 4]
    assert not lookups


def test_nothing_is_put_together_for_who_has_not_read_what_was_sent_before():
    told: list[Any] = []
    lookups = Lookups()
    lookups.add("pid 1", Lookup("stuck", answer(5, told)))
    assert not lookups.can_go_on(all_but_one)
    lookups.add("pid 2", Lookup("reads", answer(3)))
    assert list(lookups.step(all_but_one, steps(100))) == [("reads", {"rows": 3})]
    assert told == []
    assert list(lookups.step(everybody, steps(100))) == [("stuck", {"rows": 5})]


def test_one_program_has_a_few_under_way_and_all_together_not_too_many():
    lookups = Lookups()
    for number in range(MOST_OF_ONE):
        assert not lookups.refusal("pid 1"), number
        lookups.add("pid 1", Lookup(number, answer(5)))
    assert "pid 1" not in lookups.refusal("pid 1")
    assert lookups.refusal("pid 1")
    assert not lookups.refusal("pid 2")
    for number in range(MOST - MOST_OF_ONE):
        lookups.add(f"pid {number + 2}", Lookup(number, answer(5)))
    assert lookups.refusal("pid 999")
