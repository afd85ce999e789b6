"""How many connections a link has: what is counted, and when there is room."""

from services.breaker.public.connections import EMPTY_SECS, MOST_AT_ONCE, Connections


def test_a_batch_counts_as_the_most_until_all_of_it_are_in():
    link = Connections(100)
    link.let_in("a", 0.0)
    link.came("a", 7)
    assert link.taken == 1 + MOST_AT_ONCE
    assert link.coming() == ["a"]
    link.all_in("a")
    assert link.taken == 2, "the listener and its one connection"
    assert link.coming() == []


def test_there_is_room_only_for_all_who_can_wait():
    link = Connections(2 * (1 + MOST_AT_ONCE))
    for name in ("a", "b"):
        assert link.has_room()
        link.let_in(name, 0.0)
    assert not link.has_room()
    link.all_in("a")
    assert not link.has_room(), "the listener of a takes one descriptor itself"
    assert link.take_empty(EMPTY_SECS) == ["a"]
    assert link.has_room()


def test_who_leaves_makes_room_and_the_last_one_ends_the_batch():
    link = Connections(100)
    link.let_in("a", 0.0)
    link.came("a", 7)
    link.came("a", 8)
    link.all_in("a")
    link.left(7)
    assert (link.taken, link.take_empty(1.0)) == (2, [])
    link.left(8)
    assert (link.take_empty(1.0), link.taken) == (["a"], 0)


def test_a_batch_of_which_nobody_is_known_yet_is_not_ended_at_once():
    link = Connections(100)
    link.let_in("a", 10.0)
    link.all_in("a")
    assert link.take_empty(10.0 + EMPTY_SECS / 2) == []
    link.came("a", 7)
    assert link.take_empty(10.0 + EMPTY_SECS) == []


def test_who_left_without_a_word_is_found_by_counting_again():
    link = Connections(100)
    link.let_in("a", 0.0)
    for descriptor in (7, 8, 9):
        link.came("a", descriptor)
    link.all_in("a")
    link.forget(lambda descriptor: descriptor == 8)
    assert link.taken == 2


def test_what_comes_of_a_batch_that_is_over_is_nobodys():
    link = Connections(100)
    link.came("gone", 7)
    link.left(7)
    assert link.taken == 0


def test_a_connection_is_known_by_the_batch_with_which_it_came():
    link = Connections(100)
    for endpoint, descriptor in (("a", 7), ("b", 8)):
        link.let_in(endpoint, 0.0)
        link.came(endpoint, descriptor)
    assert [link.endpoint_of(descriptor) for descriptor in (7, 8, 9)] == ["a", "b", None]
