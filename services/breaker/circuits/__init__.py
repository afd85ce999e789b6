"""The circuits: which there are, what counts for them, what holds them open, and how they are told."""
