"""Fetching and unpacking of a dataset's archives."""
