"""Scenario files: what they say happens, and what they cannot say is refused with line and reason."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.paper.faults.around_orders import RejectOrders
from services.paper.faults.at_a_moment import Notice
from services.paper.faults.families import MAX_COUNT
from services.paper.faults.scenario import MAX_SCENARIO_BYTES, ScenarioError, load_scenario
from tests.processes.paper.support import connected, market_order, paper, until
from tests.processes.paper.test_gateway import placed
from tests.processes.paper.test_process import free_port, running, start

GOOD = """\
# Two orders are fine, then two are rejected, and the connection to IB is lost.
[[fault]]
kind = "reject"
after_orders = 2
count = 2
text = "Order rejected - reason:because"

[[fault]]
kind = "notice"
after_secs = 0.05
code = 1100
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


def test_a_scenario_is_played(tmp_path):
    scenario = load_scenario(written(tmp_path, GOOD))
    assert scenario == [
        RejectOrders(after_orders=2, count=2, text="Order rejected - reason:because"),
        Notice(after_secs=0.05, code=1100),
    ]

    async def story() -> None:
        async with paper(scenario=scenario) as gateway, connected(gateway) as ib:
            heard: list[int] = []
            ib.errorEvent += lambda *args: heard.append(args[1])
            for wanted in ("Filled", "Filled", "Inactive", "Inactive", "Filled"):
                await placed(ib, market_order(), wanted)
            await until(lambda: 1100 in heard, "the notice")
            assert gateway.faults.armed() == []

    asyncio.run(story())


def test_an_empty_scenario_is_one(tmp_path):
    assert load_scenario(written(tmp_path, "")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[[fault]]\nkind = 'reject'\n\n[[fault]]\nkind = 'rejct'\n",
            ["line 5", "fault 2", 'kind is "rejct"', "mean reject?"],
        ),
        ("\n[[fault]]\nkind = 'reject'\ncout = 3\n", ["line 4", 'unknown: "cout"', "did you mean count?"]),
        ("[[fault]]\nkind = 'reject'\ncount = 0\n", ["line 3", "count is 0", f"whole numbers from 1 to {MAX_COUNT}"]),
        ("[[fault]]\nkind = 'reject'\ncode = '201'\n", ["line 3", 'code is "201"', "whole numbers"]),
        ("[[fault]]\ncount = 1\n", ["line 1", "fault 1 has no kind"]),
        ("[[fault]]\nkind = 'notice'\n", ["line 1", "notice needs code"]),
        ("[[fault]]\nkind = 'cut'\nhow = 2022-01-01\n", ["line 3", "how is", "fin or rst"]),
        ("[[fault]]\nkind = 'delay'\nms = nan\n", ["line 3", "ms is NaN"]),
        ("[[fault]]\nkind = 'price'\nsymbol = 'A'\nprice = inf\n", ["line 4", "price is Infinity"]),
        ("fault = 5\n", ["line 1", "each written as [[fault]]"]),
        ("fault = [{kind = 'rejct'}]\n", ["fault 1", "mean reject?"]),
        ("x = 1\n[[faults]]\n", ["line 1", "unknown table x", "a scenario is a list of"]),
        ("[[faults]]\nkind = 'reject'\n", ["line 1", "unknown table faults", "did you mean [[fault]]?"]),
        ("[[fault]\n", ["is not valid TOML", "line 1"]),
        ("#" * (MAX_SCENARIO_BYTES + 1), ["allowed are"]),
    ],
)
def test_a_bad_scenario_is_refused_with_file_line_key_value_and_what_is_allowed(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    for word in [str(path), *words]:
        assert word in str(refused.value)


def test_a_scenario_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path / "bytes.toml")


def test_the_process_takes_a_scenario_as_an_argument_or_a_setting(tmp_path):
    path = written(tmp_path, GOOD)
    for arguments, settings in ((("--scenario", str(path)), {}), ((), {"ORDERFUSE_PAPER__SCENARIO": str(path)})):
        with running(tmp_path, free_port(), *arguments, **settings):
            pass


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[fault]]\nkind = 'x'\n", 'kind is "x"'),
        ("[[fault]]\nkind = 'price'\nsymbol = '-'\nprice = 1\n", "cannot be played"),
    ],
)
def test_the_process_refuses_a_bad_scenario_with_exit_code_2(tmp_path, text, word):
    process = start(tmp_path, free_port(), "--scenario", str(written(tmp_path, text)))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert word in errors
    assert "Traceback" not in errors
