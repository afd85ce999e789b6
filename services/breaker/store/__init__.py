"""What stands in the breaker's journal, and how it gets there and back."""
