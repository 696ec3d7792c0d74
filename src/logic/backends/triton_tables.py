"""The `triton` backend's nodes with a truth table as a PyTorch function: what autograd needs around the kernels."""

from functools import cached_property
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from src.logic.backends import triton_tables_kernels as kernels
from src.logic.backends.triton_dense import ConnectionLists
from src.logic.choices import Choices


class TableInputs(ConnectionLists):
    """The inputs of a layer's nodes as the kernels take them, on the layer's device."""

    @cached_property
    def inputs(self) -> torch.Tensor:
        """Inputs of each node, int32 [out_dim, k]."""
        return self.indices.T.int().contiguous()


@torch.compiler.disable
def table_forms(
    x: torch.Tensor, tables: torch.Tensor, lists: TableInputs, grad_factor: float, choices: Choices | None = None
) -> torch.Tensor:
    """Return what `Backend.table_forms` asks for in x's dtype, computed in float32."""
    shares, candidates = choices or (None, None)
    return _Tables.apply(x, tables.float().contiguous(), shares, candidates, lists, grad_factor)


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
    ) -> torch.Tensor:
        ctx.save_for_backward(x, tables, candidates)
        ctx.lists, ctx.grad_factor = lists, grad_factor
        return kernels.forward(x, tables, lists.inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, tables, candidates = ctx.saved_tensors
        need_grad_x, _, need_slopes, *_ = ctx.needs_input_grad
        need_inputs = need_grad_x or need_slopes
        grad_inputs, grad_tables = kernels.backward(x, tables, ctx.lists.inputs, grad, need_inputs)
        grad_x = slopes = None
        if need_grad_x:
            starts, consumers = ctx.lists.consumers
            grad_x = kernels.sum_consumers(starts, consumers, grad_inputs, ctx.grad_factor, x.dtype)
        if need_slopes:  # one candidate of all inputs at a time
            by_role = grad_inputs.transpose(0, 1)  # [k, out_dim, batch]
            slopes = torch.stack([(by_role * x[one.long()]).sum(2) for one in candidates.unbind(2)], 2)
        return grad_x, grad_tables, slopes, None, None, None
