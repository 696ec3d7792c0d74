"""A job's folders, and the readers of every file that a run leaves in them."""
