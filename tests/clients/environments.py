"""The clients' environments: one each, since two pairs of them install the same top-level modules."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".venv-clients"
REQUIREMENTS = Path(__file__).parent / "requirements"
# numpy on a slow line.
INSTALL_SECS = 600


class InstallError(Exception):
    """An environment cannot be made; the text has pip's own words."""


def prepare(client: str) -> Path:
    """Create or reuse a client's environment and return its interpreter.

    Raises:
        InstallError: It cannot be made.
    """
    requirements = REQUIREMENTS / f"{client}.txt"
    home = HOME / client
    wanted = zlib.crc32(requirements.read_bytes() + sys.version.encode())
    stamp = home / f".installed-{wanted:08x}"
    python = home / "bin" / "python"
    if stamp.exists():
        return python
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run(str(python), *pip, "--requirement", str(requirements))
    stamp.touch()
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECS, check=False)
    except subprocess.TimeoutExpired:
        raise InstallError(f"not within {INSTALL_SECS} s: {' '.join(command)}") from None
    if done.returncode:
        raise InstallError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
