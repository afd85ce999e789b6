"""What several processes do alike while they run."""
