"""Nodes with a truth table in plain PyTorch operations, on any device, in any floating dtype."""

import torch


def table_forms(x: torch.Tensor, tables: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the multilinear forms of nodes: each input interpolates between the halves of what is left of the table.

    Args:
        x: activations [in_dim, batch].
        tables: values at the corners, [tables, 2^k]; the first input is the highest bit of a corner's number.
        inputs: int64 [k, out_dim]; equal numbers of consecutive nodes have each table.

    Returns:
        [out_dim, batch], in x's dtype.
    """
    values = tables.to(x.dtype).repeat_interleave(inputs.shape[1] // len(tables), 0)[:, :, None]
    for rows in inputs:
        low, high = values.chunk(2, 1)
        values = low + x[rows][:, None] * (high - low)
    return values[:, 0]


def table_slopes(
    x: torch.Tensor, tables: torch.Tensor, inputs: torch.Tensor, candidates: torch.Tensor, grad_y: torch.Tensor
) -> torch.Tensor:
    """Return what `Backend.table_slopes` asks for, in float32, or in float64 if x is."""
    x = (x if x.dtype == torch.float64 else x.float()).detach()
    read = x[inputs].requires_grad_()  # [k, out_dim, batch]
    with torch.enable_grad():
        rows = torch.arange(inputs.numel(), device=x.device).reshape(inputs.shape)
        forms = table_forms(read.flatten(0, 1), tables.detach().to(x.dtype), rows)
    (grad_inputs,) = torch.autograd.grad(forms, read, grad_y.to(x.dtype))
    slopes = [(grad_inputs * x[column]).sum(2) for column in candidates.unbind(-1)]
    return torch.stack(slopes, -1)
