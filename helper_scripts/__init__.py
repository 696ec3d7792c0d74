"""Scripts around the project: wrappers, clusters, remote machines, and what tests and benchmarks share."""
