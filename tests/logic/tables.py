"""The definition of gates with truth tables, corner by corner: what every implementation must be."""

import itertools

import torch


def corners(weights, parametrisation, temperature=1.0):
    """The relaxed values at the corners of light gates, or the logits of walsh gates: [gates, 2^k]."""
    if parametrisation == "light":
        return torch.sigmoid(weights / temperature)
    size = weights.shape[1]
    signs = [[(-1) ** (corner & subset).bit_count() for subset in range(size)] for corner in range(size)]
    return -weights @ torch.tensor(signs, dtype=weights.dtype).T / temperature


def interpolated(inputs, values):
    """The multilinear function of inputs, k tensors, that has these values [..., 2^k] at the corners."""
    total = 0
    for number, corner in enumerate(itertools.product((0, 1), repeat=len(inputs))):  # the first input is the highest
        product = values[..., number]
        for bit, x in zip(corner, inputs, strict=True):
            product = product * (x if bit else 1 - x)
        total = total + product
    return total


def expected(x, weights, indices, parametrisation, temperature=1.0):
    """Relaxed outputs [batch, out_dim] of x [batch, in_dim]."""
    y = interpolated([x[:, row] for row in indices], corners(weights, parametrisation, temperature))
    return torch.sigmoid(y) if parametrisation == "walsh" else y
