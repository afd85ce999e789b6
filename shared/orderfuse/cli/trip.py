"""A person's stop: the file first, then the breaker; whatever is asked or told comes after it.

The file `STOP` is a stop that no breaker need have taken. It is taken away again only where the breaker has answered
that its latch is on the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orderfuse.cli.exits import done_already, fail, uninterrupted
from orderfuse.cli.preview import after_trip, after_trip_at_ib
from orderfuse.cli.reasons import who, why_afterwards
from orderfuse.cli.show import clean, say, say_json, stdin_is_a_person, warn
from orderfuse.cli.status import SYSTEM
from orderfuse.client.control import ControlClient
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.exit_codes import DONE, NOTHING_ANSWERS, REFUSED
from orderfuse.home import why
from orderfuse.settings import SettingsError, load_settings
from orderfuse.stopfile import Made, StopFile

# A trip answers once the executor has confirmed the fence or its lease (500 ms) has run out.
TRIP_TIMEOUT_S = 2.0
NO_REASON_YET = "no reason given yet"


def stop_now(home: Path, scope: str, reason: str, cancel: str | None, *, as_json: bool = False) -> None:
    """Stop, say what is stopped, and only then ask a person who has given no reason why; with `as_json` ask nobody.

    Raises:
        typer.Exit: nothing is stopped, or nobody knows whether it is.
    """
    hand = HandStop(home, scope)
    with uninterrupted() as interrupted:
        hand.stop(reason, cancel)
        if as_json:
            with done_already():
                say_json(hand.facts())
        if hand.at is None:
            fail(hand.code, hand.complaint())
        if not as_json:
            with done_already():
                say(*hand.told())
        for warning in hand.warnings():
            warn(warning)
        if as_json:
            return
        if hand.reply is not None:
            with done_already(), contextlib.suppress(SettingsError):
                _tell_of_orders_at_ib(home, scope, cancel)
        with done_already():
            say(f"-> find the cause, then: orderfuse reset{'' if scope == SYSTEM else f' --scope {scope}'}")
    if not (reason or interrupted) and stdin_is_a_person():
        with contextlib.suppress(KeyboardInterrupt):
            _ask_why_afterwards(hand)


def _tell_of_orders_at_ib(home: Path, scope: str, cancel: str | None) -> None:
    settings = load_settings(home, create_home=False)
    with ControlClient(settings) as control:
        say(*after_trip_at_ib(control, scope, cancel, settings))


def _ask_why_afterwards(hand: HandStop) -> None:
    reason = why_afterwards()
    with uninterrupted(), done_already():
        say(*(hand.explain(reason) if reason else ["no reason given: the stop stands"]))


@dataclass(slots=True)
class HandStop:
    """One person's stop of one scope, and what has come of it.

    Attributes:
        home: the home folder, which need not be there.
        scope: `system`, or `strategy:<id>`, which has no file.
        at: since when it holds; None while nothing is stopped.
        reply: what the breaker answered; None if it did not, and `no_reply` says why.
        code: the exit code that this is worth.
    """

    home: Path
    scope: str
    at: datetime | None = None
    reply: dict[str, Any] | None = None
    no_reply: str = ""
    code: int = DONE
    _file: StopFile = field(init=False)
    # As we left it, while it is ours to take away.
    _made: Made | None = None
    # Why a file stands there now; empty if none does.
    _stands: str = ""
    # Why it could not be made; empty if it could, or if none is wanted.
    _no_file: str = ""
    _reason: str = ""

    def __post_init__(self) -> None:
        self._file = StopFile(self.home)

    def stop(self, reason: str, cancel: str | None) -> None:
        """Make the file, trip, and remove the file again if it is no longer needed. Raises nothing."""
        self._reason = reason
        if self.scope == SYSTEM:
            self._make_file(reason or NO_REASON_YET)
        refused = self._trip(reason or NO_REASON_YET, cancel)
        if self.at is None:
            self.code = REFUSED if refused else NOTHING_ANSWERS

    def explain(self, reason: str) -> list[str]:
        """Give a stop that stands its reason, the same way; returns what has become of that. Nothing is raised."""
        unheard = self.reply is None
        written = self._rewrite_file(reason)
        # The first request has said what to cancel.
        self._trip(reason, "none")
        if not self.no_reply:
            return [*self.told()] if unheard else ["the breaker has the reason"]
        if written:
            return [f"the reason stands in the file {self._path}, for the breaker when it comes back"]
        return [f"the stop stands, but its reason could not be given: {self.no_reply}"]

    # -- what to say --------------------------------------------------------------------------------------

    def told(self) -> Iterator[str]:
        """What is stopped, and since when."""
        assert self.at is not None  # noqa: S101 - of what is not stopped there is a complaint
        since = f"stopped at {self.at:%H:%M:%S} UTC"
        by_file = f"{since} by the file {self._path}: no order passes"
        if self.reply is None:
            yield f"{by_file}; {self.no_reply}"
            if self._reason and self._made is None:
                yield "YOUR REASON IS NOT KEPT, the file has its own: give it again when a breaker answers"
            yield "what works at IB goes on working; to cancel everything there: orderfuse panic"
        elif self._stands and self.reply.get("warning"):
            yield f"{by_file}; the breaker has tripped {self.scope} too, but warns: {clean(self.reply['warning'])}"
        else:
            yield f"{since}: {self.scope} is OPEN and latched, generation {clean(self.reply.get('generation'))}"
        if self.reply is not None:
            yield from after_trip(self.reply)
        if self._stands:
            yield f"the file {self._path} {self._stands}: a reset of system removes it"

    def warnings(self) -> Iterator[str]:
        """What makes this stop weaker than it looks."""
        if self._no_file:
            yield (
                f"the file {self._path} could not be made: {self._no_file}. Only the breaker knows of this stop, "
                "and a restart may forget it"
            )
        if self.reply is None and not any(self.home.glob("*.sqlite")):
            yield (
                f"neither a breaker nor an executor has ever run with the home {clean(self.home)}: if yours has "
                "another one, IT IS NOT STOPPED. Name that one: --home, or ORDERFUSE_HOME"
            )
        if self.reply and self.reply.get("warning") and not self._stands:
            yield clean(self.reply["warning"])

    def facts(self) -> dict[str, Any]:
        """The same as a map for programs: what the breaker answered, whether and by what it is stopped, and since when.

        `ok` is the breaker's answer. Where the file stops, `stopped` is true without it.
        """
        warned = clean(self.reply.get("warning")) if self.reply else ""
        holding = {"breaker": self.reply is not None, "file": bool(self._stands)}
        return {
            **({"ok": False, "error": self.no_reply} if self.reply is None else self.reply),
            "scope": self.scope,
            "stopped": self.at is not None,
            "stopped_at": self.at.isoformat() if self.at else None,
            "stopped_by": [name for name, holds in holding.items() if holds],
            "file": str(self._file.path) if self._stands else None,
            "warnings": [*dict.fromkeys([*self.warnings(), *([warned] if warned else [])])],
        }

    def complaint(self) -> str:
        """That nothing is stopped, and what to do."""
        if self.scope != SYSTEM:
            return f"NOT STOPPED: {self.no_reply}. What stops everything, with or without a breaker: orderfuse trip"
        return (
            f"NOT STOPPED: the file {self._path} could not be made ({self._no_file}), and {self.no_reply.rstrip('?')}. "
            "Orders may pass. What cancels everything at IB: orderfuse panic. What ends all trading by programs: "
            "end TWS or IB Gateway, or switch off its API"
        )

    @property
    def _path(self) -> str:
        return clean(self._file.path)

    # -- the steps ----------------------------------------------------------------------------------------

    def _make_file(self, reason: str) -> None:
        try:
            self._made = self._file.make(reason)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            self._no_file = f"there is no folder {clean(self.home)}" if missing else why(error)
        else:
            self._stands = "stays" if self._made else "was there already and stays"
            self.at = datetime.now(UTC)

    def _rewrite_file(self, reason: str) -> bool:
        if self._made is None:
            return False
        try:
            self._made = self._file.rewrite(self._made, reason)
        except OSError:
            # Whatever stands there now is not what we made.
            self._made = None
        return self._made is not None

    def _trip(self, reason: str, cancel: str | None) -> bool:
        """Ask the breaker; returns whether it refused."""
        try:
            # Loaded only now: no setting, however wrong, may keep the file from being made.
            with ControlClient(load_settings(self.home, create_home=False)) as control:
                reply = control.request(
                    "trip", timeout_s=TRIP_TIMEOUT_S, reason=reason, scope=self.scope, cancel=cancel, who=who()
                )
        except ControlRefused as error:
            self.no_reply = f"the breaker refused{f' ({error.code})' if error.code else ''}: {error.reason}"
            return True
        except BreakerUnavailable as error:
            self.no_reply = str(error)
        except SettingsError as error:
            self.no_reply = f"the breaker was not asked: {str(error).removesuffix('.')}"
        except Exception as error:  # noqa: BLE001 - whatever it is: the file stands, and that must be told
            self.no_reply = f"the breaker could not be asked: {type(error).__name__}: {error}"
        else:
            self.reply, self.no_reply = reply, ""
            self.at = self.at or datetime.now(UTC)
            self._take_file_back()
        return False

    def _take_file_back(self) -> None:
        """The breaker's latch is on the disk, unless it warns: then the file is what lasts."""
        if self._made is None or (self.reply and self.reply.get("warning")):
            return
        try:
            gone = self._file.take_back(self._made) or self._file.look() is None
            self._stands = "" if gone else "is somebody else's by now and stays"
        except OSError as error:
            self._stands = f"cannot be removed now ({why(error)}) and stays"
        self._made = None
