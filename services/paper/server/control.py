"""The control socket: one JSON request and one JSON reply a line, to arm faults and to look inside."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from loguru import logger

from services.paper.faults.armed import ArmedFaults, TooManyFaultsError
from services.paper.faults.families import Fault, FaultError
from services.paper.faults.kinds import describe_kinds, fields_of, in_json, kind_of, make_fault
from services.paper.market.instruments import UnknownContractError
from services.paper.wire.record import WireRecord

# A request is a handful of short values.
MAX_LINE_BYTES = 64 * 1024
# Beyond a person and a few scripts nobody talks here at the same time.
MAX_PEERS = 32
# What may wait for a follower that does not read: some thousands of messages.
MAX_FOLLOW_BYTES = 4 << 20


class Controlled(Protocol):
    """What commands act on: the gateway."""

    faults: ArmedFaults
    record: WireRecord

    def status(self) -> dict[str, Any]:
        """Return counts for people and tests."""

    def play(self, fault: Fault) -> None:
        """Arm a fault, or let it happen."""


class ControlError(Exception):
    """A request that cannot be done; the text says what to change."""


class SocketInUseError(Exception):
    """Another gateway answers on the control socket."""


class ControlSocket:
    """Serves requests on a unix socket.

    Args:
        path: Where the socket is; its folder is created with mode 0700.
        gateway: What commands act on.
    """

    def __init__(self, path: Path, gateway: Controlled) -> None:
        self._path = path
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.StreamWriter] = set()
        self._ops: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "clear": self._clear,
            "fault": self._fault,
            "faults": self._list,
            "follow": self._follow,
            "reject": self._reject,
            "status": self._report,
        }

    async def start(self) -> None:
        """Listen.

        Raises:
            SocketInUseError: A living process listens there already.
            OSError: The socket cannot be made.
        """
        path = self._path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)
        except OSError:
            listener.close()
            raise

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._peers):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._peers) >= MAX_PEERS:
            writer.close()
            return
        self._peers.add(writer)
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    reply = {"ok": False, "error": f"a line is longer than {MAX_LINE_BYTES} bytes"}
                    writer.write(json.dumps(reply).encode() + b"\n")
                    await writer.drain()
                    return
                if not line:
                    return
                reply = self.answer(line)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
                if reply.get("following"):
                    await self._stream(reader, writer)
                    return
        except ConnectionError:
            # Whoever asked has gone; there is nobody to tell.
            return
        finally:
            self._peers.discard(writer)
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the reply to one request line."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": 'not JSON; send one object a line, such as {"op": "status"}'}
        if not isinstance(request, dict):
            return {"ok": False, "error": 'not an object; send, for example, {"op": "status"}'}
        name = request.pop("op", None)
        op = self._ops.get(name) if isinstance(name, str) else None
        if op is None:
            return {"ok": False, "error": f"op is {in_json(name)}; known are {', '.join(sorted(self._ops))}"}
        try:
            return {"ok": True, **op(request)}
        except (ControlError, FaultError, TooManyFaultsError, UnknownContractError) as error:
            return {"ok": False, "error": str(error)}

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write every message of the wire as a line, until the other side closes or does not read."""
        followers = self._gateway.record.followers

        def follow(line: bytes) -> None:
            if writer.transport.get_write_buffer_size() > MAX_FOLLOW_BYTES:
                followers.discard(follow)
                logger.warning("dropped a follower of the wire record: it does not read")
                error = {"ok": False, "error": f"dropped: more than {MAX_FOLLOW_BYTES} bytes waited to be read"}
                writer.write(json.dumps(error).encode() + b"\n")
                writer.close()
            else:
                writer.write(line)

        followers.add(follow)
        try:
            while await reader.read(MAX_LINE_BYTES):
                continue
        finally:
            followers.discard(follow)

    def _reject(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._play(make_fault("reject", request))

    def _fault(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, texts = request.pop("kind", None), request.pop("texts", None)
        if texts is None:
            return self._play(make_fault(kind, request))
        _no_more(request, "kind, texts")
        if not isinstance(texts, dict):
            raise ControlError(f"texts is {in_json(texts)}; allowed is an object with text for each field")
        return self._play(make_fault(kind, texts, as_text=True))

    def _play(self, fault: Fault) -> dict[str, Any]:
        self._gateway.play(fault)
        logger.info("armed: {} {}", kind_of(fault), fields_of(fault))
        return {"played": {"kind": kind_of(fault), **fields_of(fault)}, "armed": self._gateway.faults.armed()}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        _no_more(request, "none")
        return {"faults": describe_kinds()}

    def _follow(self, request: dict[str, Any]) -> dict[str, Any]:
        _no_more(request, "none")
        return {"following": True}

    def _clear(self, request: dict[str, Any]) -> dict[str, Any]:
        _no_more(request, "none")
        count = self._gateway.faults.clear()
        logger.info("disarmed {} faults", count)
        return {"cleared": count}

    def _report(self, request: dict[str, Any]) -> dict[str, Any]:
        _no_more(request, "none")
        faults = self._gateway.faults
        return {**self._gateway.status(), "armed": faults.armed(), "struck": dict(faults.injected)}


def _remove_stale(path: Path) -> None:
    """Remove a socket that a dead process left; a living one is an error."""
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_socket():
        raise SocketInUseError(f"{path} exists and is not a socket; move it away")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        # 1 s: a living gateway accepts in the kernel, without doing anything.
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                path.unlink(missing_ok=True)
                return
            raise
    raise SocketInUseError(f"another paper gateway answers on {path}; stop it first")


def _no_more(request: dict[str, Any], known: str) -> None:
    if request:
        raise ControlError(f"unknown: {', '.join(map(in_json, sorted(request)))}; known for this op: {known}")
