"""The wheel of this checkout, and an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.processes.pipeline.pipeline import ROOT
from tests.processes.wheel.packed import pack

# Building, installing and checking take seconds each; a busy machine may need many times that.
DEADLINE_S = 100


@dataclass(frozen=True)
class Installed:
    """An environment in a folder of its own, far from the checkout, with the wheel and what it needs."""

    wheel: Path
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *words: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One of its programs, which knows nothing of the checkout."""
        own = ("ORDERFUSE_", "PYTHON", "MYPY")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        if home is not None:
            environ["ORDERFUSE_HOME"] = str(home)
        return subprocess.run(
            [str(word) for word in words],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def install(self, extra: str = "") -> None:
        """The wheel, and what it says that it needs."""
        with tempfile.TemporaryDirectory(prefix="of-packed-") as folder:
            pack(requirements_of(self.wheel), extra, Path(folder))
            wanted = f"{self.wheel}[{extra}]" if extra else str(self.wheel)
            pip("--python", str(self.python), "install", "--no-index", "--find-links", folder, wanted)


@pytest.fixture(scope="session")
def wheel() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="of-wheel-") as folder:
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, str(ROOT))
        (built,) = Path(folder).iterdir()
        yield built


@pytest.fixture(scope="session")
def installed(wheel: Path) -> Iterator[Installed]:
    with tempfile.TemporaryDirectory(prefix="of-user-") as folder:
        venv.create(folder, symlinks=True)
        environment = Installed(wheel, Path(folder))
        environment.install()
        yield environment


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def requirements_of(wheel: Path) -> list[str]:
    return list(metadata_of(wheel).get_all("Requires-Dist", []))


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
