"""Parametrisation: what of a gate is learned, and how it becomes the bilinear form that every kernel computes."""

import functools
from dataclasses import dataclass

import torch

from src.logic.gates import gate_coefficients

PARAMETRISATIONS = ("softmax",)
INITIALISATIONS = ("normal", "residual")
PASS_THROUGH = 3  # the gate `a`, in the order of `src.logic.gates`


@dataclass(frozen=True)
class GateOptions:
    """How the gates of a layer, dense or convolutional, are learned.

    Attributes:
        parametrisation: softmax: a gate is a mixture of the sixteen under softmax(weights) (Petersen et al. 2022).
        initialisation: normal: weights are drawn from a normal distribution; residual: the gate `a` has a probability
            of 0.9 at the beginning, so that deep networks pass their inputs on (Petersen et al. 2024).
    """

    parametrisation: str = "softmax"
    initialisation: str = "normal"

    def __post_init__(self) -> None:
        for name, allowed in (("parametrisation", PARAMETRISATIONS), ("initialisation", INITIALISATIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(allowed)}")


@functools.cache
def _forms(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The gates' bilinear forms [16, 4], once a device: a GPU would wait for the copy at every step."""
    return gate_coefficients(dtype, device)


def initial_weights(count: int, options: GateOptions, device: torch.device | str | None = None) -> torch.Tensor:
    """[count, parameters of a gate]: of softmax 16. `normal` draws from PyTorch's global generator, as difflogic."""
    if options.initialisation == "normal":
        return torch.randn(count, 16, device=device)
    weights = torch.zeros(count, 16, device=device)
    weights[:, PASS_THROUGH] = 5.0  # the paper's value
    return weights


def relaxed_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """[count, 4], float32 or wider: the bilinear form c0 + c1 a + c2 b + c3 ab of the gates while they are learned."""
    with torch.autocast(weights.device.type, enabled=False):
        weights = weights if weights.dtype == torch.float64 else weights.float()
        return weights.softmax(-1) @ _forms(weights.dtype, weights.device)


def discretised_gates(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """int64 [count]: the gate, in the order of `src.logic.gates`, that each becomes in eval mode and in a circuit."""
    return weights.detach().argmax(-1)


def discretised_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """[count, 4], whole numbers in float32 or wider: the bilinear form of `discretised_gates`."""
    dtype = weights.dtype if weights.dtype == torch.float64 else torch.float32
    return _forms(dtype, weights.device)[discretised_gates(weights, options)]
