"""The breaker's real process, and peers that know only pyzmq, msgpack and the protocol."""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0
STOCK = {"secType": "STK", "symbol": "SPY", "exchange": "SMART", "currency": "USD"}
BUY = {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}
GATEWAY = {"host": "h", "port": 1, "connected": True, "usable": True, "account": "DU1", "detail": ""}


class Deadline:
    """So many seconds from now; a test that waits for something waits no longer."""

    def __init__(self, secs=DEADLINE_S):
        self._end = time.monotonic() + secs

    def left_ms(self):
        return max(0, round((self._end - time.monotonic()) * 1000))

    def over(self):
        return time.monotonic() >= self._end


class Home:
    """A home folder with a short path, and the breakers that were started on it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="of-")
        self.path = Path(self._folder.name)
        self.processes: list[Any] = []
        self.peers: list[Any] = []

    def close(self):
        for peer in self.peers:
            peer.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self._folder.cleanup()

    def start(self, *, may_open=None, **variables):
        """Start a breaker; nothing is waited for. `may_open`: the hard limit of its open files."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
        limited = ["/bin/sh", "-c", f'ulimit -n {may_open} && exec "$@"', "sh"] if may_open else []
        process = subprocess.Popen(
            [*limited, sys.executable, "-W", "error", "-m", "services.breaker"],
            cwd=ROOT,
            env={**environ, "ORDERFUSE_HOME": str(self.path), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def serve(self, **variables):
        """Start a breaker and wait until it answers."""
        process = self.start(**variables)
        self.peer().status()
        return process

    def program(self, code):
        """Start another program."""
        program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        self.processes.append(program)
        return program

    def peer(self, strategy_id="raw"):
        peer = Peer(self.path, strategy_id)
        self.peers.append(peer)
        return peer

    def executor(self, **options):
        executor = RawExecutor(self.path, **options)
        self.peers.append(executor)
        return executor


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_S)


def run_to_the_end(process):
    """Exit code and what it wrote to stderr."""
    _, text = process.communicate(timeout=DEADLINE_S)
    return process.returncode, text


class Peer:
    """A strategy and an operator."""

    def __init__(self, home, strategy_id):
        self.home, self.strategy_id = home, strategy_id
        self._ids = itertools.count(1)
        self.context = zmq.Context()
        # Kept: a socket that is collected before it is closed is a warning.
        self.sockets = []
        self.events = self.socket(zmq.SUB, "events")
        self.events.setsockopt(zmq.RCVHWM, 0)
        self.events.subscribe(b"")
        self.orders = self.socket(zmq.XPUB, "orders", {zmq.IMMEDIATE: 1, zmq.XPUB_NODROP: 1})
        self.control = self.socket(zmq.DEALER, "control")
        self.seen = []

    def socket(self, kind, link, options=None):
        socket = self.context.socket(kind)
        for option, value in {zmq.LINGER: 0, zmq.RECONNECT_IVL: 20, **(options or {})}.items():
            socket.setsockopt(option, value)
        socket.connect(f"ipc://{self.home}/links/{link}")
        self.sockets.append(socket)
        return socket

    def close(self):
        self.context.destroy(linger=0)

    # -- control -------------------------------------------------------------------------------------------

    def ask(self, op, **fields):
        """A request and its reply."""
        request_id = f"r-{next(self._ids)}"
        self.control.send(msgpack.packb({"v": 1, "kind": "request", "op": op, "id": request_id, **fields}))
        return self.reply_to(request_id)

    def reply_to(self, request_id, secs=DEADLINE_S):
        deadline = Deadline(secs)
        while not deadline.over():
            if self.control.poll(deadline.left_ms()):
                reply = msgpack.unpackb(self.control.recv_multipart()[-1])
                if reply["id"] == request_id:
                    return reply
        raise AssertionError(f"no reply to {request_id}")

    def status(self):
        return self.ask("status")

    # -- orders and events ---------------------------------------------------------------------------------

    def ready(self):
        """Wait for the breaker's subscription and for a first state."""
        assert self.orders.poll(round(DEADLINE_S * 1000)), "no breaker subscribed"
        assert self.orders.recv() == b"\x01order"
        self.until(lambda event: event["kind"] == "state")

    def submit(self, order_id, **changes):
        fields = {
            "v": 1,
            "kind": "submit",
            "order_id": order_id,
            "strategy_id": self.strategy_id,
            "sent_ns": time.time_ns(),
            "contract": STOCK,
            "order": BUY,
            **changes,
        }
        self.orders.send_multipart([b"order", msgpack.packb(fields)])

    def read(self, wait_ms):
        """One more event into `seen`; None if none came."""
        if not self.events.poll(wait_ms):
            return None
        topic, payload = self.events.recv_multipart()
        event = {"topic": topic.decode(), **msgpack.unpackb(payload)}
        self.seen.append(event)
        return event

    def until(self, fits, secs=DEADLINE_S):
        """The first event that fits, seen already or still to come."""
        for event in self.seen:
            if fits(event):
                return event
        deadline = Deadline(secs)
        while not deadline.over():
            event = self.read(deadline.left_ms())
            if event is not None and fits(event):
                return event
        raise AssertionError(f"the event did not come; the last ones: {self.seen[-5:]}")

    def event(self, order_id, kind=None):
        return self.until(lambda e: e.get("order_id") == order_id and kind in (None, e["kind"]))

    def allowed(self):
        """Wait until the system's circuit says that trading is allowed."""
        self.seen.clear()
        return self.until(lambda e: e["kind"] == "state" and e["scope"] == "system" and e["trading_allowed"])


class RawExecutor:
    """An executor in a thread: joins, keeps its lease, confirms fences, and accepts what it gets if told to."""

    def __init__(self, home, *, executor_id="exec-1", journal_id="journal-1", accepts=True):
        self.home, self.executor_id, self.journal_id, self.accepts = home, executor_id, journal_id, accepts
        self.placed, self.messages, self.fence, self.seq = [], [], 0, 0
        self.unanswered = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(DEADLINE_S)

    def _run(self):
        context = zmq.Context()
        self._dispatch, self._feedback = context.socket(zmq.DEALER), context.socket(zmq.PUSH)
        for socket, link in ((self._dispatch, "dispatch"), (self._feedback, "feedback")):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RECONNECT_IVL, 20)
            socket.connect(f"ipc://{self.home}/links/{link}")
        joined, nonce, next_word = False, 0, 0.0
        while not self._stop.is_set():
            if time.monotonic() >= next_word:
                next_word = time.monotonic() + 0.1
                nonce += 1
                hello = {"kind": "hello", "feedback_last": 2**62}
                word = {"kind": "lease_request", "nonce": nonce} if joined else hello
                self._say(gateway=GATEWAY, journal_id=self.journal_id, **word)
            if not self._dispatch.poll(20):
                continue
            message = msgpack.unpackb(self._dispatch.recv())
            self.messages.append(message)
            joined = self._take(message, joined)
        context.destroy(linger=0)

    def _say(self, **fields):
        self._dispatch.send(msgpack.packb({"v": 1, "executor_id": self.executor_id, **fields}))

    def _take(self, message, joined):
        match message["kind"]:
            case "welcome":
                self.fence = message["fence"]
                self._say(kind="joined", fence=self.fence, known=message["doubtful"])
                self.seq = max(self.seq, message["feedback_after"])
                return True
            case "not_welcome":
                return False
            case "fence":
                self.fence = message["fence"]
                self._say(kind="fenced", fence=self.fence, written=list(self.unanswered))
            case "place" if message["fence"] == self.fence:
                self.placed.append(message)
                self.unanswered.append(message["order_id"])
                if self.accepts:
                    self._accept(message)
        return joined

    def _accept(self, place):
        self.seq += 1
        ids = {"order_id": place["order_id"], "strategy_id": place["strategy_id"]}
        fact = {"kind": "accepted", **ids, "ib_order_id": 1, "perm_id": 2, "status": "Submitted"}
        self._feedback.send(
            msgpack.packb({"v": 1, "kind": "feedback", "journal_id": self.journal_id, "seq": self.seq, "fact": fact})
        )
        self.unanswered.remove(place["order_id"])
