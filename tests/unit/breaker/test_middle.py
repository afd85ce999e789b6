"""How the middle is built: data goes one way round, and nothing calls back."""

import ast

import msgspec
import pytest

from services.breaker.orders import MOVES, Move, OrderRecord, move
from tests.unit.test_house import MODULES, TREES, reach

MIDDLE = sorted(name for name in reach("services.breaker.stage") if name.startswith("services.breaker."))


def test_no_object_of_the_middle_keeps_a_function_to_call_later():
    assert len(MIDDLE) > 20
    for name in MIDDLE:
        for node in ast.walk(TREES[name]):
            body = node.body if isinstance(node, ast.ClassDef) else []
            for attribute in (each for each in body if isinstance(each, ast.AnnAssign)):
                assert "Callable" not in ast.unparse(attribute.annotation), f"{MODULES[name]}: {ast.unparse(attribute)}"


def test_no_circuit_of_the_middle_has_a_listener():
    for name in MIDDLE:
        attributes = {node.attr for node in ast.walk(TREES[name]) if isinstance(node, ast.Attribute)}
        assert "on_transition" not in attributes, MODULES[name]


def test_only_one_place_moves_an_order():
    for name in MIDDLE:
        for node in ast.walk(TREES[name]):
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [ast.unparse(each) for target in targets for each in ast.walk(target)]
            moved = [each for each in names if each.endswith("record.state") or each == "leg.state"]
            assert not moved or name == "services.breaker.orders", f"{MODULES[name]}: {ast.unparse(node)}"


@pytest.mark.parametrize("state", ["queued", "out", "working", "unknown", "done"])
@pytest.mark.parametrize("what", Move)
def test_a_move_that_cannot_be_ends_the_process(state, what):
    record = OrderRecord("o", "s", b"", "", {}, {}, False, 0, 0, 0, state=state)
    follows = MOVES[what].get(state)
    if follows is None:
        with pytest.raises(AssertionError, match=f"o is {state}"):
            move(record, what)
    else:
        move(record, what)
        assert record.state == follows


def test_nothing_goes_back_to_the_queue_and_what_ended_comes_back_only_if_ib_says_so():
    for what, follows in MOVES.items():
        assert "queued" not in follows.values()
        if follows.get("done") not in (None, "done"):
            assert what in (Move.REVIVE, Move.DOUBT)
    assert set(MOVES) == set(Move)


def test_a_record_of_an_earlier_version_can_be_read_whatever_it_kept_more():
    kept = msgspec.json.decode(msgspec.json.encode(OrderRecord("o", "s", b"", "", {}, {}, False, 0, 0, 0)))
    assert msgspec.json.decode(msgspec.json.encode({**kept, "written": True}), type=OrderRecord).order_id == "o"
