"""The fields of IB's contracts and orders: what a strategy may set, and how objects become the maps of the bus."""
