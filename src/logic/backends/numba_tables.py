"""The `numba` backend's nodes with a truth table as a PyTorch function: what autograd needs around the kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_tables_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.backends.numba_dense_kernels import candidate_sums, input_consumers


@dataclass(frozen=True)
class TableInputs:
    """The inputs of a layer's nodes as the kernels take them."""

    indices: torch.Tensor
    in_dim: int

    @cached_property
    def inputs(self) -> NDArray[np.int32]:
        """Inputs of each node, int32 [out_dim, k]."""
        return np.ascontiguousarray(self.indices.numpy().T, dtype=np.int32)

    @cached_property
    def consumers(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The inverse list, made when a gradient of the inputs is first needed."""
        return input_consumers(self.indices.numpy(), self.in_dim)


@not_compiled
def table_forms(x: torch.Tensor, tables: torch.Tensor, lists: TableInputs, grad_factor: float) -> torch.Tensor:
    """Return what `Backend.table_forms` asks for, in float32."""
    return _Tables.apply(x.float().contiguous(), tables.float().contiguous(), lists, grad_factor)


def table_slopes(
    x: torch.Tensor, tables: torch.Tensor, indices: torch.Tensor, candidates: torch.Tensor, grad_y: torch.Tensor
) -> torch.Tensor:
    """Return what `Backend.table_slopes` asks for, in float32."""
    x, lists = x.float().contiguous(), TableInputs(indices, len(x))
    grad_inputs, _ = _gradients(x, tables.float().contiguous(), lists, grad_y, 1.0, need_grad_x=True)
    slopes = torch.empty(candidates.shape)
    candidate_sums(x.numpy(), candidates.numpy(), grad_inputs.numpy(), slopes.numpy())
    return slopes


class _Tables(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, tables: torch.Tensor, lists: TableInputs, grad_factor: float
    ) -> torch.Tensor:
        y = x.new_empty(len(lists.inputs), x.shape[1])
        kernels.forward(x.numpy(), _square(tables), lists.inputs, y.numpy())
        ctx.save_for_backward(x, tables)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, tables = ctx.saved_tensors
        need_grad_x = ctx.needs_input_grad[0]
        grad_inputs, grad_tables = _gradients(x, tables, ctx.lists, grad, ctx.grad_factor, need_grad_x)
        grad_x = None
        if need_grad_x:
            grad_x = torch.empty_like(x)
            kernels.sum_consumers(*ctx.lists.consumers, grad_inputs.flatten(0, 1).numpy(), grad_x.numpy())
        return grad_x, grad_tables, None, None


def _gradients(
    x: torch.Tensor, tables: torch.Tensor, lists: TableInputs, grad: torch.Tensor, scale: float, need_grad_x: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of each node's inputs [out_dim, k, batch], empty if not needed, and of the tables."""
    grad_inputs = x.new_empty(*lists.inputs.shape, x.shape[1] if need_grad_x else 0)
    grad_tables = torch.empty_like(tables)
    kernels.backward(
        x.numpy(),
        _square(tables),
        lists.inputs,
        grad.float().contiguous().numpy(),
        scale,
        grad_inputs.numpy(),
        _square(grad_tables),
    )
    return grad_inputs, grad_tables


def _square(tables: torch.Tensor) -> NDArray[np.float32]:
    """Return tables [tables, 2^k] as matrices [tables, 2^(k/2), 2^(k/2)], without a copy."""
    corners: int = round(tables.shape[1] ** 0.5)
    square: NDArray[np.float32] = tables.numpy().reshape(-1, corners, corners)
    return square
