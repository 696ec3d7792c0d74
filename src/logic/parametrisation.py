"""Parametrisation: how the learned weights of a gate become the multilinear form that every kernel computes.

A gate of two inputs computes c0 + c1 a + c2 b + c3 ab. A gate of k = 4 or 6 inputs interpolates between the 2^k corners
of a truth table. What the weights are, and how they become coefficients or corners, is a class of its own in
parametrisations/, listed in src/registry.py.
"""

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch

from src.logic.gates import FORM, FREE_GATES, SIGMOID, STEP, excess_influence, gate_forms
from src.registry import PARAMETRISATIONS

RESIDUAL_WEIGHT = 5.0  # weight of the gate `a` among sixteen with weight 0: probability 0.91 (Petersen et al. 2024)
# The sixteen gates then give 1 where `a` does with a probability of 0.951, which has this logit.
RESIDUAL_LOGIT = math.log((math.exp(RESIDUAL_WEIGHT) + 7) / 8)
FAN_INS = (2, 4, 6)  # numbers of inputs that a gate may have


class Parametrisation(Protocol):
    """How weights become one gate.

    Corners of truth tables are numbered by the inputs as binary digits, the first one the highest.

    Attributes:
        parameters: number of weights per gate of two inputs; a gate of k inputs has 2^k.
        learns_tables: whether gates may have more than two inputs, so that there are `tables` and `truth_tables`.
        sigmoid_after: whether the bilinear form of a relaxed gate is a logit, so that the gate is its sigmoid.
        mixes_gates: whether a relaxed gate is a mixture of the sixteen, so that there are `logits` and `probabilities`.
    """

    parameters: int
    learns_tables: bool = False
    sigmoid_after: bool = False
    mixes_gates: bool = False

    def residual_weights(self, weights: torch.Tensor) -> None:
        """Set weights [count, weights per gate] so that gates pass their first input on with a probability of 0.951."""
        raise NotImplementedError

    def coefficients(self, weights: torch.Tensor, options: "GateOptions") -> torch.Tensor:
        """Return the bilinear forms [count, 4] of relaxed gates, float32 or wider.

        With `options.hard` these are the forms of the discretised gates, with the gradient of the relaxed ones, unless
        a sigmoid comes after. With `options.noisy`, noise is drawn once from PyTorch's global generator.
        """
        raise NotImplementedError

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the discretised gates, int64 [count], in the order of `src.logic.gates`."""
        raise NotImplementedError

    def tables(self, weights: torch.Tensor, options: "GateOptions") -> torch.Tensor:
        """Return the forms of relaxed gates at the corners [count, 2^k], float32 or wider; as `coefficients` does."""
        raise NotImplementedError

    def truth_tables(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the discretised gates' values at the corners, bool [count, 2^k]."""
        raise NotImplementedError

    def logits(self, weights: torch.Tensor, options: "GateOptions") -> torch.Tensor:
        """Return the logits [count, 16] whose softmax mixes the sixteen gates, noise included, float32 or wider."""
        raise NotImplementedError

    def probabilities(self, weights: torch.Tensor, options: "GateOptions") -> torch.Tensor:
        """Return the probabilities [count, 16] of the sixteen gates in train mode, float32 or wider."""
        raise NotImplementedError


class Sampling(NamedTuple):
    """What a gate computes in train mode.

    Attributes:
        hard: the discretised gate, with the gradient of the relaxed one (straight-through).
        noisy: noise is added to the logits (Yousefi et al. 2025).
        adaptive: the relaxed gate, for the gradient, is the softer the more certain its weights are (Kim 2026, CAGE).
    """

    hard: bool
    noisy: bool
    adaptive: bool = False


FORWARD_SAMPLINGS = {
    "soft": Sampling(hard=False, noisy=False),
    "hard": Sampling(hard=True, noisy=False),
    "gumbel_soft": Sampling(hard=False, noisy=True),
    "gumbel_hard": Sampling(hard=True, noisy=True),
    "cage": Sampling(hard=True, noisy=False, adaptive=True),
}


@dataclass(frozen=True)
class GateOptions:
    """How the gates of a layer, dense or convolutional, are learned.

    Attributes:
        parametrisation: softmax, light, walsh, or another name of `src.registry.PARAMETRISATIONS`.
        initialisation: normal: weights are drawn from a normal distribution. residual: a gate passes its first input
            on with a probability of 0.95, so that deep networks do (Petersen et al. 2024).
        forward_sampling: what a gate computes in train mode, see FORWARD_SAMPLINGS; soft is the relaxed gate.
        temperature: logits are divided by it before the softmax or sigmoid.
        fan_in: number of inputs of a gate, one of FAN_INS.
    """

    parametrisation: str = "softmax"
    initialisation: str = "normal"
    forward_sampling: str = "soft"
    temperature: float = 1.0
    fan_in: int = 2
    rule: Parametrisation = field(init=False, repr=False, compare=False)  # which the parametrisation's name stands for

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
        if self.fan_in not in FAN_INS:
            raise ValueError(f"fan_in {self.fan_in} is not one of {', '.join(map(str, FAN_INS))}")
        # Looked up once, since torch.compile does not follow imports.
        object.__setattr__(self, "rule", PARAMETRISATIONS.load(self.parametrisation)())
        if self.has_tables and not self.rule.learns_tables:
            able = ", ".join(name for name in PARAMETRISATIONS if PARAMETRISATIONS.load(name).learns_tables)
            raise ValueError(
                f"parametrisation {self.parametrisation!r} has gates of two inputs only; "
                f"fan_in {self.fan_in} needs one of {able}"
            )

    @property
    def has_tables(self) -> bool:
        """Whether gates are truth tables of more than two inputs."""
        return self.fan_in > 2

    @property
    def parameters(self) -> int:
        """Number of weights per gate."""
        return 2**self.fan_in if self.has_tables else self.rule.parameters

    @property
    def hard(self) -> bool:
        """Whether gates are discretised in train mode too."""
        return FORWARD_SAMPLINGS[self.forward_sampling].hard

    @property
    def noisy(self) -> bool:
        """Whether noise is added to the logits in train mode."""
        return FORWARD_SAMPLINGS[self.forward_sampling].noisy

    @property
    def adaptive(self) -> bool:
        """Whether the gradient is that of gates which are the softer the more certain their weights are."""
        return FORWARD_SAMPLINGS[self.forward_sampling].adaptive


@dataclass(frozen=True)
class GateWeights:
    """The gates of a layer in one mode: their weights, and what they mean.

    Attributes:
        weights: [count, weights per gate].
        options: how they are learned.
        relaxed: whether the gates are relaxed, as in train mode, or discretised, as in eval mode.
    """

    weights: torch.Tensor
    options: GateOptions
    relaxed: bool

    @property
    def soft(self) -> bool:
        """Whether no gate is discretised."""
        return self.relaxed and not self.options.hard

    @property
    def after(self) -> int:
        """What a gate is of its bilinear form divided by the temperature: FORM, SIGMOID or STEP of `src.logic.gates`.

        With FORM nothing is divided.
        """
        if not (self.relaxed and self.options.rule.sigmoid_after):
            return FORM
        return STEP if self.options.hard else SIGMOID

    def gates(self) -> torch.Tensor:
        """Return the discretised gates, int64 [count]."""
        return discretised_gates(self.weights, self.options)

    def coefficients(self) -> torch.Tensor:
        """Return the bilinear forms [count, 4], float32 or wider; with noise, call this once per step."""
        if self.relaxed:
            return relaxed_coefficients(self.weights, self.options)
        return discretised_coefficients(self.weights, self.options)

    def tempered_coefficients(self) -> torch.Tensor:
        """Return the coefficients of what `after` is taken of."""
        coefficients = self.coefficients()
        return coefficients if self.after == FORM else coefficients / self.options.temperature

    def tables(self) -> torch.Tensor:
        """Return the forms of gates of more than two inputs at the corners [count, 2^k], float32 or wider.

        With noise, call this once per step.
        """
        if not self.relaxed:
            return self.truth_tables().to(wide(self.weights).dtype)
        with torch.autocast(self.weights.device.type, enabled=False):
            return self.options.rule.tables(self.weights, self.options)

    def truth_tables(self) -> torch.Tensor:
        """Return the discretised gates' values at the corners, bool [count, 2^k]."""
        weights = self.weights.detach()
        if self.options.has_tables:
            return self.options.rule.truth_tables(weights)
        places = torch.arange(3, -1, -1, device=weights.device)
        return (self.gates()[:, None] >> places & 1).bool()

    def prices(self) -> torch.Tensor:
        """Return what each gate costs in hardware, [count], from 0 for a constant or a wire, with its gradient.

        A mixture of the sixteen gates costs the probability that it is neither. A truth table costs the influence of
        its inputs but for the strongest one, divided by their number less one; the influence of an input is the
        probability that it decides the output, the other inputs being drawn at random.

        Raises:
            ValueError: if the parametrisation has neither probabilities of gates nor tables.
        """
        options = replace(self.options, forward_sampling="soft")
        with torch.autocast(self.weights.device.type, enabled=False):
            if options.rule.mixes_gates:
                probabilities = options.rule.probabilities(self.weights, options)
                return 1 - probabilities[:, list(FREE_GATES)].sum(1)
            if not options.rule.learns_tables:
                raise ValueError(f"gates of parametrisation {options.parametrisation!r} have no price")
            table = relaxed_outputs(options.rule.tables(self.weights, options), options)
            return excess_influence(table)

    def soft_logits(self) -> torch.Tensor | None:
        """Return the logits [count, 16], noise included, of soft gates that are mixtures of the sixteen; else None."""
        if not (self.soft and self.options.rule.mixes_gates):
            return None
        return self.options.rule.logits(self.weights, self.options)

    def probabilities(self) -> torch.Tensor | None:
        """Return the probabilities of the sixteen gates [count, 16]; None if gates are no mixtures of them."""
        if not self.options.rule.mixes_gates:
            return None
        if self.relaxed:
            return self.options.rule.probabilities(self.weights, self.options)
        return one_hot_gates(self.gates(), wide(self.weights).dtype)

    def outputs(self, forms: torch.Tensor) -> torch.Tensor:
        """Return what the gates give, from the values of their bilinear forms, in any shape."""
        return relaxed_outputs(forms, self.options) if self.relaxed else forms


def initial_weights(count: int, options: GateOptions, device: torch.device | str | None = None) -> torch.Tensor:
    """Return the weights [count, weights per gate] that training begins with."""
    return INITIALISATIONS[options.initialisation](count, options, device)


def _normal_weights(count: int, options: GateOptions, device: torch.device | str | None) -> torch.Tensor:
    """Draw from PyTorch's global generator."""
    return torch.randn(count, options.parameters, device=device)


def _residual_weights(count: int, options: GateOptions, device: torch.device | str | None) -> torch.Tensor:
    weights = torch.zeros(count, options.parameters, device=device)
    options.rule.residual_weights(weights)
    return weights * options.temperature


INITIALISATIONS = {"normal": _normal_weights, "residual": _residual_weights}


def relaxed_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Return the bilinear forms c0 + c1 a + c2 b + c3 ab of gates while they are learned: [count, 4], float32 or wider.

    What a gate gives is `relaxed_outputs` of its bilinear form. Noise is one draw of the weights' shape from PyTorch's
    global generator of their device; if there is noise, call this once per step.
    """
    with torch.autocast(weights.device.type, enabled=False):
        return options.rule.coefficients(weights, options)


def relaxed_outputs(forms: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Return what relaxed gates give, from the values of their bilinear forms, in any shape.

    These are the values themselves, unless a sigmoid comes after. It then is sigmoid(forms / temperature); hard gates
    give 1 where the form is above 0, else 0, with the sigmoid's gradient.
    """
    if not options.rule.sigmoid_after:
        return forms
    soft = torch.sigmoid(tempered(forms, options))
    return straight_through((forms > 0).to(soft.dtype), soft) if options.hard else soft


def discretised_gates(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Return the gates in eval mode and in a circuit: int64 [count], in the order of `src.logic.gates`."""
    return options.rule.gates(weights.detach())


def discretised_coefficients(weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Return the bilinear forms of `discretised_gates`: [count, 4], whole numbers in float32 or wider."""
    return gate_forms(wide(weights).dtype, weights.device)[discretised_gates(weights, options)]


def wide(weights: torch.Tensor) -> torch.Tensor:
    """Return the weights in float32, or in float64 if they are."""
    return weights if weights.dtype == torch.float64 else weights.float()


def tempered(logits: torch.Tensor, options: GateOptions) -> torch.Tensor:
    """Divide logits by the temperature."""
    return logits if options.temperature == 1.0 else logits / options.temperature


def softened(logits: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """Return logits for the gradient of adaptive gates: divided by 1, 2 or 4, the more confident the more.

    So a gate that has been chosen with certainty still learns, where the gradient of its softmax or sigmoid has nearly
    vanished. Powers of two round nothing. Confidence is from 0 to 1.
    """
    return logits / torch.exp2((2 * confidence.detach()).round())


def certainty(logits: torch.Tensor) -> torch.Tensor:
    """Return how certain sigmoids are, from 0 for a half to 1."""
    return torch.tanh(logits.abs() / 2)


def straight_through(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Return exactly `hard`, with the gradient of `soft`."""
    return hard + (soft - soft.detach())


def one_hot_gates(gates: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return [count, 16] with a 1 at each gate."""
    return torch.nn.functional.one_hot(gates, 16).to(dtype)


def gumbel_noise(logits: torch.Tensor) -> torch.Tensor:
    """Draw noise like `logits`; the largest of logits with noise is distributed as their softmax."""
    return -torch.empty_like(logits).exponential_().log()


def logistic_noise(logits: torch.Tensor) -> torch.Tensor:
    """Draw the difference of two Gumbel variables, which is to a sigmoid what Gumbel noise is to a softmax."""
    return torch.logit(torch.rand_like(logits), eps=1e-7)
