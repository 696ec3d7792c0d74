"""LogicConvolution: a convolutional layer of logic gates, the module."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from src.logic.backends import numba_convolution as convolution_functions
from src.logic.backends import torch_convolution as convolution_reference
from src.logic.backends.numba_convolution_kernels import FORM, SIGMOID, STEP, geometry
from src.logic.dense import IMPLEMENTATIONS, resolve_implementation, scale_gradient
from src.logic.parametrisation import (
    GateOptions,
    discretised_coefficients,
    discretised_gates,
    initial_weights,
    relaxed_coefficients,
)

CHANNELS_OF_A_KERNEL = 2  # at most; Petersen et al. 2024, section 3.2


class LogicConvolution(nn.Module):
    """Trees of two-input gates over receptive fields, the same at every position (Petersen et al. 2024).

    A kernel is a complete binary tree of gates, whose leaves are pixels of its receptive field; it is evaluated around
    every pixel, where what lies outside the frame is 0. Of each pooling window the largest output is kept: the OR of
    bits. Gates are learned as in LogicLayer.

    Attributes:
        weights: parameter [kernels * (leaves - 1), parameters of a gate], kernel by kernel. With L leaves, node i < L
            of a tree is leaf i and node L + g is gate g, whose inputs are nodes 2g and 2g + 1; the last gate is the
            output.
        indices: buffer int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        out_shape: channels (which are the kernels), height and width of the output.
    """

    indices: torch.Tensor

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        kernels: int,
        receptive_field: int = 5,
        tree_depth: int = 3,
        pool: int = 2,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = "auto",
        gates: GateOptions | None = None,
        groups: int = 1,
        connect: bool = True,
    ) -> None:
        """Draw weights and connections from PyTorch's global generators.

        Args:
            in_shape: channels, height and width of the input.
            kernels: number of trees, the channels of the output.
            receptive_field: its height and width; an even one reaches one pixel further down and right.
            tree_depth: gates between a leaf and the output; a tree has 2^tree_depth leaves.
            pool: height and width of a pooling window; 1: no pooling. Rows and columns that fill no window are left
                out.
            device: where the weights are created.
            grad_factor: the gradient that goes back to the inputs is multiplied by it.
            implementation: one of IMPLEMENTATIONS but difflogic, which has no convolution.
            gates: how they are learned; without, by softmax from residual initialisation.
            groups: of consecutive channels, and of as many kernels each, that see none but theirs, as PyTorch's Conv2d
                has them.
            connect: whether to draw connections; a subclass may have its own.

        Raises:
            ValueError: for sizes or names that cannot be.
        """
        super().__init__()
        if implementation not in IMPLEMENTATIONS or implementation == "difflogic":
            allowed = ", ".join(name for name in IMPLEMENTATIONS if name != "difflogic")
            raise ValueError(f"implementation {implementation!r} is none that convolutions have: {allowed}")
        sizes = {"kernels": kernels, "receptive_field": receptive_field, "tree_depth": tree_depth, "pool": pool}
        for name, size in {**dict(zip(("channels", "height", "width"), in_shape, strict=True)), **sizes}.items():
            if size < 1:
                raise ValueError(f"a logic convolution needs {name} of at least 1, got {size}")
        if groups < 1 or in_shape[0] % groups or kernels % groups:
            raise ValueError(f"{in_shape[0]} channels and {kernels} kernels cannot be divided into {groups} groups")
        if min(in_shape[1:]) < pool:
            raise ValueError(f"{in_shape[1]} x {in_shape[2]} pixels are too few for pooling windows of {pool} x {pool}")
        self.in_shape = in_shape
        self.shape = geometry(in_shape, kernels, 2**tree_depth, receptive_field, pool)
        self.out_shape = (kernels, self.shape.out_height, self.shape.out_width)
        self.in_dim = in_shape[0] * in_shape[1] * in_shape[2]
        self.out_dim = kernels * self.shape.out_height * self.shape.out_width
        self.receptive_field = receptive_field
        self.grad_factor = grad_factor
        self.implementation = implementation
        self.gates = gates or GateOptions(initialisation="residual")
        self.weights = nn.Parameter(initial_weights(kernels * (self.shape.leaves - 1), self.gates, device))
        if connect:
            draw = functools.partial(tree_connections, leaves=self.shape.leaves, receptive_field=receptive_field)
            indices = draw_by_group(draw, in_shape[0], kernels, groups)
            self.register_buffer("indices", indices.to(device))
        self._made: tuple[torch.Tensor | None, int, Any] = (None, -1, None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, channels, height, width] -> [batch, *out_shape], values in 0 to 1."""
        return self.forward_features(x.flatten(1).T.contiguous()).T.reshape(len(x), *self.out_shape)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """[in_dim, batch] -> [out_dim, batch]: feature-major, in the order of channel, row, column."""
        if x.ndim != 2 or x.shape[0] != self.in_dim:
            raise ValueError(f"expected {self.in_dim} input features, got a tensor of shape {list(x.shape)}")
        implementation = resolve_implementation(self.implementation, x)
        trees, coefficients, shares = self._trees(), self.coefficients(), self._shares()
        relaxed_walsh = self.training and self.gates.sigmoid_after
        if implementation in ("numba", "triton"):
            after = FORM
            if relaxed_walsh:
                after = STEP if self.gates.hard else SIGMOID
                coefficients = coefficients / self.gates.temperature
            y = convolution_functions.convolution(
                x, coefficients, trees, self.grad_factor, implementation, shares, after
            )
            return y.to(x.dtype)
        gates = self.gates if relaxed_walsh else None
        return convolution_reference.convolution(
            scale_gradient(x, self.grad_factor),
            coefficients,
            trees.connections,
            self.shape,
            gates,
            trees.candidates,
            shares,
        )

    def coefficients(self) -> torch.Tensor:
        """[kernels * (leaves - 1), 4], float32 or wider: bilinear forms, relaxed in train mode, else discretised."""
        if self.training:
            return relaxed_coefficients(self.weights, self.gates)
        return discretised_coefficients(self.weights, self.gates)

    def discretised_gates(self) -> torch.Tensor:
        """int64 [kernels * (leaves - 1)]: the gate that each is in eval mode, in the order of `src.logic.gates`."""
        return discretised_gates(self.weights, self.gates)

    def leaf_inputs(self) -> torch.Tensor:
        """The input that each leaf of each tree reads: int64 [leaves, pool * pool, kernels, out_height, out_width].

        in_dim stands for the zeros around the frame. The second dimension is the position in the pooling window.
        """
        s = self.shape
        channel, dy, dx = self.indices.cpu().transpose(1, 2)[:, :, None, :, None, None]
        position = torch.arange(s.pool**2)[:, None, None, None]
        row = torch.arange(s.out_height)[:, None] * s.pool + position // s.pool + dy - s.before
        column = torch.arange(s.out_width) * s.pool + position % s.pool + dx - s.before
        inside = (row >= 0) & (row < s.height) & (column >= 0) & (column < s.width)
        return torch.where(inside, (channel * s.height + row) * s.width + column, self.in_dim)

    def _trees(self) -> convolution_functions.Trees:
        """Made anew whenever `indices` has been replaced or written to, as loading a state dict does."""
        made_of, version, trees = self._made
        if made_of is not self.indices or version != self.indices._version:
            trees = convolution_functions.Trees(self.indices, self.shape)
            self._made = (self.indices, self.indices._version, trees)
        return trees

    def _shares(self) -> torch.Tensor | None:
        """[kernels, leaves, candidates]: what a subclass learns of its leaves."""
        return None

    def extra_repr(self) -> str:
        """What `print` shows."""
        s = self.shape
        return (
            f"{self.in_shape}, {self.out_shape}, receptive_field={self.receptive_field}, leaves={s.leaves}, "
            f"pool={s.pool}, grad_factor={self.grad_factor}"
        )


def draw_by_group(draw: Callable[[int, int], torch.Tensor], channels: int, kernels: int, groups: int) -> torch.Tensor:
    """What `draw` gives for as many channels and kernels as a group has, int64 [3, kernels, ...]: of all groups."""
    drawn = [draw(channels // groups, kernels // groups) for _ in range(groups)]
    for group, indices in enumerate(drawn):
        indices[0] += group * (channels // groups)
    return torch.cat(drawn, 1)


def tree_connections(channels: int, kernels: int, leaves: int, receptive_field: int) -> torch.Tensor:
    """int64 [3, kernels, leaves]: each leaf's channel, and its row and column in the receptive field.

    A kernel sees two channels, each channel is seen equally often, up to two, and a leaf is drawn twice only where a
    tree has more leaves than its two receptive fields have pixels. Draws from PyTorch's global CPU generator.
    """
    pairs: list[
        torch.Tensor
    ] = []  # of neighbours in a ring of all channels in random order; every second pair, then those between
    while sum(len(some) for some in pairs) < kernels:
        ring = torch.randperm(channels)
        neighbours = torch.stack([ring, ring.roll(-1)], 1)
        pairs += [neighbours[0::2], neighbours[1::2]]
    seen = torch.cat(pairs)[:kernels, : min(channels, CHANNELS_OF_A_KERNEL)]
    pixels = receptive_field**2
    taps = torch.stack(
        [
            torch.randperm(seen.shape[1] * pixels)[torch.arange(leaves) % (seen.shape[1] * pixels)]
            for _ in range(kernels)
        ]
    )
    channel, pixel = seen.gather(1, taps // pixels), taps % pixels
    return torch.stack([channel, pixel // receptive_field, pixel % receptive_field])


def tree_candidates(channels: int, kernels: int, leaves: int, receptive_field: int, candidates: int) -> torch.Tensor:
    """int64 [3, kernels, leaves, candidates]: distinct pixels of the receptive field, of any channel, like connections.

    The first ones are the `tree_connections` of the same seed. Draws from PyTorch's global CPU generator.

    Raises:
        ValueError: if there are fewer pixels than candidates.
    """
    pixels = receptive_field**2
    if candidates > channels * pixels:
        raise ValueError(
            f"{candidates} candidates cannot be told apart among {channels * pixels} pixels of {channels} channels"
        )
    channel, row, column = tree_connections(channels, kernels, leaves, receptive_field)
    first = (channel * pixels + row * receptive_field + column).flatten()
    # Others, as shifts from the first, which are distinct.
    shifts = torch.stack([torch.randperm(channels * pixels - 1)[: candidates - 1] + 1 for _ in first])
    taps = (first[:, None] + torch.nn.functional.pad(shifts, (1, 0))) % (channels * pixels)
    taps = taps.reshape(kernels, leaves, candidates)
    return torch.stack([taps // pixels, taps % pixels // receptive_field, taps % receptive_field])
