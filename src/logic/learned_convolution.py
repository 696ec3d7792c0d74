"""LearnedLogicConvolution: a convolutional logic layer that learns which pixels its trees see, among candidates."""

import functools
from typing import Any

import torch

from src.logic.backends import Backend
from src.logic.candidates import LearnedConnections
from src.logic.convolution import LogicConvolution, draw_by_group, tree_candidates
from src.logic.table_trees import tree_levels


class LearnedLogicConvolution(LearnedConnections, LogicConvolution):
    """A convolutional logic layer in which each leaf is the likeliest of its candidates, see LearnedConnections.

    The candidates are pixels of the receptive field, of any channel. The layer begins with the connections that a fixed
    one has from the same seed.

    Attributes:
        candidates: buffer int64 [3, kernels, leaves, k], their channels, and rows and columns in the receptive field.
        logits: parameter [kernels, leaves, k].
    """

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
            candidates: number of candidates for each leaf.
            device: where the weights are created.
            groups: LogicConvolution's.
            options: LogicConvolution's, but connect.

        Raises:
            ValueError: for sizes or names that cannot be.
        """
        LogicConvolution.__init__(
            self, in_shape, kernels, receptive_field, device=device, groups=groups, connect=False, **options
        )
        draw = functools.partial(
            tree_candidates, leaves=self.shape.leaves, receptive_field=receptive_field, candidates=candidates
        )
        drawn = draw_by_group(draw, in_shape[0], kernels, groups)
        self._offer(drawn, drawn.shape[1:-1], device)
        # What `_inputs_of_candidates` has made: of which tensor, its version, the result.
        self._of_candidates: tuple[torch.Tensor | None, int, torch.Tensor | None] = (None, -1, None)

    def _connections(self, backend: Backend) -> Any:
        if self.gates.has_tables:
            levels = tree_levels(self.leaf_inputs(), self.gates.fan_in, self.in_dim, backend)
            return levels, self._inputs_of_candidates() if self.training else None
        return backend.trees(self.indices, self.shape, self.candidates)

    def _inputs_of_candidates(self) -> torch.Tensor:
        """Return the input that each candidate is, int32 [k, neurons of the first level, candidates].

        It is made again if `candidates` has been replaced or written to, as when a state dict is loaded.
        """
        made_of, version, made = self._of_candidates
        if made is None or made_of is not self.candidates or version != self.candidates._version:
            inputs = self._inputs_of(self.candidates.flatten(2)).unflatten(0, (-1, self.candidates.shape[-1]))
            # [leaves, candidates, window, kernels, height, width] -> [k, gates, kernels, positions, candidates]
            by_leaf = inputs.permute(0, 3, 2, 4, 5, 1).flatten(2, 4)
            ordered = by_leaf.unflatten(0, (-1, self.gates.fan_in)).movedim(1, 0)
            made = ordered.flatten(1, 3).to(torch.int32).contiguous()
            self._of_candidates = (self.candidates, self.candidates._version, made)
        return made

    def _shares(self) -> torch.Tensor | None:
        return self.shares() if self.training else None
