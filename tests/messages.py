"""All messages, wherever they stand."""

import functools
import operator
from typing import Any

from orderfuse.bus import control, events, fields, orders
from services.wire import dispatch, feedback, standing

ROOMS = (fields, orders, events, control, dispatch, feedback, standing)
KINDS = list({kind for room in ROOMS for kind in vars(room).values() if isinstance(kind, type)})
KINDS.sort(key=lambda kind: kind.__qualname__)
# Whatever may be asked on `control`.
ANY_REQUEST: Any = functools.reduce(operator.or_, control.Request.__subclasses__())
