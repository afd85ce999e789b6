"""Settings: read once, from file and variables, and refused by name, value and range."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from orderfuse.bus import codec
from orderfuse.bus.orders import Heartbeat
from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.settings import TABLES, Settings, SettingsError, load_settings, setting_names, variable_name


def load(home: Path, toml: str = "", **environ: str) -> Settings:
    (home / "orderfuse.toml").write_text(toml, encoding="utf-8")
    return load_settings(home, environ=environ)


def test_without_anything_set_the_defaults_reach_the_paper_gateway(home: Path) -> None:
    settings = load_settings(home, environ={})
    assert settings.home == home
    assert (settings.ib.host, settings.ib.port, settings.paper.port) == ("127.0.0.1", 4010, 4010)
    assert settings.breaker.circuit == CircuitBreakerConfig()
    assert (settings.breaker.max_orders_per_second, settings.breaker.queue_limit) == (50, 1000)
    assert (settings.dispatch.window, settings.ib.messages_per_second) == (8, 45)
    assert settings.ib.live_account == ""


def test_the_file_is_read_and_a_variable_wins(home: Path) -> None:
    toml = "[ib]\nport = 4002\nclient_id = 9\n[breaker]\nfailure_threshold = 3\non_trip = 'cancel'\n"
    settings = load(home, toml, ORDERFUSE_IB__PORT="7497", ORDERFUSE_BREAKER__OPEN_TIMEOUT_SECS="12.5")
    assert (settings.ib.port, settings.ib.client_id) == (7497, 9)
    assert settings.breaker.circuit == CircuitBreakerConfig(failure_threshold=3, open_timeout_secs=12.5)
    assert settings.breaker.on_trip == "cancel"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(CircuitBreakerConfig)])
def test_every_field_of_the_circuit_is_a_setting_of_the_breaker(home: Path, field: str) -> None:
    settings = load(home, **{variable_name("breaker", field): "7"})
    assert getattr(settings.breaker.circuit, field) == 7


@pytest.mark.parametrize("text", ["", "none", "None"])
def test_a_variable_can_switch_the_row_off(home: Path, text: str) -> None:
    name = variable_name("breaker", "consecutive_failure_threshold")
    settings = load(home, "[breaker]\nconsecutive_failure_threshold = 4\n", **{name: text})
    assert settings.breaker.circuit.consecutive_failure_threshold is None


def test_a_list_in_a_variable_is_written_with_commas(home: Path) -> None:
    settings = load(home, ORDERFUSE_EXECUTOR__ALLOW_ORDER_FIELDS="faGroup, faMethod,")
    assert settings.executor.allow_order_fields == ("faGroup", "faMethod")
    settings = load(home, "[executor]\nallow_order_fields = ['faGroup']\n")
    assert settings.executor.allow_order_fields == ("faGroup",)


def test_a_field_that_nobody_may_open_is_refused_by_name(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"allow_order_fields names orderRef, allowed are .*faGroup"):
        load(home, ORDERFUSE_EXECUTOR__ALLOW_ORDER_FIELDS="faGroup,orderRef")


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_can_be_set_by_its_variable(home: Path, table: str) -> None:
    defaults = load_settings(home, environ={})
    for key in setting_names(table):
        given = getattr(getattr(defaults, table), key, None)
        if given is None or key == "circuit":
            given = getattr(defaults.breaker.circuit, key)
        text = ",".join(given) if isinstance(given, tuple) else str(given)
        again = load(home, **{variable_name(table, key): text})
        assert again == defaults


def texts_allowed() -> list[tuple[str, str, list[str]]]:
    """Every setting that is text, or a list of texts, with some texts that it may be."""
    found: list[tuple[str, str, list[str]]] = []
    for table, kind in TABLES.items():
        for key, hint in get_type_hints(kind).items():
            if get_origin(hint) is Literal:
                found.append((table, key, [str(choice) for choice in get_args(hint)]))
            elif get_origin(hint) is tuple:
                found.append((table, key, ["faGroup"]))
            elif hint is str:
                found.append((table, key, ["127.0.0.1", "DU0000000", "Konto-Ä 口座", " spaced "]))
    return found


def test_every_setting_of_every_process_is_known_to_be_text_a_number_or_a_circuit() -> None:
    """So that a new kind of setting does not slip past the test below."""
    texts = {(table, key) for table, key, _ in texts_allowed()}
    for table, kind in TABLES.items():
        for key, hint in get_type_hints(kind).items():
            assert ((table, key) in texts) == (hint not in (int, CircuitBreakerConfig)), key


@pytest.mark.parametrize(("table", "key", "texts"), texts_allowed())
def test_a_text_is_the_same_from_a_variable_as_from_the_file(
    home: Path, table: str, key: str, texts: list[str]
) -> None:
    for text in texts:
        written = f"['{text}']" if key == "allow_order_fields" else f"'{text}'"
        by_file = load(home, f"[{table}]\n{key} = {written}\n")
        by_variable = load(home, **{variable_name(table, key): text})
        assert by_variable == by_file
        value: Any = getattr(getattr(by_variable, table), key)
        (said,) = value if isinstance(value, tuple) else (value,)
        assert type(said) is str
        assert codec.encode(Heartbeat(strategy_id=said, sent_ns=0))


def test_a_variable_that_is_no_utf8_is_refused_as_such_a_file_is(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"ORDERFUSE_IB__ACCOUNT is not UTF-8 text, at character 2"):
        load(home, ORDERFUSE_IB__ACCOUNT=os.fsdecode(b"DU\xff"))


def test_a_file_is_typed_and_a_number_in_quotes_is_none(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"ib\.port is '4010'"):
        load(home, "[ib]\nport = '4010'\n")
    with pytest.raises(SettingsError, match=r"ib\.port is True"):
        load(home, "[ib]\nport = true\n")
    with pytest.raises(SettingsError, match="failure_threshold"):
        load(home, "[breaker]\nfailure_threshold = true\n")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[broker]\n", r"no table \[broker\]; did you mean breaker"),
        ("[ib]\nprot = 1\n", r"no setting ib\.prot; did you mean port"),
        ("[breaker]\ncircuit = 1\n", r"no setting breaker\.circuit"),
        ("ib = 1\n", r"written as \[ib\]"),
        ("[ib\n", "not valid TOML"),
        ("port = 1\n", r"no table \[port\]"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_the_nearest_one(home: Path, toml: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(home, toml)


def test_a_misspelt_variable_is_refused_and_others_are_not_ours(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"ORDERFUSE_IB__PROT.*did you mean port"):
        load(home, ORDERFUSE_IB__PROT="1")
    with pytest.raises(SettingsError, match="ORDERFUSE_BROKER__PORT"):
        load(home, ORDERFUSE_BROKER__PORT="1")
    load(home, PATH="/bin", ORDERFUSE_HOME="/nowhere", OTHER__PORT="1")
