"""The `numba` backend: kernels for the CPU, compiled at first use, that compute in float32."""

from collections.abc import Sequence

import torch

from src.logic.backends import numba_dense, numba_stack, numba_tables
from src.logic.backends.backend import Backend, StackedConvolution, StackedLayer
from src.logic.backends.numba_convolution import NumbaTrees, convolutions
from src.logic.backends.numba_dense import ConnectionLists
from src.logic.backends.numba_tables import TableInputs
from src.logic.choices import Choices
from src.logic.gates import FORM, SIGMOID
from src.logic.parametrisation import GateWeights, tempered
from src.logic.trees import Geometry


class Numba(Backend):
    """Softmax and sigmoid of soft gates are part of the kernels."""

    runs_on = "the CPU in up to 32 bits"

    def suits(self, x: torch.Tensor) -> bool:
        """Return whether x is on the CPU, and not in float64."""
        return x.device.type == "cpu" and x.dtype != torch.float64

    def connect(self, indices: torch.Tensor, in_dim: int) -> ConnectionLists | TableInputs:
        """Return lists that are made when they are first needed."""
        return ConnectionLists(indices, in_dim) if len(indices) == 2 else TableInputs(indices, in_dim)

    def forms(
        self, x: torch.Tensor, coefficients: torch.Tensor, connections: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        """Compute in float32, whatever x's dtype."""
        return numba_dense.mixture(x, coefficients, connections, grad_factor).to(x.dtype)

    def table_forms(
        self,
        x: torch.Tensor,
        tables: torch.Tensor,
        connections: TableInputs,
        grad_factor: float,
        choices: Choices | None = None,
    ) -> torch.Tensor:
        """Compute in float32, whatever x's dtype."""
        return numba_tables.table_forms(x, tables, connections, grad_factor, choices).to(x.dtype)

    def dense_tables(
        self,
        x: torch.Tensor,
        gates: GateWeights,
        connections: TableInputs,
        grad_factor: float,
        choices: Choices | None = None,
    ) -> torch.Tensor:
        """Take the sigmoid of soft gates in the kernels."""
        if gates.after != SIGMOID:
            return super().dense_tables(x, gates, connections, grad_factor, choices)
        tables = tempered(gates.tables(), gates.options)
        return numba_tables.table_forms(x, tables, connections, grad_factor, choices, True).to(x.dtype)

    def dense(
        self, x: torch.Tensor, gates: GateWeights, connections: ConnectionLists, grad_factor: float
    ) -> torch.Tensor:
        """Compute soft gates of two inputs by one kernel."""
        if not gates.soft or gates.options.has_tables:
            return super().dense(x, gates, connections, grad_factor)
        return _soft(x, gates, connections, grad_factor).to(x.dtype)

    def dense_sums(
        self, x: torch.Tensor, gates: GateWeights, connections: ConnectionLists, grad_factor: float, groups: int
    ) -> torch.Tensor:
        """Add the outputs of soft gates of two inputs up as they are computed, without keeping them."""
        if not gates.soft or gates.options.has_tables:
            return super().dense_sums(x, gates, connections, grad_factor, groups)
        return _soft(x, gates, connections, grad_factor, groups)

    def stack_sums(self, x: torch.Tensor, layers: Sequence[StackedLayer], groups: int) -> torch.Tensor:
        """Compute layers whose gates are bilinear forms of two inputs in one call, without keeping activations."""
        logits = [layer.gates.soft_logits() for layer in layers] if _all_bilinear(x, layers) else []
        if not logits:
            return super().stack_sums(x, layers, groups)
        weights = [
            layer.gates.coefficients() if own is None else own for layer, own in zip(layers, logits, strict=True)
        ]
        lists, factors = [layer.connections for layer in layers], [layer.grad_factor for layer in layers]
        return numba_stack.stack_sums(x, weights, lists, factors, logits[0] is not None, groups)

    def candidate_slopes(
        self,
        x: torch.Tensor,
        coefficients: torch.Tensor,
        indices: torch.Tensor,
        candidates: torch.Tensor,
        grad_y: torch.Tensor,
    ) -> torch.Tensor:
        """Compute in float32."""
        return numba_dense.candidate_slopes(x, coefficients, indices, candidates, grad_y)

    def trees(self, connections: torch.Tensor, shape: Geometry, candidates: torch.Tensor | None = None) -> NumbaTrees:
        """Return trees with offsets that are made when they are first needed."""
        return NumbaTrees(connections, shape, candidates)

    def convolution(
        self,
        x: torch.Tensor,
        gates: GateWeights,
        trees: NumbaTrees,
        grad_factor: float,
        shares: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute in float32, whatever x's dtype."""
        return self.convolutions(x, [StackedConvolution(gates, trees, grad_factor, shares)])

    def convolutions(self, x: torch.Tensor, layers: Sequence[StackedConvolution]) -> torch.Tensor:
        """Compute in float32, whatever x's dtype, and store what is between the layers as the kernels read it."""
        return convolutions(x, layers).to(x.dtype)

    def unpack(self, packed: torch.Tensor, num_bits: int, dtype: torch.dtype) -> torch.Tensor:
        """Unpack and transpose in one go."""
        return numba_dense.unpack_features(packed, num_bits).to(dtype)


def _all_bilinear(x: torch.Tensor, layers: Sequence[StackedLayer]) -> bool:
    """Return whether layers on float32 are alike, and what their gates give is a bilinear form of two inputs."""
    first = layers[0].gates
    alike = all(layer.gates.options == first.options and layer.gates.relaxed == first.relaxed for layer in layers)
    return alike and x.dtype == torch.float32 and first.after == FORM and not first.options.has_tables


def _soft(
    x: torch.Tensor, gates: GateWeights, connections: ConnectionLists, grad_factor: float, groups: int | None = None
) -> torch.Tensor:
    """Return what soft gates give, or the sums of groups of them, in float32."""
    logits = gates.soft_logits()
    if logits is not None:
        return numba_dense.softmax_mixture(x, logits, connections, grad_factor, groups)
    return numba_dense.mixture(x, gates.tempered_coefficients(), connections, grad_factor, gates.after, groups)


NUMBA = Numba()
