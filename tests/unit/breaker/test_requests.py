"""Requests on `control`: one of each program in turn, and a bounded number of each."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.breaker.control.requests import MOST, MOST_OF_ONE, Requests


def add(requests, sender, *payloads):
    for payload in payloads:
        assert not requests.refusal(sender)
        requests.add(sender, [payload])


def test_a_person_with_one_request_comes_right_behind_the_first_of_a_program_with_hundreds():
    requests = Requests()
    add(requests, "loop", *(b"%d" % number for number in range(MOST_OF_ONE)))
    add(requests, "person", b"trip")
    assert requests.take() == ("loop", [b"0"])
    assert requests.take() == ("person", [b"trip"])
    assert requests.take() == ("loop", [b"1"])


def test_a_program_has_so_many_wait_and_no_other_is_refused_for_it():
    requests = Requests()
    add(requests, "loop", *[b"?"] * MOST_OF_ONE)
    assert f"{MOST_OF_ONE} requests of this program wait already" in requests.refusal("loop")
    assert not requests.refusal("person")
    requests.take()
    assert not requests.refusal("loop")


def test_where_all_together_have_too_many_each_program_may_have_one():
    requests = Requests()
    for number in range(MOST // MOST_OF_ONE):
        add(requests, f"loop-{number}", *[b"?"] * MOST_OF_ONE)
    assert len(requests) == MOST
    add(requests, "person", b"trip")
    assert requests.refusal("person")
    add(requests, "another", b"trip")


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60))
def test_each_programs_requests_come_in_their_order_and_none_is_passed_over_twice(steps):
    waiting: dict[str, list[Any]] = {}
    passed_over: dict[str, int] = {}
    requests: Any = Requests()
    for number, sender in enumerate(steps):
        if sender is not None:
            requests.add(sender, [number])
            waiting.setdefault(sender, []).append(number)
        elif requests:
            sender, [taken] = requests.take()
            assert waiting[sender].pop(0) == taken
            passed_over[sender] = 0
            for other in waiting:
                if other != sender and waiting[other]:
                    passed_over[other] = passed_over.get(other, 0) + 1
                    assert passed_over[other] < 3
        for other in waiting:
            if not waiting[other]:
                passed_over[other] = 0
    assert len(requests) == sum(len(each) for each in waiting.values())
