"""A job's folders, which jobs there are, and the readers of every file that a run leaves in them."""
