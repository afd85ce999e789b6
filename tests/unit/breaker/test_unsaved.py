"""What one turn has decided and not saved yet is known to the next input of the same turn."""

from services.breaker.batch import AnsweredRequest, Batch, Publication
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.unsaved import Unsaved
from tests.unit.breaker.harness import MemoryHistory, filled, trading


def test_an_order_that_ended_in_this_turn_and_is_sent_again_is_not_handed_over_twice():
    r = trading()
    with r.one_turn():
        r.submit("o-1")
        r.executor.filled("o-1")
        assert r.stage.core.orders == {}, "it has left memory, and the journal does not have it yet"
        r.submit("o-1")
        r.executor.tell(filled("o-1"), "success")
    assert r.placed() == ["o-1"]
    assert r.kinds("o-1") == ["passed", "filled", "duplicate", "passed", "filled", "filled"]
    assert [event.get("again", False) for event in r.about("o-1")] == [False, False, False, True, True, False]


def test_what_is_to_be_saved_lies_over_what_has_been():
    journal = MemoryHistory(None)
    rests, comes = KeptCircuit({}, passed=True, resting=True), KeptCircuit({}, passed=True)
    for scope in ("strategy:a", "strategy:b"):
        journal.save(Batch(circuits={scope: rests}))
    unsaved = Unsaved(journal)
    assert unsaved.find_resting_circuit("strategy:a") == rests
    answer = AnsweredRequest("r-1", "o-1", "a", True, "sent", "")
    unsaved.add(Batch(circuits={"strategy:a": comes, "strategy:b": None, "strategy:c": rests}))
    unsaved.add(Batch(requests={"r-1": answer}, executions={("o-1", "filled", "e-1")}))
    assert [unsaved.find_resting_circuit(f"strategy:{name}") for name in "abc"] == [None, None, rests]
    assert unsaved.find_request("r-1") == answer
    assert unsaved.knows_execution("o-1", "filled", "e-1")
    assert not unsaved.knows_execution("o-1", "filled", "e-2")
    journal.save(unsaved.take())
    assert unsaved.take() == Batch()
    assert unsaved.find_resting_circuit("strategy:c") == rests


def test_of_two_steps_the_later_word_counts_and_what_is_sent_keeps_its_order():
    both = Batch(fence=1, sync=True, reserved={"t": 5, "u": 5}, publications=[Publication("t", {}, 1)], notes=["a"])
    both.add(Batch(fence=2, floor=3, topics_given_up=["t"], publications=[Publication("t", {}, 2)], notes=["b"]))
    both.add(Batch())
    assert (both.fence, both.floor, both.sync, both.notes) == (2, 3, True, ["a", "b"])
    assert [item.seq for item in both.publications] == [1, 2]
    assert both.reserved == {"u": 5}, "a topic that was given up has nothing reserved"
