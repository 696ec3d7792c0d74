"""Walsh: a gate is the sigmoid of a sum of Walsh functions of its inputs (Gerlach et al. 2026, WARP)."""

import functools

import torch

from src.logic.gates import place_forms
from src.logic.parametrisation import (
    RESIDUAL_LOGIT,
    GateOptions,
    Parametrisation,
    certainty,
    logistic_noise,
    softened,
    tempered,
    wide,
)
from src.logic.parametrisations.light import gates_of_table


class Walsh(Parametrisation):
    """With A = 1 - 2a and B = 1 - 2b, a gate is sigmoid(-(w0 + w1 B + w2 A + w3 AB)).

    A gate of k inputs has a weight for each subset of them; the subset is the binary number of the weight, whose
    highest digit is the first input.
    """

    parameters = 4
    learns_tables = True
    sigmoid_after = True

    def residual_weights(self, weights: torch.Tensor) -> None:
        """Set the weight of the first input alone."""
        weights[:, weights.shape[1] // 2] = RESIDUAL_LOGIT

    def coefficients(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the logits as bilinear forms of a and b, [count, 4]; a hard gate is whether its form is above 0."""
        coefficients = _form(weights)
        if options.noisy:  # on the logit at each place of the truth table, like light's
            noise = logistic_noise(coefficients)
            coefficients = coefficients + noise @ place_forms(coefficients.dtype, weights.device)
        return softened(coefficients, _confidence(weights, options)) if options.adaptive else coefficients

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the gates whose truth tables have a 1 where the form is above 0, int64 [count]."""
        c0, c1, c2, c3 = _form(weights).unbind(-1)
        return gates_of_table((c0, c0 + c2, c0 + c1, (c0 + c1) + (c2 + c3)))  # rounded as the kernels do

    def tables(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the logits at the corners, [count, 2^k]."""
        if options.hard:
            corners = _corners(weights)
        else:  # a product is quicker, and need not round alike everywhere
            logits = wide(weights)
            corners = logits @ _transform(weights.shape[1], logits.dtype, weights.device)
        if options.noisy:
            corners = corners + logistic_noise(corners)
        return softened(corners, _confidence(weights, options)) if options.adaptive else corners

    def truth_tables(self, weights: torch.Tensor) -> torch.Tensor:
        """Return whether the logits at the corners are above 0."""
        return _corners(weights) > 0


@functools.cache
def _transform(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the matrix [size, size] of `_corners`, made once per device."""
    return _corners(torch.eye(size, dtype=dtype, device=device))


def _confidence(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Return how certain the gates are, on average over the corners, [count, 1]."""
    return certainty(tempered(_corners(weights), options)).mean(1, keepdim=True)


def _corners(weights: torch.Tensor) -> torch.Tensor:
    """Return minus the Walsh-Hadamard transform of weights [count, 2^k], by single additions like `_form`."""
    values = -wide(weights)
    for input_of_gate in range(weights.shape[1].bit_length() - 1):
        without, with_it = values.unflatten(1, (2**input_of_gate, 2, -1)).unbind(2)
        values = torch.stack([without + with_it, without - with_it], 2).flatten(1)
    return values


def _form(weights: torch.Tensor) -> torch.Tensor:
    """Return the bilinear form in a and b of -(w0 + w1 B + w2 A + w3 AB).

    It takes single additions, which round alike on every device, so that a discretised gate is the same everywhere.
    """
    w0, w1, w2, w3 = wide(weights).unbind(-1)
    return torch.stack([-((w0 + w1) + (w2 + w3)), 2 * (w2 + w3), 2 * (w1 + w3), -4 * w3], -1)
