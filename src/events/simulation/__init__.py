"""Simulated recordings: handwritten digits in front of a sensor model."""
