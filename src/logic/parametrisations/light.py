"""Light: a gate is a truth table of sigmoids (Rüttgers et al. 2025, the input-wise parametrisation)."""

import torch

from src.logic.gates import PLACES, place_forms
from src.logic.parametrisation import (
    RESIDUAL_LOGIT,
    GateOptions,
    Parametrisation,
    certainty,
    logistic_noise,
    softened,
    straight_through,
    tempered,
    wide,
)


class Light(Parametrisation):
    """A logit for each corner of the truth table; a gate is multilinear between their sigmoids."""

    parameters = 4
    learns_tables = True

    def residual_weights(self, weights: torch.Tensor) -> None:
        """Set logits that are low where the first input is 0, and high where it is 1."""
        low, high = weights.chunk(2, 1)
        low.fill_(-RESIDUAL_LOGIT)
        high.fill_(RESIDUAL_LOGIT)

    def coefficients(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the bilinear forms [count, 4] of the truth tables."""
        table = self.tables(weights, options)
        return table @ place_forms(table.dtype, weights.device)

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the gates whose truth tables have a 1 where the logit is above 0, int64 [count]."""
        return gates_of_table(weights.unbind(-1))

    def tables(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the probabilities of a 1 at the corners, [count, 2^k]."""
        logits = wide(weights)
        if options.noisy:
            logits = logits + logistic_noise(logits)
        if options.adaptive:
            logits = softened(logits, certainty(tempered(logits, options)))
        table = torch.sigmoid(tempered(logits, options))
        return straight_through((logits > 0).to(table.dtype), table) if options.hard else table

    def truth_tables(self, weights: torch.Tensor) -> torch.Tensor:
        """Return whether the logits are above 0."""
        return weights > 0


def gates_of_table(table: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the gates, int64 [count], whose truth tables have a 1 where the number [count] of the place is above 0."""
    gates = torch.zeros(table[0].shape, dtype=torch.int64, device=table[0].device)
    for place, logit in zip(PLACES, table, strict=True):
        gates += place * (logit > 0)
    return gates
