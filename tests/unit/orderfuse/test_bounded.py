"""A dict that cannot grow without end."""

from orderfuse.bounded import Bounded


def test_of_more_than_there_is_room_for_the_one_goes_that_was_quiet_longest() -> None:
    names: Bounded[str, int] = Bounded(3)
    for number, name in enumerate("abc"):
        names[name] = number
    names["a"] = 7
    names["d"] = 3
    assert list(names.items()) == [("c", 2), ("a", 7), ("d", 3)]
    names["e"] = 4
    assert list(names) == ["a", "d", "e"]
