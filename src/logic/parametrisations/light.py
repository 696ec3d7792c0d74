"""Light: a gate is a truth table of four sigmoids (Rüttgers et al. 2025, the input-wise parametrisation)."""

import torch

from src.logic.gates import PLACES, place_forms
from src.logic.parametrisation import (
    RESIDUAL_LOGIT,
    GateOptions,
    Parametrisation,
    logistic_noise,
    straight_through,
    tempered,
    wide,
)


class Light(Parametrisation):
    """A logit for each place of the truth table, (0,0), (0,1), (1,0), (1,1); a gate is bilinear between them."""

    parameters = 4

    def residual_weights(self, count: int, device: torch.device | str | None) -> torch.Tensor:
        """Return logits that are low where `a` is 0, and high where it is 1."""
        weights = torch.zeros(count, self.parameters, device=device)
        weights[:, :2], weights[:, 2:] = -RESIDUAL_LOGIT, RESIDUAL_LOGIT
        return weights

    def coefficients(self, weights: torch.Tensor, options: GateOptions) -> torch.Tensor:
        """Return the bilinear forms [count, 4] of the truth tables."""
        logits = wide(weights)
        if options.noisy:
            logits = logits + logistic_noise(logits)
        table = torch.sigmoid(tempered(logits, options))
        if options.hard:
            table = straight_through((logits > 0).to(table.dtype), table)
        return table @ place_forms(table.dtype, weights.device)

    def gates(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the gates whose truth tables have a 1 where the logit is above 0, int64 [count]."""
        return gates_of_table(weights.unbind(-1))


def gates_of_table(table: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the gates, int64 [count], whose truth tables have a 1 where the number [count] of the place is above 0."""
    gates = torch.zeros(table[0].shape, dtype=torch.int64, device=table[0].device)
    for place, logit in zip(PLACES, table, strict=True):
        gates += place * (logit > 0)
    return gates
