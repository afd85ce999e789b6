"""IB's fields: the same as ib_insync's, by name and type, and checked at the door."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import ib_insync
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.ibfields import checks as ibfields
from orderfuse.ibfields.checks import (
    CONTRACT_FIELDS,
    OPENABLE,
    ORDER_FIELDS,
    REFUSED,
    UNSET_DOUBLE,
    UNSET_INTEGER,
    InvalidFields,
    check_contract,
    check_order,
)

STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
MARKET = {"action": "BUY", "orderType": "MKT", "totalQuantity": 10}

NESTED = {
    ib_insync.ComboLeg: ibfields.ComboLeg,
    ib_insync.DeltaNeutralContract: ibfields.DeltaNeutralContract,
    ib_insync.OrderComboLeg: ibfields.OrderComboLeg,
    ib_insync.objects.SoftDollarTier: ibfields.SoftDollarTier,
    ib_insync.PriceCondition: ibfields.PriceCondition,
    ib_insync.TimeCondition: ibfields.TimeCondition,
    ib_insync.MarginCondition: ibfields.MarginCondition,
    ib_insync.ExecutionCondition: ibfields.ExecutionCondition,
    ib_insync.VolumeCondition: ibfields.VolumeCondition,
    ib_insync.PercentChangeCondition: ibfields.PercentChangeCondition,
}


def plain(hint: Any) -> Any:
    """The plain type behind ours: str for an annotated str or a Literal of texts."""
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    return list if get_origin(hint) is list else hint


def theirs(kind: Any) -> dict[str, Any]:
    """Field names and plain types of a dataclass of ib_insync, from its defaults where these tell."""
    found = {}
    for field in dataclasses.fields(kind):
        default = field.default_factory() if callable(field.default_factory) else field.default
        found[field.name] = type(default)
    return found


def ours(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(hint) for name, hint in fields.items()}


def test_the_contract_table_is_ib_insyncs() -> None:
    expected = theirs(ib_insync.Contract)
    assert expected.pop("deltaNeutralContract") is type(None)
    found = ours(CONTRACT_FIELDS)
    assert found.pop("deltaNeutralContract") is ibfields.DeltaNeutralContract
    assert found == expected


def test_the_order_table_is_ib_insyncs() -> None:
    expected = theirs(ib_insync.Order)
    assert expected.pop("softDollarTier") is ib_insync.objects.SoftDollarTier
    found = ours(ORDER_FIELDS)
    assert found.pop("softDollarTier") is ibfields.SoftDollarTier
    assert found == expected


@pytest.mark.parametrize("kind", NESTED, ids=lambda kind: kind.__name__)
def test_the_nested_tables_are_ib_insyncs(kind: Any) -> None:
    expected = theirs(kind)
    ours_kind = NESTED[kind]
    # The tag is msgspec's to check, with the same number.
    if (tag := expected.pop("condType", None)) is not None:
        assert tag is int
        assert ours_kind.__struct_config__.tag == kind.condType
    assert ours(typing.get_type_hints(ours_kind, include_extras=True)) == expected


def test_every_default_of_ib_insync_passes_the_door() -> None:
    """Except the three fields without which there is no order, and what a strategy may not set at all."""
    defaults = {
        field.name: getattr(ib_insync.Order(), field.name)
        for field in dataclasses.fields(ib_insync.Order)
        if field.name not in {*MARKET, *REFUSED}
    }
    defaults["softDollarTier"] = {}
    check_order({**defaults, **MARKET})
    contract = {
        field.name: getattr(ib_insync.Contract(), field.name) for field in dataclasses.fields(ib_insync.Contract)
    }
    check_contract({**contract, **STOCK})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_field_is_refused_with_its_reason_and_opened_by_name_only(name: str) -> None:
    assert name in ORDER_FIELDS
    value = {str: "x", int: 1, float: 1.0, bool: True}[plain(ORDER_FIELDS[name])]
    with pytest.raises(InvalidFields, match=f"order.{name} must not be set: "):
        check_order({**MARKET, name: value})
    if name in OPENABLE:
        assert check_order({**MARKET, name: value}, allow=frozenset({name}))[name] == value


def test_what_is_the_executors_own_can_never_be_opened() -> None:
    own = set("orderId permId clientId orderRef parentId parentPermId transmit whatIf".split())
    assert not OPENABLE & own


@pytest.mark.parametrize("unset", [None, UNSET_INTEGER, UNSET_DOUBLE])
def test_unset_values_count_as_absent_also_inside(unset: Any) -> None:
    order = {**MARKET, "lmtPrice": unset, "orderComboLegs": [{"price": unset}, {"price": 1.5}]}
    assert check_order(order) == {**MARKET, "orderComboLegs": [{}, {"price": 1.5}]}
    assert check_contract({**STOCK, "strike": unset}) == STOCK


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f"])
@pytest.mark.parametrize("name", ["tif", "ocaGroup", "orderType"])
def test_a_control_character_that_would_become_another_field_is_refused(name: str, character: str) -> None:
    for text in (f"A{character}", f"{character}A", f"A{character}B"):
        with pytest.raises(InvalidFields, match=name):
            check_order({**MARKET, name: text})
    with pytest.raises(InvalidFields, match="symbol"):
        check_contract({**STOCK, "symbol": f"AAPL{character}"})


@pytest.mark.parametrize("text", ["a=b", "a;b", "a\x00", "a;", "=", "a\n"])
def test_a_tag_value_that_would_become_another_one_is_refused(text: str) -> None:
    for pair in ({"tag": text, "value": "x"}, {"tag": "x", "value": text}):
        with pytest.raises(InvalidFields, match="algoParams"):
            check_order({**MARKET, "algoParams": [pair]})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"totalQuantity": 0}, "totalQuantity is 0"),
        ({"totalQuantity": -1}, "totalQuantity is -1"),
        ({"totalQuantity": float("nan")}, "totalQuantity is nan"),
        ({"totalQuantity": float("inf")}, "totalQuantity is inf"),
        ({"totalQuantity": True}, "totalQuantity is True"),
        ({"totalQuantity": "10"}, "totalQuantity is '10'"),
        ({"lmtPrice": float("nan")}, "lmtPrice is nan"),
        ({"lmtPrice": float("-inf")}, "lmtPrice is -inf"),
        ({"lmtPrice": 1e16}, "lmtPrice"),
        ({"minQty": 2**31}, "minQty"),
        ({"minQty": 1.5}, "minQty is 1.5"),
        ({"hidden": 1}, "hidden is 1"),
        ({"action": "buy"}, "action is 'buy'"),
        ({"orderType": ""}, "orderType"),
        ({"lmtPirce": 1.0}, "lmtPirce"),
        ({"conditions": [{"condType": 2}]}, "conditions"),
        ({"conditions": [{"price": 1.0}]}, "conditions"),
        ({"conditions": [{"condType": 1, "conjunction": "x"}]}, "conjunction"),
        ({"algoParams": [{"tag": "a"}]}, "value"),
        ({"softDollarTier": {"nmae": "a"}}, "softDollarTier"),
    ],
)
def test_a_wrong_order_is_refused_by_field_and_value(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        check_order({**MARKET, **wrong})
    assert says in str(caught.value)


@pytest.mark.parametrize("missing", MARKET)
def test_an_order_without_what_every_order_has_is_refused(missing: str) -> None:
    with pytest.raises(InvalidFields, match=missing):
        check_order({name: value for name, value in MARKET.items() if name != missing})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"symbol": ""}, "nothing to trade"),
        ({"secType": ""}, "secType"),
        ({"strike": float("nan")}, "strike is nan"),
        ({"conId": 2**31}, "conId"),
        ({"comboLegs": [{"conId": 1, "ratio": 0, "action": "BUY", "exchange": "X"}]}, "ratio"),
        ({"comboLegs": [{"conId": 1}]}, "comboLegs"),
        ({"symbl": "A"}, "symbl"),
        ({"deltaNeutralContract": {"conid": 1}}, "deltaNeutralContract"),
    ],
)
def test_a_wrong_contract_is_refused_by_field_and_value(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        check_contract({**STOCK, **wrong})
    assert says in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.long
@given(
    st.dictionaries(st.sampled_from(sorted(ORDER_FIELDS)) | st.text(max_size=10), JSON, max_size=8),
    st.dictionaries(st.sampled_from(sorted(CONTRACT_FIELDS)) | st.text(max_size=10), JSON, max_size=8),
)
def test_any_map_is_a_valid_one_or_refused(order: dict[str, Any], contract: dict[str, Any]) -> None:
    for check, fields in ((check_order, {**MARKET, **order}), (check_contract, {**STOCK, **contract})):
        try:
            checked = check(fields)
        except InvalidFields:
            continue
        msgspec.json.encode(checked)
        assert checked == check(checked)
