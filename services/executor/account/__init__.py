"""What others do in the account."""
