"""LogicConvolution: a convolutional layer of logic gates."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch

from src.logic.backends import AUTO, Backend, require_backend
from src.logic.backends.backend import StackedConvolution
from src.logic.gate_layer import GateLayer
from src.logic.parametrisation import GateOptions
from src.logic.table_trees import table_convolution, tree_levels
from src.logic.trees import geometry

CHANNELS_OF_A_KERNEL = 2  # or fewer; Petersen et al. 2024, section 3.2


class LogicConvolution(GateLayer):
    """Trees of gates over receptive fields, the same at every position (Petersen et al. 2024).

    A kernel is a complete tree of gates of k inputs, two by default, whose leaves are pixels of its receptive field; it
    is evaluated around every pixel; what lies outside the frame is 0. The largest output of each pooling window is
    kept: the OR of bits. Gates are learned as in LogicLayer.

    Attributes:
        weights: parameter [kernels * gates of a tree, weights of a gate], kernel by kernel. With L leaves, node i < L
            of a tree is leaf i and node L + g is gate g, whose inputs are nodes k g to k g + k - 1; the last gate is
            the output.
        indices: buffer int64 [3, kernels, leaves], each leaf's channel, and its row and column in the receptive field.
        out_shape: channels (which are the kernels), height and width of the output.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        kernels: int,
        receptive_field: int = 5,
        tree_depth: int = 3,
        pool: int = 2,
        device: torch.device | str | None = None,
        grad_factor: float = 1.0,
        implementation: str = AUTO,
        gates: GateOptions | None = None,
        groups: int = 1,
        connect: bool = True,
    ) -> None:
        """Draw weights and connections from PyTorch's global generators.

        Args:
            in_shape: channels, height and width of the input.
            kernels: number of trees, the channels of the output.
            receptive_field: its height and width; an even one reaches one pixel further down and right.
            tree_depth: gates between a leaf and the output; a tree of gates of k inputs has k^tree_depth leaves.
            pool: height and width of a pooling window; 1 means no pooling. Rows and columns that fill no window are
                left out.
            device: where the weights are created.
            grad_factor: the gradient that goes back to the inputs is multiplied by it.
            implementation: `auto`, or the name of a backend that has convolutions.
            gates: how they are learned; by default by softmax, from residual initialisation.
            groups: number of groups of consecutive channels; a group's kernels see its channels alone, as in PyTorch's
                Conv2d.
            connect: whether to draw connections; a subclass may have its own.

        Raises:
            ValueError: for sizes or names that cannot be.
        """
        require_backend(implementation, convolution=True)
        sizes = {"kernels": kernels, "receptive_field": receptive_field, "tree_depth": tree_depth, "pool": pool}
        for name, size in {**dict(zip(("channels", "height", "width"), in_shape, strict=True)), **sizes}.items():
            if size < 1:
                raise ValueError(f"a logic convolution needs {name} of at least 1, got {size}")
        if groups < 1 or in_shape[0] % groups or kernels % groups:
            raise ValueError(f"{in_shape[0]} channels and {kernels} kernels cannot be divided into {groups} groups")
        if min(in_shape[1:]) < pool:
            raise ValueError(
                f"{in_shape[1]} x {in_shape[2]} pixels are left, too few for pooling windows of {pool} x {pool}: take "
                "larger frames (data.downsample), smaller receptive fields or less pooling"
            )
        gates = gates or GateOptions(initialisation="residual")
        shape = geometry(in_shape, kernels, gates.fan_in**tree_depth, receptive_field, pool)
        out_shape = (kernels, shape.out_height, shape.out_width)
        super().__init__(
            math.prod(in_shape),
            math.prod(out_shape),
            kernels * gates_of_tree(gates.fan_in, tree_depth),
            gates,
            device,
            grad_factor,
            implementation,
        )
        self.in_shape, self.shape, self.out_shape = in_shape, shape, out_shape
        self.receptive_field = receptive_field
        if connect:
            draw = functools.partial(tree_connections, leaves=self.shape.leaves, receptive_field=receptive_field)
            indices = draw_by_group(draw, in_shape[0], kernels, groups)
            self.register_buffer("indices", indices.to(device))

    @property
    def positions(self) -> int:
        """Return how often each gate is there: at each position of each pooling window."""
        return self.shape.pool**2 * self.shape.out_height * self.shape.out_width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer: [batch, channels, height, width] -> [batch, *out_shape], values in 0 to 1."""
        return self.forward_features(x.flatten(1).T.contiguous()).T.reshape(len(x), *self.out_shape)

    def stacked(self, backend: Backend) -> StackedConvolution:
        """Return what `Backend.convolutions` takes; the gates have two inputs."""
        return StackedConvolution(self.gate_weights(), self._connections(backend), self.grad_factor, self._shares())

    def _features(self, backend: Backend, x: torch.Tensor) -> torch.Tensor:
        if not self.gates.has_tables:
            return backend.convolutions(x, [self.stacked(backend)])
        shares = self._shares()
        levels, candidates = self._connections(backend)
        learned = None if shares is None else (shares, candidates)
        return table_convolution(backend, x, self.gate_weights(), levels, self.shape, self.grad_factor, learned)

    def leaf_inputs(self) -> torch.Tensor:
        """Return the input that each leaf reads, int64 [leaves, pool * pool, kernels, out_height, out_width].

        in_dim stands for the zeros around the frame. The second dimension is the position in the pooling window.
        """
        return self._inputs_of(self.indices)

    def _inputs_of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the inputs that pixels of receptive fields are, as `leaf_inputs`, from int64 [3, kernels, pixels]."""
        s, device = self.shape, pixels.device
        channel, dy, dx = pixels.transpose(1, 2)[:, :, None, :, None, None]
        position = torch.arange(s.pool**2, device=device)[:, None, None, None]
        row = torch.arange(s.out_height, device=device)[:, None] * s.pool + position // s.pool + dy - s.before
        column = torch.arange(s.out_width, device=device) * s.pool + position % s.pool + dx - s.before
        inside = (row >= 0) & (row < s.height) & (column >= 0) & (column < s.width)
        return torch.where(inside, (channel * s.height + row) * s.width + column, self.in_dim)

    def _connect(self, backend: Backend) -> Any:
        if self.gates.has_tables:
            return tree_levels(self.leaf_inputs(), self.gates.fan_in, self.in_dim, backend), None
        return backend.trees(self.indices, self.shape)

    def _shares(self) -> torch.Tensor | None:
        """Return what a subclass learns about its leaves, [kernels, leaves, candidates]; None if there is nothing."""
        return None

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        s = self.shape
        return (
            f"{self.in_shape}, {self.out_shape}, receptive_field={self.receptive_field}, leaves={s.leaves}, "
            f"pool={s.pool}, grad_factor={self.grad_factor}"
        )


def gates_of_tree(fan_in: int, depth: int) -> int:
    """Return the number of gates of a complete tree of gates with `fan_in` inputs, on fan_in^depth leaves."""
    gates: int = (fan_in**depth - 1) // (fan_in - 1)
    return gates


def draw_by_group(draw: Callable[[int, int], torch.Tensor], channels: int, kernels: int, groups: int) -> torch.Tensor:
    """Return what `draw` gives for each group's channels and kernels, int64 [3, kernels, ...] of all groups."""
    drawn = [draw(channels // groups, kernels // groups) for _ in range(groups)]
    for group, indices in enumerate(drawn):
        indices[0] += group * (channels // groups)
    return torch.cat(drawn, 1)


def tree_connections(channels: int, kernels: int, leaves: int, receptive_field: int) -> torch.Tensor:
    """Draw int64 [3, kernels, leaves]: each leaf's channel, and its row and column in the receptive field.

    A kernel sees two channels, each channel is seen equally often, up to two, and a leaf is drawn twice only where a
    tree has more leaves than its two receptive fields have pixels. Draws from PyTorch's global CPU generator.
    """
    # Neighbours in a ring of all channels in random order: every second pair, then those between.
    pairs: list[torch.Tensor] = []
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
    """Draw int64 [3, kernels, leaves, candidates]: distinct pixels of the receptive field, of any channel.

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
    # The others lie at distinct shifts from the first.
    shifts = torch.stack([torch.randperm(channels * pixels - 1)[: candidates - 1] + 1 for _ in first])
    taps = (first[:, None] + torch.nn.functional.pad(shifts, (1, 0))) % (channels * pixels)
    taps = taps.reshape(kernels, leaves, candidates)
    return torch.stack([taps // pixels, taps % pixels // receptive_field, taps % receptive_field])
