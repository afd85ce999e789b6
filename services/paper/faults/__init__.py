"""What a gateway or IB may do wrong, on command: each fault as data, and what it does."""
