"""The monitor process: tells in the log what becomes of orders, and whether a breaker is heard."""
