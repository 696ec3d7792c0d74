"""The parts of a training run: set-up, state, optimisation, augmentation, teacher, loggers, finish."""
