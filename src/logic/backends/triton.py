"""The `triton` backend: kernels for NVIDIA GPUs, imported when they are first needed."""

import functools
import importlib.util
import os
from typing import Any

import torch

from src.helpers import LOG, import_optional
from src.logic.backends.backend import Backend
from src.logic.choices import Choices
from src.logic.parametrisation import GateWeights
from src.logic.trees import Geometry


@functools.cache
def has_triton() -> bool:
    """Return whether Triton, which is for Linux only, is there; warn if it is there and broken."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        _dense()
    except ImportError as error:
        LOG.warning("%s; PyTorch computes instead, slower", error)
        return False
    return True


class Triton(Backend):
    """Kernels that compute in float32 and read and write x's dtype: float32, bfloat16 or float16."""

    runs_on = "CUDA in up to 32 bits"

    @property
    def chosen_by_auto(self) -> bool:  # type: ignore[override]
        """Whether its kernels can be imported."""
        return has_triton()

    def suits(self, x: torch.Tensor) -> bool:
        """Return whether x is on a GPU, or Triton interprets its kernels, and not in float64."""
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        return (x.device.type == "cuda" or interpreted) and x.dtype != torch.float64

    def connect(self, indices: torch.Tensor, in_dim: int) -> Any:
        """Return lists that are made, on the device, when they are first needed."""
        return (
            _dense().ConnectionLists(indices, in_dim) if len(indices) == 2 else _tables().TableInputs(indices, in_dim)
        )

    def forms(self, x: torch.Tensor, coefficients: torch.Tensor, connections: Any, grad_factor: float) -> torch.Tensor:
        """Compute in float32."""
        return _dense().mixture(x, coefficients, connections, grad_factor)

    def table_forms(
        self,
        x: torch.Tensor,
        tables: torch.Tensor,
        connections: Any,
        grad_factor: float,
        choices: Choices | None = None,
    ) -> torch.Tensor:
        """Compute in float32."""
        return _tables().table_forms(x, tables, connections, grad_factor, choices)

    def candidate_slopes(
        self,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        grad_y: torch.Tensor,
    ) -> torch.Tensor:
        """Sum in float32."""
        return _dense().candidate_slopes(x, coefficients, indices, candidates, grad_y)

    def trees(self, connections: torch.Tensor, shape: Geometry, candidates: torch.Tensor | None = None) -> Any:
        """Return trees with lists that are made, on the device, when they are first needed."""
        return _convolution().TritonTrees(connections, shape, candidates)

    def convolution(
        self, x: torch.Tensor, gates: GateWeights, trees: Any, grad_factor: float, shares: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute in float32."""
        coefficients = gates.tempered_coefficients()
        return _convolution().convolution(x, coefficients, trees, grad_factor, shares, gates.after)

    def unpack(self, packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
        """Unpack and transpose in one go."""
        return _dense().unpack_features(packed, num_bits, dtype)


def _dense() -> Any:
    return _module("src.logic.backends.triton_dense")


def _tables() -> Any:
    return _module("src.logic.backends.triton_tables")


def _convolution() -> Any:
    return _module("src.logic.backends.triton_convolution")


def _module(name: str) -> Any:
    return import_optional(
        name,
        "implementation 'triton' asks for its kernels",
        "install the versions of requirements.lock, or use the implementation 'auto'",
    )


TRITON = Triton()
