"""The message `health`: how the pipeline is. Pure."""

from __future__ import annotations

from collections import Counter

from orderfuse.bus.events import Health
from services.breaker.core import Core
from services.breaker.inputs import Measured


def tell(core: Core, measured: Measured) -> None:
    """Publish it. `measured`: what the loop knows of sockets and the disk, which `status` tells as well."""
    core.journals, core.disk_free = measured.journals, measured.disk_free
    gateway = core.executor.gateway
    core.publisher.health(
        Health(
            at_ns=core.wall_ns,
            queued=core.queues.lengths(),
            orders_out=len(core.out),
            window=core.window,
            window_used=len(core.out),
            unknown=sum(record.state == "unknown" for record in core.orders.values()),
            executor_present=core.executor.joined,
            gateway_connected=bool(core.executor.joined and gateway and gateway.connected),
            dropped=dict(Counter(measured.dropped) + core.dropped),
            journal_lag_ms=measured.journal_lag_ms,
            journal_error=measured.journal_error,
        )
    )
