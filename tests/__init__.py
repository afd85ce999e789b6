"""The tests. Many of them drive ib_insync themselves, so the way to its import is made free here, before any."""

import services.gateway  # noqa: F401
