"""The sixteen gates written out, as difflogic's Python implementation sums them: what every implementation must be."""

import torch


def gate(number, a, b):
    return [
        lambda: torch.zeros_like(a),
        lambda: a * b,
        lambda: a - a * b,
        lambda: a,
        lambda: b - a * b,
        lambda: b,
        lambda: a + b - 2 * a * b,
        lambda: a + b - a * b,
        lambda: 1 - (a + b - a * b),
        lambda: 1 - (a + b - 2 * a * b),
        lambda: 1 - b,
        lambda: 1 - b + a * b,
        lambda: 1 - a,
        lambda: 1 - a + a * b,
        lambda: 1 - a * b,
        lambda: torch.ones_like(a),
    ][number]()


def mixture(x, first, second, probabilities):
    """[batch, in_dim] -> [batch, out_dim] under gate probabilities [out_dim, 16]."""
    a, b = x[:, first], x[:, second]
    return sum(probabilities[:, i] * gate(i, a, b) for i in range(16))


def layer(x, weights, indices, training=True):
    """[batch, in_dim] -> [batch, out_dim]."""
    most_likely = torch.nn.functional.one_hot(weights.argmax(-1), 16).to(x.dtype)
    probabilities = weights.softmax(-1) if training else most_likely
    return mixture(x, indices[0], indices[1], probabilities)
