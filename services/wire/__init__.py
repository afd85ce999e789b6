"""What our own processes say to each other: breaker and executor, and nobody else."""
