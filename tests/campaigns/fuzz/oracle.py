"""What must hold while garbage comes: the processes, their memory and files, the circuits, the logs, the wire."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz.corpus import STRATEGY
from tests.campaigns.fuzz.hostile import HONEST, REPLACER
from tests.campaigns.fuzz.validity import Orders
from tests.processes.pipeline.pipeline import SERVICES, Pipeline
from tests.processes.pipeline.raw import RawProgram

# Loading, caches and the pools of the allocator settle in the first seconds; from then on memory is flat.
# The allowance is what the allocator keeps of a burst (a frame of 4 MB is read before it is refused) ...
GROWTH_MB = 24.0
# ... beside floods, what waits in queues: 10,000 events, some 7 MB, for each of twenty subscribers that read nothing,
# and 16 replies of 256 KiB for each of fifty programs that read none ...
GROWTH_BESIDE_FLOODS_MB = 512.0
# ... and what each order leaves behind: the gateway keeps the day's book, the executor its latest 10,000.
GROWTH_KB_PER_ORDER = 6.0
# Connections that are on their way in or out when we look; those left open are counted by themselves.
GROWTH_FILES = 24
# A connection whose program is gone is closed when what came over it is read: on a busy machine that takes a while.
# One that leaks stays.
CLOSING_SECS = 10.0
# An order takes a few milliseconds; without a fill for so long the honest strategy is held up.
FILL_SECS = 30.0
# Control is served before anything else: an answer takes milliseconds, also to a trip, and also under a flood. On a
# machine that is busy, a flooder beside it, it takes a second.
ANSWER_SECS = 5.0
# A reason has at most 500 characters, a line says it with what it is about.
LINE_CHARACTERS = 1000
# Each order is told of in at most so many lines, each circuit moved by hand likewise ...
LINES_PER_EVENT = 12
# ... and garbage in one line in 10 s, whatever comes.
LINES_PER_SEC = 0.5
LINES_AT_THE_START = 60


class Honest:
    """A strategy that buys a share and sells it, time and again. Its orders are valid, so each must pass and fill."""

    def __init__(self, program: RawProgram) -> None:
        self._program = program
        self._order_id = ""
        self._heard: list[str] = []
        self.fills = self.held_up = 0
        self.filled_at = time.monotonic()
        self.complaints: list[str] = []

    def step(self) -> None:
        """Hear what has come, and order again if the last order has its end."""
        if not self._order_id:
            # Whoever only bought would come to the end of its margin.
            order = {"action": ("BUY", "SELL")[self.fills % 2], "orderType": "MKT", "totalQuantity": 1}
            self._order_id, self._heard = self._program.submit(ttl_ms=30_000, order=order), []
        while (event := self._program.next_event(0)) is not None:
            if event.get("order_id") == self._order_id:
                self._heard.append(event["kind"])
                self._take(event)
        # Nobody asks for the past.
        self._program.seen.clear()

    def lasts_too_long(self) -> str:
        """What is wrong if no order was filled for some time; empty otherwise."""
        if time.monotonic() - self.filled_at <= FILL_SECS:
            return ""
        return (
            f"no order of the honest strategy was filled for {FILL_SECS:g} s; of {self._order_id or 'none'} it has "
            f"heard: {', '.join(self._heard) or 'nothing'}"
        )

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "filled" and event["done"]:
            self.fills += 1
            self.filled_at = time.monotonic()
        elif kind == "not_placed" and event["code"] in ("fenced", "lease"):
            # A trip of any circuit makes what is on its way void, so that of the fuzzer's own does; and on a
            # machine that has no time for the breaker, the executor waits for its lease.
            self.held_up += 1
        elif kind not in ("blocked", "invalid", "expired", "rejected", "cancelled", "not_placed", "unknown"):
            return
        else:
            self.complaints.append(f"an order of the honest strategy was {kind}: {event}")
        self._order_id = ""


class Oracle:
    """Looks again and again, and says what is wrong. `orders` knows which orders may be at the gateway."""

    def __init__(self, pipeline: Pipeline, program: RawProgram, orders: Orders) -> None:
        self._pipeline, self._program, self._orders = pipeline, program, orders
        self.honest = Honest(program)
        self._wire_at = 0
        self._log_at = dict.fromkeys(SERVICES, 0)
        self.lines = dict.fromkeys(SERVICES, 0)
        self._started = time.monotonic()
        self._circuits = self._read_circuits()
        self.placed = self.moved_by_hand = 0
        self.memory_mb: dict[str, list[float]] = {}
        self.growth_mb = GROWTH_MB
        self._files: dict[str, int] = {}
        self._placed_at_warm = 0
        self.slowest_answer_s = 0.0

    @property
    def home(self) -> Path:
        """Where the pipeline is."""
        return self._pipeline.home

    def warm(self) -> None:
        """From now on memory and open files are flat."""
        self.memory_mb = {name: [memory_mb(self._pid(name))] * 2 for name in SERVICES}
        self._files = {name: open_files(self._pid(name)) for name in SERVICES}
        self._placed_at_warm = self.placed

    def quick_look(self) -> list[str]:
        """What is asked after every few messages: who lives, who answers, who has moved."""
        dead = [
            f"the {name} process ended with {process.poll()}"
            for name, process in self._pipeline.processes.items()
            if process.poll() is not None
        ]
        if dead:
            return dead
        try:
            with self.answering():
                circuits = self._read_circuits()
        except AssertionError as error:
            return [f"control does not answer: {error}"]
        complaints = [
            f"the circuit {scope} was {before}, now it is {circuits.get(scope)}"
            for scope, before in self._circuits.items()
            if circuits.get(scope) != before
        ]
        if late := self.honest.lasts_too_long():
            complaints.append(late)
        if self.slowest_answer_s > ANSWER_SECS:
            complaints.append(f"an answer on control took {self.slowest_answer_s:.1f} s, allowed are {ANSWER_SECS:g}")
        return complaints + self.honest.complaints

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Take the time of an answer on control."""
        asked = time.monotonic()
        yield
        self.slowest_answer_s = max(self.slowest_answer_s, time.monotonic() - asked)

    def long_look(self, *, connections: int = 0) -> list[str]:
        """What takes longer: memory, files, logs, the wire. `connections` are open on purpose."""
        return [*self._wire(), *self._logs(), *self._growth(connections)]

    def _pid(self, name: str) -> int:
        return self._pipeline.processes[name].pid

    def _read_circuits(self) -> dict[str, tuple[Any, ...]]:
        """State and generation of every circuit but the fuzzer's own ones."""
        circuits = self._program.request("status")["circuits"]
        return {
            at["scope"]: (at["state"], at["generation"], tuple(at["conditions"]))
            for at in circuits
            if at["scope"] in ("system", f"strategy:{HONEST}")
        }

    def _wire(self) -> list[str]:
        complaints = []
        data, self._wire_at = _more_of(self._pipeline.wire_record, self._wire_at)
        for line in data.splitlines():
            entry = json.loads(line)
            if entry["dir"] != "in" or entry["message"] != "placeOrder":
                continue
            self.placed += 1
            if not entry["fields"]["orderRef"].startswith((f"{HONEST}-", f"{REPLACER}-")):
                complaints.append(self._orders.complaint(entry["fields"]))
        return [text for text in complaints if text]

    def _logs(self) -> list[str]:
        complaints = []
        secs = time.monotonic() - self._started
        allowed = LINES_AT_THE_START + LINES_PER_SEC * secs + LINES_PER_EVENT * (self.placed + self.moved_by_hand)
        for name in SERVICES:
            data, self._log_at[name] = _more_of(self._pipeline.home / f"{name}.log", self._log_at[name])
            lines = data.splitlines()
            self.lines[name] += len(lines)
            complaints += [f"{name}.log: {line[:300]}" for line in lines if "Traceback" in line or "Error:" in line]
            complaints += [
                f"{name}.log has a line of {len(at)}: {at[:200]}" for at in lines if len(at) > LINE_CHARACTERS
            ]
            complaints += [f"{name}.log: {at!r}" for at in lines if not at.isprintable()]
            if self.lines[name] > allowed:
                complaints.append(f"{name}.log has {self.lines[name]} lines, allowed are {allowed:.0f}")
        return complaints

    def _growth(self, connections: int) -> list[str]:
        complaints = []
        per_order = GROWTH_KB_PER_ORDER / 1024 * (self.placed - self._placed_at_warm)
        for name, (first, _) in self.memory_mb.items():
            self.memory_mb[name][1] = now = memory_mb(self._pid(name))
            if now > first + self.growth_mb + per_order:
                complaints.append(f"{name} has grown from {first:.0f} to {now:.0f} MB")
            allowed = self._files[name] + GROWTH_FILES + connections
            deadline = time.monotonic() + CLOSING_SECS
            while (files := open_files(self._pid(name))) > allowed and time.monotonic() < deadline:
                time.sleep(0.1)
            if files > allowed:
                complaints.append(f"{name} had {self._files[name]} open files, now {files}")
        return complaints


def _more_of(path: Path, at: int) -> tuple[str, int]:
    """The whole lines that a file has got since, and where they end."""
    if not path.exists():
        return "", at
    with path.open("rb") as file:
        file.seek(at)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", "backslashreplace"), at + end


def memory_mb(pid: int) -> float:
    """What the process holds in memory (RSS)."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
    return int(shown.stdout or 0) / 1024


def open_files(pid: int) -> int:
    """How many descriptors the process has open; 0 where the system does not tell another process."""
    folder = Path(f"/proc/{pid}/fd")
    return len(list(folder.iterdir())) if sys.platform.startswith("linux") else 0


def reset_the_fuzzers_circuit(oracle: Oracle, program: RawProgram, *, cancel: bool) -> None:
    """As a person would, so that its orders go on passing; `cancel`: what works of them goes, too."""
    scope = f"strategy:{STRATEGY}"
    oracle.moved_by_hand += 1
    if cancel:
        with oracle.answering():
            program.request("trip", scope=scope, reason="fuzzing", cancel="ours_with_protective")
    with oracle.answering():
        program.request("reset", scope=scope, reason="fuzzing")
