"""Class scores -> metrics; models loaded for inference; predictions."""
