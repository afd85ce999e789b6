"""IB's codes as tables: what each means, and what it makes orderfuse do."""
