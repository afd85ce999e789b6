"""Garbage on the public links of running processes, while an honest strategy trades; see docs/fuzzing.md."""
