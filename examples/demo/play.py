"""From the settings to the exit code: everything that is started here ends here, however it goes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from examples.demo.incident import Incident
from examples.demo.pipeline import Pipeline
from examples.demo.scene import NotSeen, Scene
from examples.demo.teller import READING_S, Teller
from orderfuse import OrderError, SettingsError, load_settings
from orderfuse.exit_codes import DONE, INTERRUPTED

FAILED = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Short timers, so that a person need not wait. What is not named here has the product's own default.
SETTINGS = {
    # Two pauses for reading pass before step 5 sends its orders; as long again is for a busy machine.
    "ORDERFUSE_BREAKER__OPEN_TIMEOUT_SECS": str(4 * READING_S),
    # The limit of 50 orders a second for a strategy would stop step 9's flood before any person could.
    "ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "1000",
}


class StepFailed(Exception):
    """A step did not happen. The text names it, what was expected and what was seen."""


def main(changed: Mapping[str, str] | None = None) -> int:
    """Play the incident; 0: every step happened, 1: one did not, 130: ended by a signal.

    Args:
        changed: variables that are set otherwise than the demo would, to see what it says then.
    """
    try:
        home = Path(tempfile.mkdtemp(prefix="orderfuse-demo-"))
    except OSError as error:
        return _refuse(f"there is no folder for temporary files: {error}; set TMPDIR to one")
    keep_logs = False
    try:
        _use_only(_demo_settings(home) | dict(changed or {}))
        _play(home)
    except StepFailed as failed:
        keep_logs = True
        return _refuse(f"{failed}; the logs are in {home}")
    except SettingsError as error:
        return _refuse(f"{error} The demo makes that folder where TMPDIR says")
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted; everything that it started has ended\n")
        return INTERRUPTED
    finally:
        if not keep_logs:
            shutil.rmtree(home, ignore_errors=True)
    return DONE


def _play(home: Path) -> None:
    """Play all steps. When it returns or raises, every process that it started has ended."""
    pipeline = Pipeline(home)
    tell = Teller()
    _on_signals(signal.default_int_handler)
    try:
        _play_steps(pipeline, tell)
    finally:
        # A second ctrl-C must not keep the first one from ending everything.
        _on_signals(signal.SIG_IGN)
        pipeline.stop()
    tell.end()


def _play_steps(pipeline: Pipeline, tell: Teller) -> None:
    heading = "Preparing"
    try:
        with Scene(pipeline, load_settings(), tell) as scene:
            steps = Incident(scene).steps()
            for number, (heading, step) in enumerate(steps, 1):
                tell.step(number, len(steps), heading)
                step()
    except (NotSeen, OrderError, OSError, zmq.ZMQError) as error:
        ended = pipeline.ended()
        raise StepFailed(f"the step '{heading}' did not happen: {error}{ended and f'; {ended}'}") from error


def _demo_settings(home: Path) -> dict[str, str]:
    """Every variable that the demo sets: a home and a port of its own, the gateway's record, short timers."""
    port = str(_free_port())
    return {
        "ORDERFUSE_HOME": str(home),
        "ORDERFUSE_PAPER__PORT": port,
        "ORDERFUSE_PAPER__WIRE_RECORD": str(home / "wire.jsonl"),
        "ORDERFUSE_IB__PORT": port,
        **SETTINGS,
    }


def _use_only(variables: Mapping[str, str]) -> None:
    """Set these for this process and those it starts, and none of the user's own: they may name a real account."""
    for name in [name for name in os.environ if name.startswith("ORDERFUSE_")]:
        del os.environ[name]
    os.environ.update(variables)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _on_signals(handler: Callable[..., Any] | signal.Handlers) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _refuse(text: str) -> int:
    sys.stderr.write(f"demo: {text}\n")
    return FAILED
