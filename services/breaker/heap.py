"""How much memory this process has been given and not given back, where the C library tells."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


class _Info(ctypes.Structure):
    """What mallinfo2(3) of glibc returns, since its version 2.33."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _find() -> Callable[[], _Info] | None:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    function.restype = _Info
    function.argtypes = ()
    call: Callable[[], _Info] = function
    return call


_INFO = _find()


def in_use() -> int:
    """Bytes that are in use of what malloc has given out, libzmq's messages among them; 0 where nobody tells.

    Unlike what the system counts for a process, it falls as soon as something is given back.
    """
    if _INFO is None:
        return 0
    info = _INFO()
    return int(info.uordblks + info.hblkhd)
