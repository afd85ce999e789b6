"""Everything that needs no socket."""
