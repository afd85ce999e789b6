"""Who is at the other end of a connection that libzmq has accepted, and ending such a connection.

libzmq tells the descriptor of each connection, and closes it on a thread of its own: the number may be another file's
a moment later. So it is looked at through a copy, which stays what it is, and nothing is ended that is not a connection
of the same process to the same listener.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

# Where the system keeps the pid of the process that connected: level, option, layout of the answer. Linux: unix(7),
# SO_PEERCRED (pid, uid, gid); macOS: sys/un.h, LOCAL_PEERPID at SOL_LOCAL.
_PEER_PID = {
    "linux": (socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", 17), "=iII"),
    "darwin": (0, 2, "=i"),
}


def pid_of(descriptor: int) -> int | None:
    """The process at the other end of a connection on ipc; None: it has ended, or the system does not tell.

    A process that lives where the pid means nothing here (another container) is not told either.
    """
    try:
        with socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            return pid_at(connection)
    except OSError:
        return None


def pid_at(connection: socket.socket) -> int | None:
    """The same of a connection of our own.

    Raises:
        OSError: it is none.
    """
    if sys.platform not in _PEER_PID:
        return None
    level, option, layout = _PEER_PID[sys.platform]
    answer = connection.getsockopt(level, option, struct.calcsize(layout))
    pid: int = struct.unpack(layout, answer)[0]
    return pid or None


def cut_off(descriptor: int, pid: int | None, listener: str, *, discard: bool = False) -> None:
    """End a connection at once: libzmq sees that its peer has gone.

    Args:
        descriptor: the connection.
        pid: the process that it is from.
        listener: where the listener was bound by which it came in.
        discard: libzmq shall not read what it has not read yet. It may then read the end of it without its beginning,
            so this is for nothing but subscriptions, which are gone a moment later.
    """
    # It may be gone already, by itself.
    with (
        contextlib.suppress(OSError),
        socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM) as connection,
    ):
        # A listener of ours is no connection: it has no peer.
        connection.getpeername()
        if connection.getsockname() != listener or pid_at(connection) != pid:
            return
        connection.shutdown(socket.SHUT_RDWR)
        # What can wait there is bounded by the system, and nothing comes after the end.
        while discard and connection.recv(1 << 16, socket.MSG_DONTWAIT):
            pass
