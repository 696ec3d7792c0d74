"""The `numba` backend's nodes with a truth table as a PyTorch function: what autograd needs around the kernels."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from src.logic.backends import numba_tables_kernels as kernels
from src.logic.backends.backend import not_compiled
from src.logic.backends.numba_candidates_kernels import candidate_sums
from src.logic.backends.numba_dense import ConnectionLists
from src.logic.backends.numba_vectors import LANES, length
from src.logic.choices import Choices


class TableInputs(ConnectionLists):
    """The same for nodes of more than two inputs."""

    @cached_property
    def of_nodes(self) -> NDArray[np.int32]:
        """Inputs of each node, int32 [out_dim, k]."""
        return np.ascontiguousarray(self.indices.numpy().T, dtype=np.int32)


@not_compiled
def table_forms(
    x: torch.Tensor,
    tables: torch.Tensor,
    lists: TableInputs,
    grad_factor: float,
    choices: Choices | None = None,
    sigmoid: bool = False,
) -> torch.Tensor:
    """Return what `Backend.table_forms` asks for, or its sigmoid, in float32."""
    shares, candidates = choices or (None, None)
    arguments = shares, candidates, lists, grad_factor, sigmoid
    missing = -x.shape[1] % LANES
    padded = torch.nn.functional.pad(x.float(), (0, missing)) if missing else x.float().contiguous()
    forms: torch.Tensor = _Tables.apply(padded, tables.float().contiguous(), *arguments)
    return forms[:, : x.shape[1]].contiguous()


class _Tables(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        tables: torch.Tensor,
        shares: torch.Tensor | None,
        candidates: torch.Tensor | None,
        lists: TableInputs,
        grad_factor: float,
        sigmoid: bool,
    ) -> torch.Tensor:
        y = x.new_empty(len(lists.of_nodes), x.shape[1])
        kernels.forward(x.numpy(), tables.numpy(), lists.of_nodes, length(lists.of_nodes.shape[1]), y.numpy())
        if sigmoid:
            y.sigmoid_()
        ctx.save_for_backward(x, tables, candidates, y if sigmoid else None)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, tables, candidates, outputs = ctx.saved_tensors
        inputs, grad_y = ctx.lists.of_nodes, grad.contiguous().numpy()
        need_grad_x, _, need_slopes, *_ = ctx.needs_input_grad
        with_inputs = need_grad_x or need_slopes
        grad_inputs = x.new_empty(*inputs.shape, x.shape[1] if with_inputs else 0)
        grad_tables = torch.empty_like(tables)
        sizes = length(inputs.shape[1]), length(outputs is not None), length(with_inputs)
        after = grad_y if outputs is None else outputs.numpy()
        arrays = after, grad_y, grad_inputs.numpy(), grad_tables.numpy()
        kernels.backward(x.numpy(), tables.numpy(), inputs, *sizes, *arrays)
        grad_x = slopes = None
        if need_grad_x:
            grad_x = torch.empty_like(x)
            rows = grad_inputs.flatten(0, 1).numpy()
            kernels.sum_consumers(*ctx.lists.consumers, rows, ctx.grad_factor, grad_x.numpy())
        if need_slopes:
            slopes = torch.empty(candidates.shape)
            candidate_sums(x.numpy(), candidates.numpy(), grad_inputs.numpy(), slopes.numpy())
        return grad_x, grad_tables, slopes, None, None, None, None
