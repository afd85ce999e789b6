"""Every journal that a version of ours has written is read by this one, and has in it what it had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.journals.contents import contents, copied
from tests.unit.journals.make import CASES

FOLDER = Path(__file__).parent
KEPT = sorted(FOLDER.glob("schema-*/*"))


def missing(expected: Any, found: Any, where: str = "") -> list[str]:
    """What of `expected` is not so in `found`; what is there beyond it does not matter."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key, value in expected.items()
            for line in (
                missing(value, found[key], f"{where}/{key}") if key in found else [f"{where}/{key} is missing"]
            )
        ]
    if where.endswith("first_seq") or "/seqs/" in where:
        # After an end that was not clean numbering goes on above all that may have been told.
        return [] if expected <= found else [f"{where} went back to {found!r} from {expected!r}"]
    return [] if expected == found else [f"{where} is {found!r}, was {expected!r}"]


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept.parent.name}/{kept.name}")
def test_what_an_earlier_version_has_written_is_read(kept: Path, tmp_path: Path) -> None:
    expected = json.loads((kept / "expected.json").read_text(encoding="utf-8"))
    found = contents(copied(kept, tmp_path / "home"), expected["made_ns"])
    for journal in ("breaker", "executor"):
        assert missing(expected[journal], found[journal]) == []


def test_each_version_has_kept_every_case() -> None:
    for version in FOLDER.glob("schema-*"):
        assert {kept.name for kept in version.iterdir()} >= set(CASES), version.name
