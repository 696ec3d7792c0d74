"""Measurements behind the claims: one script each."""
