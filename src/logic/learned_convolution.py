"""LearnedLogicConvolution: a convolutional logic layer that learns which pixels its trees see, among candidates."""

import functools
from typing import Any

import torch
from torch import nn

from src.logic.backends.numba_convolution import Trees
from src.logic.convolution import LogicConvolution, draw_by_group, tree_candidates
from src.logic.learned_dense import FIRST_LOGIT


class LearnedLogicConvolution(LogicConvolution):
    """A convolutional logic layer in which each leaf is the likeliest of its candidates under softmax(logits).

    As in LearnedLogicLayer the kernels for fixed connections serve, nothing changes when the network is discretised,
    and the logits get the gradient that they would have if the leaf were the mixture of all candidates
    (straight-through). The candidates are pixels of the receptive field, of any channel. The layer begins with the
    connections that a fixed one has from the same seed.

    Attributes:
        candidates: buffer int64 [3, kernels, leaves, k], their channels, and rows and columns in the receptive field.
        logits: parameter [kernels, leaves, k].
    """

    candidates: torch.Tensor

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        kernels: int,
        receptive_field: int = 5,
        candidates: int = 16,
        device: torch.device | str | None = None,
        groups: int = 1,
        **options: Any,
    ) -> None:
        """Draw weights and candidates from PyTorch's global generators.

        Args:
            in_shape, kernels, receptive_field: LogicConvolution's.
            candidates: of each leaf.
            device: where the weights are created.
            groups: LogicConvolution's.
            options: LogicConvolution's, but connect.

        Raises:
            ValueError: for sizes or names that cannot be.
        """
        super().__init__(in_shape, kernels, receptive_field, device=device, groups=groups, connect=False, **options)
        draw = functools.partial(
            tree_candidates, leaves=self.shape.leaves, receptive_field=receptive_field, candidates=candidates
        )
        drawn = draw_by_group(draw, in_shape[0], kernels, groups)
        self.register_buffer("candidates", drawn.to(device))
        logits = torch.zeros(drawn.shape[1:], device=device)
        logits[:, :, 0] = FIRST_LOGIT
        self.logits = nn.Parameter(logits)

    @property
    def indices(self) -> torch.Tensor:  # type: ignore[override]
        """int64 [3, kernels, leaves]: the pixels that are chosen now."""
        chosen = self.logits.detach().argmax(-1, keepdim=True)
        return self.candidates.gather(-1, chosen.expand(3, -1, -1, -1)).squeeze(-1)

    def _trees(self) -> Trees:
        return Trees(self.indices, self.shape, self.candidates)

    def _shares(self) -> torch.Tensor | None:
        return self.logits.softmax(-1) if self.training else None
