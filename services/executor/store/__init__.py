"""What stands in the executor's journal, and how it gets there and back."""
