from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderfuse.settings import Settings, load_settings


@pytest.fixture
def home() -> Iterator[Path]:
    # Not tmp_path: a socket's path has room for 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="orderfuse-") as folder:
        yield Path(folder)


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(home, environ={})
