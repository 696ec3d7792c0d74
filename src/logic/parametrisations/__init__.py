"""The parametrisations of a gate, one per file."""
