"""Our orders at IB: what is known of each, and what a report, a code or the time makes of it."""
