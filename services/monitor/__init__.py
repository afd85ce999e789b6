"""The monitor process: tells in the log what becomes of circuits and orders."""
