"""One client's run of the script: started, watched, judged."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.clients.environments import ROOT
from tests.clients.gateway import GatewayNotStartedError, running_gateway
from tests.clients.messages import every_message

# All steps take a few seconds; a client that hangs in one of them is ended after this.
PLAY_SECS = 90.0
END_SECS = 10.0
GATEWAY_STEP = "the gateway had no complaint"


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one step."""

    name: str
    ok: bool
    ms: int = 0
    detail: str = ""


@dataclass(slots=True)
class Run:
    """What came of one client's script."""

    client: str
    client_version: str = "?"
    server_version: int = 0  # that client and gateway agree on
    steps: list[Step] = field(default_factory=list)
    attempts: int = 1

    @property
    def failed(self) -> bool:
        """Tell whether any step failed."""
        return any(not step.ok for step in self.steps)


def play(client: str, python: Path | str, server_max: int) -> Run:
    """Play the script with one client against a gateway of its own.

    Args:
        client: Its name.
        python: The interpreter of its environment.
        server_max: The newest version that the gateway speaks.
    """
    with TemporaryDirectory(prefix="orderfuse-clients-") as folder:
        home = Path(folder)
        messages = home / "messages.json"
        messages.write_text(json.dumps(every_message()))
        try:
            return _play_with_gateway(client, python, server_max, home, messages)
        except GatewayNotStartedError as error:
            return Run(client, steps=[Step("start", ok=False, detail=str(error))])


def _play_with_gateway(client: str, python: Path | str, server_max: int, home: Path, messages: Path) -> Run:
    with running_gateway(home, server_max) as gateway:
        command = [str(python), "-m", "tests.clients.player", client, str(gateway.port)]
        command += ["--server-max", str(server_max), "--messages", str(messages)]
        output, errors, ended = _watch(command)
    run = judge(client, output, errors, ended=ended)
    # Only now has its log been read to the end.
    complaints = gateway.complaints()
    run.steps.append(Step(GATEWAY_STEP, not complaints, detail="; ".join(complaints)))
    return run


def _watch(command: list[str]) -> tuple[str, str, str]:
    """Run a player to its end or to the deadline; return its output, its errors and how it ended."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            output, errors = process.communicate(timeout=PLAY_SECS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate(timeout=END_SECS)
            return output, errors, f"it was ended after {PLAY_SECS:g} s"
        return output, errors, f"it ended with exit code {process.returncode}"


def judge(client: str, output: str, errors: str, *, ended: str) -> Run:
    """Read a player's lines; a step that it announced and did not play has failed.

    Args:
        client: Its name.
        output: JSON lines.
        errors: What it wrote to stderr, for the detail of what is missing.
        ended: How the process ended, for the same.
    """
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if not lines:
        return Run(client, steps=[Step("start", ok=False, detail=f"{ended}: {errors[-2000:]}")])
    head, *results = lines
    played = {line["step"]: line for line in results}
    run = Run(client, head["version"], head["server_version"])
    for name in head["steps"]:
        line = played.get(name)
        if line is None:
            run.steps.append(Step(name, ok=False, detail=f"not played: {ended}: {errors[-2000:]}"))
        else:
            run.steps.append(Step(name, line["ok"], line["ms"], line["detail"]))
    return run
