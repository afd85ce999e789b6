"""What people and programs ask on `control`, and what they are answered."""
