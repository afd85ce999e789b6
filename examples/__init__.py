"""What orderfuse looks like in use."""
