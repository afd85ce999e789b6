"""What looks for trouble at random: kills, garbage, stops."""
