"""How programs talk to the breaker: strategies send orders, monitors follow events, people ask and decide."""
