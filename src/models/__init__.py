"""The models that `model.model_type` can name, each in a file of its own."""
