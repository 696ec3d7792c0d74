"""The `torch` backend's dense layers: plain PyTorch operations, on any device, in any floating dtype."""

import torch


def mixture(x: torch.Tensor, coefficients: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return c0 + c1 a + c2 b + c3 ab for every neuron, where a and b are the rows of x that it is connected to.

    Args:
        x: activations [in_dim, batch].
        coefficients: [out_dim, 4].
        indices: int64 [2, out_dim].

    Returns:
        [out_dim, batch], in x's dtype.
    """
    a, b = x[indices[0]], x[indices[1]]
    c0, c1, c2, c3 = coefficients.to(x.dtype).T[:, :, None]
    return c0 + c1 * a + (c2 + c3 * a) * b


def candidate_slopes(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    indices: torch.Tensor,
    candidates: torch.Tensor,
    grad_y: torch.Tensor,
) -> torch.Tensor:
    """Return what `Backend.candidate_slopes` asks for, in float32, or in float64 if x is."""
    x = x if x.dtype == torch.float64 else x.float()
    g = grad_y.to(x.dtype)
    _, c1, c2, c3 = coefficients.to(x.dtype).T[:, :, None]
    grad_inputs = g * (c1 + c3 * x[indices[1]]), g * (c2 + c3 * x[indices[0]])
    slopes = [
        torch.stack([(grad_input * x[column]).sum(1) for column in columns.T], 1)
        for grad_input, columns in zip(grad_inputs, candidates, strict=True)
    ]
    return torch.stack(slopes)
