"""Nodes with a truth table in plain PyTorch operations, on any device, in any floating dtype."""

import torch

from src.logic.choices import Choices


def table_forms(
    x: torch.Tensor, tables: torch.Tensor, inputs: torch.Tensor, choices: Choices | None = None
) -> torch.Tensor:
    """Return the multilinear forms of nodes: each input interpolates between the halves of what is left of the table.

    Args:
        x: activations [in_dim, batch].
        tables: values at the corners, [tables, 2^k]; the first input is the highest bit of a corner's number.
        inputs: int64 [k, out_dim]; equal numbers of consecutive nodes have each table.
        choices: what each input may have been, which gets a gradient.

    Returns:
        [out_dim, batch], in x's dtype.
    """
    values = tables.to(x.dtype).repeat_interleave(inputs.shape[1] // len(tables), 0)[:, :, None]
    for i, rows in enumerate(inputs):
        value = x[rows]
        if choices is not None:
            excess = (choices.shares[i] - choices.shares[i].detach()).to(x.dtype)  # zero, but for its gradient
            for share, candidate in zip(excess.unbind(1), choices.candidates[i].unbind(1), strict=True):
                value = value + share[:, None] * x[candidate].detach()
        low, high = values.chunk(2, 1)
        values = low + value[:, None] * (high - low)
    return values[:, 0]
