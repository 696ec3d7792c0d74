"""Parametrisation: what of a gate is learned, and how it becomes the bilinear form that every kernel computes.

A gate computes c0 + c1 a + c2 b + c3 ab. Beside the softmax over the sixteen gates there are two parametrisations of
four numbers a gate: a logit a place of the truth table (`light`), and Walsh coefficients (`walsh`).
"""

import functools
import math
from dataclasses import dataclass

import torch

from src.logic.gates import gate_coefficients

PARAMETRISATIONS = ("softmax", "light", "walsh")
INITIALISATIONS = ("normal", "residual")
FORWARD_SAMPLINGS = ("soft", "hard", "gumbel_soft", "gumbel_hard")
PASS_THROUGH = 3  # the gate `a`, in the order of `src.logic.gates`
PLACES = (8, 4, 2, 1)  # the gates that are 1 for (a, b) = (0,0), (0,1), (1,0), (1,1) alone: a truth table's places

RESIDUAL_WEIGHT = 5.0  # of the gate `a` among sixteen, the others' being 0: probability 0.91 (Petersen et al. 2024)
# The sixteen gates then give 1 where `a` does with a probability of 0.951, which has this logit.
RESIDUAL_LOGIT = math.log((math.exp(RESIDUAL_WEIGHT) + 7) / 8)


@dataclass(frozen=True)
class GateOptions:
    """How the gates of a layer, dense or convolutional, are learned.

    Attributes:
        parametrisation: softmax: a gate is a mixture of the sixteen under softmax(weights) (Petersen et al. 2022).
            light: the four places of its truth table, (0,0), (0,1), (1,0), (1,1), are sigmoid(weights), and it is
            bilinear between them (Rüttgers et al. 2025, the input-wise parametrisation). walsh: with A = 1 - 2a and
            B = 1 - 2b, sigmoid(-(w0 + w1 B + w2 A + w3 AB)) (Gerlach et al. 2026, WARP).
        initialisation: normal: weights are drawn from a normal distribution. residual: the gate passes its first input
            on with a probability of 0.95, so that deep networks do; of softmax, the gate `a` has one of 0.91 (Petersen
            et al. 2024).
        forward_sampling: what a gate computes in train mode. soft: the relaxed gate. hard: the discretised gate, with
            the gradient of the relaxed one (straight-through). gumbel_soft, gumbel_hard: likewise, after noise is added
            to the logits (Yousefi et al. 2025).
        temperature: logits are divided by it before the softmax or sigmoid.
    """

    parametrisation: str = "softmax"
    initialisation: str = "normal"
    forward_sampling: str = "soft"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("parametrisation", PARAMETRISATIONS),
            ("initialisation", INITIALISATIONS),
            ("forward_sampling", FORWARD_SAMPLINGS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(allowed)}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature} must be above 0")

    @property
    def sigmoid_after(self) -> bool:
        """Whether the bilinear form of a relaxed gate is a logit, of which `relaxed_outputs` takes the sigmoid."""
        return self.parametrisation == "walsh"

    @property
    def hard(self) -> bool:
        """Whether gates are discretised in train mode too."""
        return self.forward_sampling in ("hard", "gumbel_hard")

    @property
    def noisy(self) -> bool:
        """Whether noise is added to the logits in train mode."""
        return self.forward_sampling in ("gumbel_soft", "gumbel_hard")


@functools.cache
def _forms(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The gates' bilinear forms [16, 4], once a device: a GPU would wait for the copy at every step."""
    return gate_coefficients(dtype, device)


@functools.cache
def _place_forms(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The bilinear forms [4, 4] of PLACES: a truth table times it is the form that has its values at the corners."""
    return gate_coefficients(dtype, device)[list(PLACES)]


def initial_weights(count: int, options: GateOptions, device: torch.device | str | None = None) -> torch.Tensor:
    """[count, parameters of a gate]: of softmax 16, else 4. `normal` draws from PyTorch's global generator."""
    parameters = 16 if options.parametrisation == "softmax" else 4
    if options.initialisation == "normal":
        return torch.randn(count, parameters, device=device)
    weights = torch.zeros(count, parameters, device=device)
    if options.parametrisation == "softmax":
        weights[:, PASS_THROUGH] = RESIDUAL_WEIGHT
    elif options.parametrisation == "light":
        weights[:, :2], weights[:, 2:] = -RESIDUAL_LOGIT, RESIDUAL_LOGIT
    else:
        weights[:, 2] = RESIDUAL_LOGIT
    return weights * options.temperature


def softmax_logits(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """What soft gates of parametrisation softmax take it of: [count, 16], float32 or wider, noise included."""
    return _tempered(_logits(weights, options), options)


def relaxed_probabilities(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """[count, 16], float32 or wider: the gates' probabilities of parametrisation softmax, in train mode."""
    logits = _logits(weights, options)
    soft = _tempered(logits, options).softmax(-1)
    return straight_through(_most_likely(logits), soft) if options.hard else soft


def discretised_probabilities(weights: torch.Tensor) -> torch.Tensor:
    """[count, 16], float32 or wider: 1 at the most likely gate of parametrisation softmax."""
    return _most_likely(_wide(weights))


def relaxed_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """[count, 4], float32 or wider: the bilinear form c0 + c1 a + c2 b + c3 ab of the gates while they are learned.

    What a gate gives is `relaxed_outputs` of its bilinear form. Of hard softmax and light gates it is the discretised
    gate's form already, whose gradient goes to the relaxed one's. Noise is one draw of the weights' shape from
    PyTorch's global generator of their device: where it is asked for, call this once a step.
    """
    with torch.autocast(weights.device.type, enabled=False):
        if options.parametrisation == "softmax":
            probabilities = relaxed_probabilities(weights, options)
            return probabilities @ _forms(probabilities.dtype, weights.device)
        if options.parametrisation == "light":
            logits = _logits(weights, options)
            table = torch.sigmoid(_tempered(logits, options))
            if options.hard:
                table = straight_through((logits > 0).to(table.dtype), table)
            return table @ _place_forms(table.dtype, weights.device)
        coefficients = _walsh_form(weights)
        if options.noisy:  # on the logit of each place of the truth table, as light's
            coefficients = coefficients + _logistic(coefficients) @ _place_forms(coefficients.dtype, weights.device)
        return coefficients


def relaxed_outputs(forms: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """What relaxed gates give, of the values of their bilinear forms, in any shape.

    Unless `options.sigmoid_after`, these are it. Else it is sigmoid(forms / temperature); of hard gates, whether the
    form is above 0, with the sigmoid's gradient.
    """
    if not options.sigmoid_after:
        return forms
    soft = torch.sigmoid(_tempered(forms, options))
    return straight_through((forms > 0).to(soft.dtype), soft) if options.hard else soft


def discretised_gates(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """int64 [count]: the gate, in the order of `src.logic.gates`, that each becomes in eval mode and in a circuit."""
    weights = weights.detach()
    if options.parametrisation == "softmax":
        return weights.argmax(-1)
    if options.parametrisation == "light":
        table = weights.unbind(-1)
    else:
        c0, c1, c2, c3 = _walsh_form(weights).unbind(-1)
        table = (c0, c0 + c2, c0 + c1, (c0 + c1) + (c2 + c3))  # rounded as the kernels do
    gates = torch.zeros(weights.shape[:-1], dtype=torch.int64, device=weights.device)
    for place, logit in zip(PLACES, table, strict=True):
        gates += place * (logit > 0)
    return gates


def discretised_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """[count, 4], whole numbers in float32 or wider: the bilinear form of `discretised_gates`, which they give."""
    return _forms(_wide(weights).dtype, weights.device)[discretised_gates(weights, options)]


def _walsh_form(weights: torch.Tensor) -> torch.Tensor:
    """The bilinear form in a and b of -(w0 + w1 B + w2 A + w3 AB).

    In single additions, which round alike on every device, so that a discretised gate is the same everywhere.
    """
    w0, w1, w2, w3 = _wide(weights).unbind(-1)
    return torch.stack([-((w0 + w1) + (w2 + w3)), 2 * (w2 + w3), 2 * (w1 + w3), -4 * w3], -1)


def _wide(weights: torch.Tensor) -> torch.Tensor:
    return weights if weights.dtype == torch.float64 else weights.float()


def _logits(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """The weights of softmax or light gates, with noise if there is to be some."""
    logits = _wide(weights)
    if not options.noisy:
        return logits
    return logits + (_gumbel(logits) if options.parametrisation == "softmax" else _logistic(logits))


def _tempered(logits: torch.Tensor, options: GateOptions) -> torch.Tensor:
    return logits if options.temperature == 1.0 else logits / options.temperature


def _most_likely(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)


def straight_through(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Exactly `hard`, with the gradient of `soft`."""
    return hard + (soft - soft.detach())


def _gumbel(logits: torch.Tensor) -> torch.Tensor:
    return -torch.empty_like(logits).exponential_().log()


def _logistic(logits: torch.Tensor) -> torch.Tensor:
    """The difference of two Gumbel variables: what Gumbel noise on two choices is to a sigmoid."""
    return torch.logit(torch.rand_like(logits), eps=1e-7)
