"""What is said of a fault that cannot be played, in a scenario or from a person."""

from pathlib import Path

import pytest

from orderfuse.text import MAX_VALUE
from services.paper.faults.families import FaultError
from services.paper.faults.kinds import describe_kinds, make_fault
from services.paper.faults.scenario import ScenarioError, load_scenario


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("rejct", {}, 'kind is "rejct"; did you mean reject?'),
        (None, {}, "kind is null; known are reject, inactive"),
        ("reject", {"cont": 1}, 'unknown: "cont"; did you mean count?; known for reject: '),
        ("reject", {"code": "201"}, 'code is "201"; allowed are whole numbers'),
    ],
)
def test_a_wrong_name_or_value_is_said_as_it_was_written(kind, given, says):
    with pytest.raises(FaultError) as caught:
        make_fault(kind, given)
    assert str(caught.value).startswith(says)


def test_a_long_value_is_cut_as_in_every_other_message():
    with pytest.raises(FaultError) as caught:
        make_fault("x" * 1000, {})
    shown = str(caught.value).removeprefix("kind is ").partition(";")[0]
    assert len(shown) == MAX_VALUE
    assert shown.endswith("...")


def test_defaults_are_shown_as_a_scenario_would_write_them():
    assert describe_kinds()["read_only"]["fields"]["active"].endswith("(default true)")


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ("faults", "did you mean [[fault]]?"),
        ("falt", "did you mean [[fault]]?"),
        ("orders", "a scenario is a list of [[fault]] tables"),
    ],
)
def test_a_table_of_another_name_is_told_what_a_scenario_has(tmp_path: Path, table: str, hint: str):
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(f"[[{table}]]\nkind = 'reject'\n", encoding="utf-8")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(scenario)
    assert str(caught.value).endswith(f"unknown table {table}; {hint}")
