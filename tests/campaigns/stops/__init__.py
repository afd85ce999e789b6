"""A stop, with breaker and executor dying, ending and freezing around it at random: nothing passes until a reset."""
