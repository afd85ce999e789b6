"""One incident, played by the real processes: `make demo`. docs/demo.md tells its steps."""
