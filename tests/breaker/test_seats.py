"""How many connections a link has: what is counted, and when there is room."""

from services.breaker.seats import EMPTY_SECS, MOST_AT_ONCE, Seats


def test_a_batch_counts_as_the_most_until_all_of_it_are_in():
    seats = Seats(100)
    seats.let_in("a", 0.0)
    seats.came("a", 7)
    assert seats.taken == 1 + MOST_AT_ONCE
    assert seats.coming() == ["a"]
    seats.all_in("a")
    assert seats.taken == 2, "the listener and its one connection"
    assert seats.coming() == []


def test_there_is_room_only_for_all_who_can_wait():
    seats = Seats(2 * (1 + MOST_AT_ONCE))
    for name in ("a", "b"):
        assert seats.has_room()
        seats.let_in(name, 0.0)
    assert not seats.has_room()
    seats.all_in("a")
    assert not seats.has_room(), "the listener of a takes one descriptor itself"
    assert seats.take_empty(EMPTY_SECS) == ["a"]
    assert seats.has_room()


def test_who_leaves_makes_room_and_the_last_one_ends_the_batch():
    seats = Seats(100)
    seats.let_in("a", 0.0)
    seats.came("a", 7)
    seats.came("a", 8)
    seats.all_in("a")
    seats.left(7)
    assert (seats.taken, seats.take_empty(1.0)) == (2, [])
    seats.left(8)
    assert (seats.take_empty(1.0), seats.taken) == (["a"], 0)


def test_a_batch_of_which_nobody_is_known_yet_is_not_ended_at_once():
    seats = Seats(100)
    seats.let_in("a", 10.0)
    seats.all_in("a")
    assert seats.take_empty(10.0 + EMPTY_SECS / 2) == []
    seats.came("a", 7)
    assert seats.take_empty(10.0 + EMPTY_SECS) == []


def test_who_left_without_a_word_is_found_by_counting_again():
    seats = Seats(100)
    seats.let_in("a", 0.0)
    for descriptor in (7, 8, 9):
        seats.came("a", descriptor)
    seats.all_in("a")
    seats.forget(lambda descriptor: descriptor == 8)
    assert seats.taken == 2


def test_what_comes_of_a_batch_that_is_over_is_nobodys():
    seats = Seats(100)
    seats.came("gone", 7)
    seats.left(7)
    assert seats.taken == 0
