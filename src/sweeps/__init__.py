"""A sweep's specification, its runs, its table."""
