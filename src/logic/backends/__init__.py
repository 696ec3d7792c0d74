"""The implementations of logic layers: PyTorch, numba, Triton and difflogic."""
