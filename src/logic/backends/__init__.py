"""The implementations of logic layers, a file per backend: PyTorch, numba, Triton and difflogic.

The files that end in `_kernels` hold kernels; those that end in `_dense` and `_convolution` what autograd needs around
them.
"""

from src.logic.backends.backend import AUTO, Backend, choose_backend, require_backend, unpack_features

__all__ = ["AUTO", "Backend", "choose_backend", "require_backend", "unpack_features"]
