"""What one process may have of a link, and what is said of it."""

from services.breaker.public import bounds, capacity, flooding, holders, repeats, subscriptions
from services.breaker.public.flooding import Flooding
from services.breaker.public.holders import Holders
from services.breaker.public.repeats import Repeats
from services.breaker.public.subscriptions import MOST_CHANGES, MOST_STANDING, Subscriptions

PID, OTHER = 100, 200


def test_a_process_keeps_what_it_has_and_its_newest_is_too_many():
    those = Holders(2)
    assert [those.came(descriptor, PID, 0.0) for descriptor in (7, 8, 9)] == ["", "", "too_many"]
    assert [those.stays(descriptor) for descriptor in (7, 8, 9)] == [True, True, False]
    assert those.came(10, OTHER, 0.0) == "", "another process is not touched"
    # The one that was too many takes no place when it leaves, and one that leaves makes room.
    those.left(9)
    assert those.objection(PID, 0.0) == "too_many"
    those.left(8)
    assert those.came(8, PID, 0.0) == ""


def test_who_comes_and_goes_without_end_is_too_many_for_that_second():
    those = Holders(2)
    for _ in range(holders.TIMES_AS_MANY * 2):
        assert those.came(7, PID, 0.5) == ""
        those.left(7)
    assert those.came(7, PID, 0.5) == "too_many"
    assert those.came(8, OTHER, 0.5) == ""
    assert those.came(7, PID, 0.5 + holders.COUNT_SECS) == ""


def test_connections_of_nobody_known_are_bounded_by_the_link_alone():
    those = Holders(2)
    assert [those.came(descriptor, None, 0.0) for descriptor in range(10)] == [""] * 10
    assert those.bar(3, 10.0) == [3], "the others may be somebody else's"
    assert those.came(3, None, 1.0) == ""


def test_a_process_that_is_barred_loses_all_it_has_and_comes_again_later():
    those = Holders(10)
    for descriptor, pid in ((7, PID), (8, PID), (9, OTHER)):
        those.came(descriptor, pid, 0.0)
    assert those.bar(7, 10.0) == [7, 8]
    assert those.barred(9.0) == {PID}
    assert those.came(11, PID, 9.0) == "barred"
    assert those.came(12, OTHER, 9.0) == ""
    assert those.came(11, PID, 10.0) == ""
    assert those.barred(10.0) == frozenset()


def test_of_all_who_are_here_those_count_that_may_be():
    those = Holders(1)
    for descriptor, pid in ((7, PID), (8, PID), (9, OTHER), (10, None)):
        those.came(descriptor, pid, 0.0)
    assert those.all() == [7, 9, 10]
    assert [those.pid(descriptor) for descriptor in (7, 9, 10, 11)] == [PID, OTHER, None, None]
    those.bar(9, 1.0)
    assert those.all() == [7, 10]


def test_a_descriptor_that_comes_again_is_another_connection():
    those = Holders(1)
    those.came(7, PID, 0.0)
    assert those.came(7, PID, 0.0) == "", "the one before has left without a word"
    those.forget(lambda _: False)
    assert not those.stays(7)
    assert those.came(8, PID, 2.0) == ""


def test_a_crowded_door_is_sifted_until_somebody_comes_who_may():
    door = Flooding()
    for _ in range(flooding.MOST_OBJECTIONS):
        door.objected(0.0)
    assert not door.is_sifted(0.0), "some come by mistake"
    door.objected(0.0)
    assert door.is_sifted(0.9)
    door.wished(0.9)
    assert not door.is_sifted(0.9)
    assert not door.is_sifted(0.9 + flooding.WISH_SECS)
    door.objected(0.95)
    assert door.is_sifted(0.95 + flooding.WISH_SECS), "who crowds it still does"
    assert not door.is_sifted(0.95 + flooding.COUNT_SECS)


def subscribe(those, descriptor, pid, numbers, *, first=b"\1", now=0.0):
    return [those.take(descriptor, pid, first + b"%d" % number, now) for number in numbers]


def test_what_stands_is_counted_and_an_end_gives_room_back():
    those = Subscriptions(longest=48)
    assert not any(subscribe(those, 7, PID, range(MOST_STANDING)))
    assert not any(subscribe(those, 7, PID, range(10))), "the same again is not one more"
    assert not any(subscribe(those, 7, PID, range(10), first=b"\0"))
    assert not any(subscribe(those, 8, PID, range(10))), "on another connection of the same process"
    assert subscribe(those, 8, PID, [10]) == [f"more than {MOST_STANDING} subscriptions"]
    assert not any(subscribe(those, 9, OTHER, range(MOST_STANDING)))
    those.left(8)
    assert not any(subscribe(those, 8, PID, range(10), now=1.0))
    assert subscribe(those, 8, PID, [10], now=1.0) == [f"more than {MOST_STANDING} subscriptions"]
    those.left(8)
    those.left(7)
    assert not any(subscribe(those, 8, PID, range(MOST_STANDING), now=2.0))


def test_a_connection_that_ends_without_having_subscribed_changes_nothing():
    those = Subscriptions(longest=48)
    subscribe(those, 7, PID, range(10))
    those.left(8)
    assert not any(subscribe(those, 7, PID, range(10, MOST_STANDING)))
    assert subscribe(those, 7, PID, [MOST_STANDING]) == [f"more than {MOST_STANDING} subscriptions"]


def test_where_nobody_is_known_each_connection_counts_for_itself():
    those = Subscriptions(longest=48)
    assert not any(subscribe(those, 7, None, range(MOST_STANDING)))
    assert not any(subscribe(those, 8, None, range(MOST_STANDING)))
    # A pid that is some connection's number is no connection.
    assert not any(subscribe(those, 9, 7, range(MOST_STANDING), now=1.0))


def test_too_long_a_topic_and_anything_else_is_refused():
    those = Subscriptions(longest=48)
    assert those.take(7, PID, b"\1" + b"x" * 48, 0.0) == ""
    assert those.take(7, PID, b"\1" + b"x" * 49, 0.0) == "a subscription of 49 bytes, allowed are 48"
    assert those.take(7, PID, b"hello", 0.0) == those.take(7, PID, b"", 0.0) != ""


def test_coming_and_going_is_bounded_too():
    those = Subscriptions(longest=48)
    changes = [first + b"topic" for first in (b"\1", b"\0")] * (MOST_CHANGES // 2)
    assert not any(those.take(7, PID, change, 0.0) for change in changes)
    assert those.take(7, PID, b"\1topic", 0.9).startswith(f"more than {MOST_CHANGES} subscriptions and their ends")
    assert those.take(7, PID, b"\1topic", subscriptions.COUNT_SECS) == ""


def test_what_happens_again_and_again_is_said_once_in_a_while_with_how_often():
    said = Repeats()
    assert said.happened("a", 0.0) == 1
    assert [said.happened("a", now) for now in (0.0, 1.0, 59.9)] == [0, 0, 0]
    assert said.happened("b", 1.0) == 1
    assert said.happened("a", 60.0) == 4
    assert said.happened("a", 61.0) == 0


def test_many_different_things_are_a_flood_as_well():
    said = Repeats()
    assert sum(said.happened(number, 0.0) for number in range(1000)) == repeats.MOST_TOLD_APART
    assert said.happened("later", repeats.SAY_AGAIN_SECS) == 1


def test_one_process_with_all_it_may_have_costs_some_100_mb_on_a_link():
    for link, room in capacity.room(capacity.MOST).items():
        assert bounds.bytes_of_one_process(link, room) < 125e6, link


def test_one_process_leaves_room_on_every_link():
    for limit in (capacity.LEAST, 1024, capacity.ENOUGH, capacity.MOST):
        for link, room in capacity.room(limit).items():
            # Each may have come by itself, with a listener of its own.
            assert 2 * room.of_one_process <= room.descriptors / 2, link
            assert room.of_one_process >= 8


def test_every_bound_says_what_a_full_one_does():
    table = list(bounds.of_links(capacity.ENOUGH))
    assert len({bound.what for bound in table}) == len(table)
    assert all(bound.most > 0 and bound.whose and bound.full for bound in table)
