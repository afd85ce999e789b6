"""Settings, whatever stands in the file and in the environment: they are read, or one line says which is wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.settings import TABLES, Settings, SettingsError, load_settings, setting_names, variable_name

pytestmark = pytest.mark.long

NAMES = [(table, key) for table in TABLES for key in setting_names(table)]
TEXTS = st.text(max_size=40) | st.sampled_from(
    ["", "none", "nan", "inf", "-1", "1e999", "9" * 5000, "\x1b[31m", "a\nb"]
)
# As TOML writes them.
WRITTEN = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(lambda number: repr(number).replace("e", "e")),
    st.sampled_from(
        ["true", "false", "[]", "{}", "[1, 'a']", "1979-05-27", "0x" + "f" * 5000, "9" * 5000, "'''a\nb'''"]
    ),
    st.text("abcXYZ0189 ./:-_", max_size=30).map(lambda text: f"'{text}'"),
)


def read(document: bytes = b"", environ: dict[str, str] | None = None) -> Settings | str:
    """The settings, or the text that says why not."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "orderfuse.toml").write_bytes(document)
        try:
            return load_settings(Path(folder), environ=environ or {})
        except SettingsError as error:
            text = str(error)
    assert text.isprintable(), text
    assert 0 < len(text) <= 2000
    return text


@given(st.sampled_from(NAMES), WRITTEN)
def test_any_value_in_the_file_is_taken_or_refused_by_name(name: tuple[str, str], written: str) -> None:
    table, key = name
    result = read(f"[{table}]\n{key} = {written}\n".encode())
    assert isinstance(result, Settings) or f"{table}.{key}" in result or "orderfuse.toml is" in result


@given(st.sampled_from(NAMES), TEXTS)
def test_any_text_in_a_variable_is_taken_or_refused_by_name(name: tuple[str, str], text: str) -> None:
    result = read(environ={variable_name(*name): text})
    assert isinstance(result, Settings) or variable_name(*name) in result


@given(st.dictionaries(st.text(max_size=20).map(lambda name: f"ORDERFUSE_{name}") | st.text(max_size=20), TEXTS))
def test_any_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    environ.pop("ORDERFUSE_HOME", None)
    read(environ=environ)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_is_read_or_refused(document: bytes) -> None:
    read(document)


NAME_PARTS = st.text('ab"\\n\x00\x1b é', max_size=12)


@given(NAME_PARTS, NAME_PARTS, WRITTEN)
def test_any_name_in_the_file_is_refused_in_one_line(table: str, key: str, written: str) -> None:
    def quoted(name: str) -> str:
        return '"' + "".join(f"\\u{ord(character):04x}" for character in name) + '"'

    assert isinstance(read(f"[{quoted(table)}]\n{quoted(key)} = {written}\n".encode()), str)


@pytest.mark.parametrize("document", [b"a = " + b"[" * 100_000, b"[" * 100_000, b"a = 1" + b"0" * 100_000])
def test_a_file_that_python_cannot_read_is_refused_like_any_other(document: bytes) -> None:
    assert isinstance(read(document), str)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_of_thousands_of_digits_is_refused_by_name(name: tuple[str, str]) -> None:
    table, key = name
    text = read(f"[{table}]\n{key} = 0x{'f' * 5000}\n".encode())
    assert isinstance(text, str)
    assert f"{table}.{key}" in text


@pytest.mark.parametrize("home", ["a\x00b", "~nobody-of-that-name/x"])
def test_a_home_that_no_folder_can_have_is_refused(home: str) -> None:
    with pytest.raises(SettingsError, match="ORDERFUSE_HOME"):
        load_settings(environ={"ORDERFUSE_HOME": home})


@pytest.mark.parametrize("name", [name for name in NAMES if name[0] in ("paper", "links", "ib")])
def test_no_text_has_a_character_that_no_path_and_no_host_can_have(name: tuple[str, str]) -> None:
    table, key = name
    text: Any = read(f'[{table}]\n{key} = "/a\\u0000b"\n'.encode())
    assert isinstance(text, str)
    assert f"{table}.{key}" in text
