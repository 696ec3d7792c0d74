"""Softmax: a gate is a mixture of the sixteen gates under softmax(weights) (Petersen et al. 2022)."""

import torch

from src.logic.gates import PASS_THROUGH, gate_forms
from src.logic.parametrisation import (
    RESIDUAL_WEIGHT,
    GateOptions,
    Parametrisation,
    gumbel_noise,
    one_hot_gates,
    softened,
    straight_through,
    tempered,
    wide,
)


class Softmax(Parametrisation):
    """One weight per gate, in the order of `src.logic.gates`; the discretised gate is that of the largest weight."""

    parameters = 16
    mixes_gates = True

    def residual_weights(self, weights: torch.Tensor) -> None:
        """Give the gate `a` a probability of 0.91 (Petersen et al. 2024)."""
        weights[:, PASS_THROUGH] = RESIDUAL_WEIGHT

    def coefficients(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the bilinear forms [count, 4] of the mixtures."""
        probabilities = self.probabilities(weights, options)
        return probabilities @ gate_forms(probabilities.dtype, weights.device)

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the most likely gates, int64 [count]."""
        return weights.argmax(-1)

    def logits(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the logits [count, 16], noise included, divided by the temperature."""
        return tempered(_noisy(weights, options), options)

    def probabilities(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the probabilities [count, 16]; those of hard gates are 0 and 1."""
        logits = _noisy(weights, options)
        soft = tempered(logits, options).softmax(-1)
        if options.adaptive:
            confidence = (soft.amax(-1, keepdim=True) - 1 / 16) * (16 / 15)
            soft = tempered(softened(logits, confidence), options).softmax(-1)
        return straight_through(one_hot_gates(logits.argmax(-1), soft.dtype), soft) if options.hard else soft


def _noisy(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    logits = wide(weights)
    return logits + gumbel_noise(logits) if options.noisy else logits
