"""Wrong settings, every one of them: the text that somebody reads who has to put it right at once."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from msgspec import Meta

from orderfuse.circuit import config as circuit_config
from orderfuse.settings import (
    MAX_FILE_BYTES,
    TABLES,
    Settings,
    SettingsError,
    crash_at,
    load_settings,
    setting_names,
    variable_name,
)

EVERY_SETTING = [pytest.param(table, key, id=f"{table}.{key}") for table in TABLES for key in setting_names(table)]
SECONDS = "a number of seconds above 0 and at most 10,000,000"
HUGE = 10**400
# What is allowed, as the text says it, and values of the right type just outside.
CIRCUIT: dict[str, tuple[str, list[Any]]] = {
    "failure_threshold": ("an integer from 1 to 1,000,000", [0, -1, circuit_config.MAX_COUNT + 1, HUGE]),
    "failure_window_secs": (SECONDS, [0, -0.5, circuit_config.MAX_SECS + 1, HUGE]),
    "open_timeout_secs": (SECONDS, [0, -0.5, circuit_config.MAX_SECS + 1, HUGE]),
    "half_open_max_tries": ("an integer from 1 to 1,000", [0, -1, circuit_config.MAX_TRIALS + 1, HUGE]),
    "half_open_timeout_secs": (SECONDS, [0, -0.5, circuit_config.MAX_SECS + 1, HUGE]),
    "consecutive_failure_threshold": ("an integer from 1 to 1,000,000, or None", [0, circuit_config.MAX_COUNT + 1]),
    "open_timeout_multiplier": ("a number from 1 to 100", [0.99, circuit_config.MAX_MULTIPLIER + 1, HUGE]),
    "open_timeout_max_secs": (SECONDS, [0, -0.5, circuit_config.MAX_SECS + 1, HUGE]),
}


def load(home: Path, toml: str = "", **environ: str) -> Settings:
    (home / "orderfuse.toml").write_text(toml, encoding="utf-8")
    return load_settings(home, environ=environ)


def refusal(home: Path, toml: str = "", **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(home, toml, **environ)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000, "one line that can be read"
    assert "Errno" not in text
    return text


def limits_of(table: str, key: str) -> tuple[str, list[Any], list[Any]]:
    """What the text calls allowed; values of the right type out of range; values of a wrong type."""
    if key in CIRCUIT and table == "breaker":
        return CIRCUIT[key][0], CIRCUIT[key][1], [True, "many", [1], float("nan"), float("inf"), float("-inf")]
    hint = get_type_hints(TABLES[table], include_extras=True)[key]
    bare = hint
    metas: list[Meta] = []
    while hasattr(bare, "__metadata__"):
        metas += [meta for meta in bare.__metadata__ if isinstance(meta, Meta)]
        bare = get_args(bare)[0]
    if bare is int:
        low = next(meta.ge for meta in metas if meta.ge is not None)
        high = next(meta.le for meta in metas if meta.le is not None)
        wrong = [True, "many", [1], 1.5, float("nan"), float("inf"), float("-inf")]
        return f"a whole number from {low} to {high}", [int(low) - 1, int(high) + 1, HUGE], wrong
    if bare is str:
        shortest = next((meta.min_length for meta in metas if meta.min_length), 0)
        longest = next(meta.max_length for meta in metas if meta.max_length is not None)
        outside = ["x" * (longest + 1)] + ([""] if shortest else [])
        return f"text of {shortest} to {longest} characters", outside, [1, True, ["x"]]
    if key == "allow_order_fields":
        return "a list of names", [], [1, True, "faGroup", [1]]
    choices = get_args(bare)
    return " or ".join(map(repr, choices)), ["explode", ""], [1, True, [choices[0]]]


def toml_of(value: Any) -> str:
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_a_wrong_value_in_the_file_is_named_with_its_setting_its_place_and_what_is_allowed(
    home: Path, table: str, key: str
) -> None:
    allowed, outside, wrong_type = limits_of(table, key)
    for value in [*outside, *wrong_type]:
        text = refusal(home, f"[{table}]\n{key} = {toml_of(value)}\n")
        assert f"{table}.{key}" in text
        assert allowed in text
        assert shown(value) in text
        assert f"It was set in {home}/orderfuse.toml; change it there, or set {variable_name(table, key)}." in text


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_a_wrong_value_in_a_variable_is_named_with_its_setting_its_place_and_what_is_allowed(
    home: Path, table: str, key: str
) -> None:
    allowed, outside, wrong_type = limits_of(table, key)
    # A variable is always text, so only what no text can mean is of a wrong type.
    texts = [str(value) for value in outside]
    if "number" in allowed or "integer" in allowed:
        texts += ["many", "1,5", "0x10", *(str(value) for value in wrong_type if isinstance(value, float))]
    for text_given in texts:
        text = refusal(home, **{variable_name(table, key): text_given})
        assert f"{table}.{key}" in text
        assert allowed in text
        assert f"It was set in the variable {variable_name(table, key)}; change it there." in text


def shown(value: Any) -> str:
    return repr(value)[:50]


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_a_misspelt_setting_is_refused_with_the_nearest_one(home: Path, table: str, key: str) -> None:
    wrong = key[:-1] + "x"
    text = refusal(home, f"[{table}]\n{wrong} = 1\n")
    assert f"{home}/orderfuse.toml: there is no setting {table}.{wrong}; did you mean {key}?" in text
    text = refusal(home, **{variable_name(table, wrong): "1"})
    assert f"{variable_name(table, wrong)}: there is no setting {table}.{wrong}; did you mean {key}?" in text


@pytest.mark.parametrize(("table", "key"), EVERY_SETTING)
def test_a_variable_with_one_underscore_is_refused_and_not_ignored(home: Path, table: str, key: str) -> None:
    right = variable_name(table, key)
    wrong = right.replace("__", "_")
    assert f"{wrong}: there is no such variable; did you mean {right}?" in refusal(home, **{wrong: "1"})


@pytest.mark.parametrize("table", TABLES)
def test_a_misspelt_table_is_refused_with_the_nearest_one(home: Path, table: str) -> None:
    assert f"there is no table [{table}s]; did you mean {table}?" in refusal(home, f"[{table}s]\n")
    wrong = f"ORDERFUSE_{table.upper()}S__PORT"
    assert f"{wrong}: there is no table [{table}s]; did you mean {table}?" in refusal(home, **{wrong: "1"})
    assert f"{table} must be a table, written as [{table}]" in refusal(home, f"{table} = 1\n")


def test_a_name_like_no_other_is_answered_with_all_that_there_are(home: Path) -> None:
    assert f"there are {', '.join(TABLES)}." in refusal(home, "[zzzzzz]\n")
    assert f"there are {', '.join(setting_names('ib'))}." in refusal(home, "[ib]\nzzzzzzzzz = 1\n")


def test_a_field_that_nobody_may_open_is_refused_by_name_and_place(home: Path) -> None:
    text = refusal(home, "[executor]\nallow_order_fields = ['faGroup', 'orderRef']\n")
    assert "executor.allow_order_fields names orderRef, allowed are " in text
    assert "faGroup" in text
    assert f"It was set in {home}/orderfuse.toml" in text


# -- the file itself --------------------------------------------------------------------------------------


def test_a_folder_in_the_files_place_is_refused(home: Path) -> None:
    (home / "orderfuse.toml").mkdir()
    with pytest.raises(SettingsError, match=r"orderfuse\.toml is not a file\. Move it away"):
        load_settings(home, environ={})


def test_a_pipe_in_the_files_place_is_refused_and_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "orderfuse.toml")
    with pytest.raises(SettingsError, match=r"orderfuse\.toml is not a file\. Move it away"):
        load_settings(home, environ={})


def test_a_file_that_is_no_utf_8_is_refused_with_the_place(home: Path) -> None:
    (home / "orderfuse.toml").write_bytes(b"[ib]\nhost = '\xff'\n")
    with pytest.raises(SettingsError, match=r"orderfuse\.toml is not UTF-8 text, at byte 13\. Save it as UTF-8\."):
        load_settings(home, environ={})


def test_a_file_as_large_as_allowed_is_read_and_a_larger_one_is_not(home: Path) -> None:
    toml = "[ib]\nport = 4002\n#"
    assert load(home, toml + "x" * (MAX_FILE_BYTES - len(toml))).ib.port == 4002
    assert f"has more than {MAX_FILE_BYTES} bytes" in refusal(home, toml + "x" * MAX_FILE_BYTES)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[ib]\nport = ", "at end of document"),
        ("[ib]\nport = 4002\n[ib]\n", "line 3"),
        ("[ib]\nport = 4002\nport = 4002\n", "line 3"),
        ("[ib]\nport = 4002\0", "line 2"),
        ("[ib]\nport = " + "9" * 5000, "digits"),
        ("[ib]\nport = " + "[" * 50_000, ""),
    ],
    ids=["torn", "table twice", "key twice", "nul", "endless number", "endless nesting"],
)
def test_a_file_that_is_no_toml_is_refused_with_the_place(home: Path, toml: str, says: str) -> None:
    text = refusal(home, toml)
    assert f"{home}/orderfuse.toml is not valid TOML: " in text
    assert says in text
    assert text.endswith("Correct it there.")


@pytest.mark.parametrize("text", ["here", "here:", "here:0", ":1", "here:x", "here:-1"])
def test_a_crash_point_without_a_count_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"ORDERFUSE_CRASH_AT is {text!r}, allowed is <point>:<count>")):
        crash_at({"ORDERFUSE_CRASH_AT": text})
