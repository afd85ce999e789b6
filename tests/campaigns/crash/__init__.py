"""kill -9 at every named point: nothing is placed twice, nothing is lost, nothing is told wrongly."""
