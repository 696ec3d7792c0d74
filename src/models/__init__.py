"""The types of models, each in a file of its own, and the parts that they are made of."""
