"""What a person reads about jobs: the report page, plots, comparison, status, provenance."""
