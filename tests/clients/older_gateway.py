"""`python -m tests.clients.older_gateway VERSION`: the paper gateway as if VERSION were the newest it knew."""

from __future__ import annotations

import sys

from services.paper.__main__ import main
from services.paper.wire import framing as wire

if __name__ == "__main__":
    wire.SERVER_VERSION_MAX = int(sys.argv[1])
    sys.exit(main())
