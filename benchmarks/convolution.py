"""Convolutional logic layers beside torchlogix's and plain PyTorch, interleaved in one run.

    python benchmarks/convolution.py [--device cpu|cuda] [--sizes BATCHxKERNELS,KERNELS,... ...]
        [--most-peer-batch BATCH]

The layers are those of `model.difflogic.convolution`, with its defaults but for the kernels, on N-MNIST's frames of
random bits: forward, and backward to all weights from a given gradient of the outputs. Before anything is timed, every
implementation is checked to give plain PyTorch's outputs and gradients on the same weights and connections.

A gate evaluation is a gate at a position before pooling and a frame. The floor of arithmetic counts 6 operations for
each of them, and 22 on the way back for each of those that won their pooling windows (the value again, both inputs'
gradients, four sums), against the rate at which all threads, each for itself, compute a tree that is in the first-level
cache; on a GPU against that of a float32 matrix product. The floor of bytes counts each layer's inputs and outputs
three times (forward, backward, and the gradients; the first layer's inputs have none) against the bandwidth of copying
a large tensor. The rate is measured once per turn, since that of a virtual machine may change within seconds.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numba
import numpy as np
import torch
from torch import nn

from benchmarks.logic import copy_bandwidth, last_of_turn, now
from benchmarks.machine import describe_machine
from helper_scripts import peers
from src.config import ConvolutionOptions, DiffLogicOptions
from src.helpers import format_table, keep_freed_memory
from src.logic import LogicConvolution
from src.logic.backends.numba_convolution_kernels import window
from src.logic.backends.numba_vectors import LANES, length, zero_lanes
from src.logic.gates import FORM
from src.logic.parametrisation import GateOptions
from src.logic.stack import features_of_layers
from src.models.convolutions import convolutions

FRAME_SHAPE = (2, 34, 34)
ROUNDS = 15

Array = np.ndarray


@dataclass
class Contestant:
    """An implementation at one size; `forward` gives the last layer's outputs [batch, channels, height, width]."""

    name: str
    forward: Callable[[], torch.Tensor]
    parameters: list[nn.Parameter]


def our_layers(kernels: list[int], implementation: str, device: torch.device) -> list[LogicConvolution]:
    """Return the layers of these options, the same for every implementation, with weights of all kinds."""
    convolution = ConvolutionOptions(kernels=tuple(kernels))
    options = DiffLogicOptions(implementation=implementation, convolution=convolution)
    torch.manual_seed(0)
    return [layer.to(device) for layer in convolutions(FRAME_SHAPE, options, GateOptions())]


def contestants(batch: int, kernels: list[int], with_peers: bool, device: torch.device) -> list[Contestant]:
    """Return ours, and the peers with its weights and connections; plain PyTorch is the last."""
    frames = torch.randint(0, 2, (batch, *FRAME_SHAPE), device=device).float()
    features = frames.flatten(1).T.contiguous()
    found = []
    for implementation in ("triton" if device.type == "cuda" else "numba", "torch"):
        layers = our_layers(kernels, implementation, device)
        parameters = [layer.weights for layer in layers]
        found.append(Contestant(f"ours, {implementation}", _ours(layers, features), parameters))
    if not with_peers:
        return found[:1]
    network = torchlogix_network(our_layers(kernels, "torch", device)).to(device)
    return [found[0], Contestant("torchlogix, raw", lambda: network(frames), list(network.parameters())), found[1]]


def _ours(layers: list[LogicConvolution], features: torch.Tensor) -> Callable[[], torch.Tensor]:
    def forward() -> torch.Tensor:
        return features_of_layers(layers, features).T.reshape(-1, *layers[-1].out_shape)

    return forward


def torchlogix_network(layers: list[LogicConvolution]) -> nn.Module:
    """Return the same network in torchlogix's own layers."""
    convolution, pooling = peers.torchlogix_convolution()
    modules: list[nn.Module] = []
    for ours in layers:
        s = ours.shape
        layer = convolution(
            ours.in_shape[1:],
            s.channels,
            s.kernels,
            s.leaves.bit_length() - 1,
            ours.receptive_field,
            padding=s.before,  # on both sides: the same for an odd receptive field
            parametrization="raw",
        )
        channel, dy, dx = ours.indices.reshape(3, s.kernels, s.leaves // 2, 2).movedim(-1, 1)[:, :, :, None]
        sides = (torch.arange(side, device=channel.device) for side in (s.height, s.width))
        row, column = torch.meshgrid(*sides, indexing="ij")
        places = [dy + row.reshape(-1, 1), dx + column.reshape(-1, 1), channel.expand(-1, -1, row.numel(), -1)]
        later = (level.to(channel.device) for level in layer.connections.indices[1:])
        layer.connections.indices = [torch.stack(places, -1), *later]
        weights, first = ours.weights.detach().reshape(s.kernels, s.leaves - 1, 16), 0
        for level in layer.tree_weights:
            level.data.copy_(weights[:, first : first + len(level)].transpose(0, 1))
            first += len(level)
        modules += [layer, pooling(s.pool, s.pool)]
    return nn.Sequential(*modules)


def check_agreement(found: list[Contestant]) -> float:
    """Return the largest difference from the last contestant's outputs and gradients, relative to the largest."""
    results = []
    for contestant in found:
        y = contestant.forward()
        loss = (y * torch.linspace(0, 1, y[0].numel(), device=y.device).reshape(y.shape[1:])).sum()
        gradients = torch.autograd.grad(loss, contestant.parameters)
        # torchlogix has a tensor per level: compare their norm together.
        norm = sum((gradient.double().square().sum() for gradient in gradients), torch.zeros((), dtype=torch.float64))
        results.append((y.detach(), norm.sqrt()))
    worst = 0.0
    for y, norm in results[:-1]:
        for ours, theirs in ((y, results[-1][0]), (norm, results[-1][1])):
            worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
    if worst > 1e-4:
        raise AssertionError(f"the implementations differ by {worst:.1e}")
    return worst


def measure(
    found: list[Contestant], measure_rate: Callable[[], float]
) -> tuple[dict[str, list[tuple[float, float]]], list[float]]:
    """Return the seconds of forward and backward of each contestant, in turns as in logic.py, and a rate per turn."""
    times: dict[str, list[tuple[float, float]]] = {contestant.name: [] for contestant in found}
    passes = {each.name: functools.partial(timed_pass, each, torch.ones_like(each.forward())) for each in found}
    rates = []
    for _ in range(ROUNDS):
        rates.append(last_of_turn(measure_rate))
        for name, seconds in times.items():
            seconds.append(last_of_turn(passes[name]))
    return {name: seconds[2:] for name, seconds in times.items()}, rates[2:]  # the first two compile and warm up


def timed_pass(contestant: Contestant, gradient: torch.Tensor) -> tuple[float, float]:
    """Go forward, and backward from a gradient, and return the seconds of each."""
    began = now(gradient)
    y = contestant.forward()
    forwarded = now(gradient)
    torch.autograd.grad(y, contestant.parameters, gradient)
    return forwarded - began, now(gradient) - forwarded


def product_rate() -> float:
    """Return the GPU's operations per second in a float32 matrix product."""
    a, b = torch.rand(2, 8192, 8192, device="cuda")
    seconds = []
    for _ in range(5):
        began = now(a)
        product = a @ b
        seconds.append(now(product) - began)
    return 2 * 8192**3 / min(seconds)


def gate_rate() -> Callable[[], float]:
    """Return what measures the operations per second of all threads, each with a tree in its first-level cache."""
    leaves, rounds, threads = 8, 500_000, numba.get_num_threads()
    sizes = (length(leaves), length(1), length(FORM))
    line = 4 * LANES  # bytes of the cache's; threads write at least two apart, so that none shares one
    arrays = (
        zero_lanes(threads * (leaves + 1)).reshape(threads, -1),
        np.arange(leaves)[None] * LANES,
        np.ones((leaves - 1, 4), np.float32),
        np.empty((threads, 2 * line), np.uint8),
    )

    @numba.njit(parallel=True)
    def run(memory: Array, offsets: Array, coefficients: Array, won: Array, rounds: int) -> None:
        for thread in numba.prange(len(memory)):
            own = memory[thread]
            for _ in range(rounds):
                window(own, 0, 0, 0, offsets, coefficients, sizes, own, leaves * LANES, won[thread], line)

    def measured() -> float:
        began = time.perf_counter()
        run(*arrays, rounds)
        return 6 * (leaves - 1) * LANES * rounds * threads / (time.perf_counter() - began)

    run(*arrays, 1)
    return measured


def floors(layers: list[LogicConvolution], batch: int) -> tuple[int, int, int]:
    """Return gate evaluations, operations and bytes of forward and backward; see the module's docstring."""
    evaluations = operations = numbers = 0
    for layer in layers:
        windows = (layer.shape.leaves - 1) * layer.out_dim * batch
        evaluations += windows * layer.shape.pool**2
        operations += windows * (6 * layer.shape.pool**2 + 22)
        numbers += (3 * layer.in_dim + 3 * layer.out_dim) * batch
    return evaluations, operations, 4 * (numbers - layers[0].in_dim * batch)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", nargs="+", default=["16x32,128", "128x32,128"], metavar="BATCHxKERNELS,KERNELS")
    parser.add_argument("--most-peer-batch", type=int, default=16, help="peers take gigabytes: up to this batch")
    arguments = parser.parse_args()
    keep_freed_memory()  # as training does; the peers gain by it too
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    bandwidth, measure_rate = copy_bandwidth(device), product_rate if on_gpu else gate_rate()
    print(describe_machine())
    print(torch.cuda.get_device_name() if on_gpu else f"{numba.get_num_threads()} threads", end="")
    print(f", copying {bandwidth / 1e9:.1f} GB/s")
    for size in arguments.sizes:
        batch_text, kernels_text = size.split("x")
        batch, kernels = int(batch_text), [int(number) for number in kernels_text.split(",")]
        found = contestants(batch, kernels, batch <= arguments.most_peer_batch, device)
        difference = f"; largest difference {check_agreement(found):.0e}" if len(found) > 1 else ""
        times, rates = measure(found, measure_rate)
        evaluations, operations, least_bytes = floors(our_layers(kernels, "torch", device), batch)
        medians = {name: statistics.median(sum(both) for both in seconds) for name, seconds in times.items()}
        rows = []
        for name, seconds in times.items():
            forward, backward = (statistics.median(phase) for phase in zip(*seconds, strict=True))
            totals = sorted(sum(both) for both in seconds)
            shares = [operations / (rate * sum(both)) for rate, both in zip(rates, seconds, strict=True)]
            rows.append(
                [
                    name,
                    f"{1e3 * forward:.1f}",
                    f"{1e3 * backward:.1f}",
                    f"{1e3 * totals[len(totals) // 4]:.1f}-{1e3 * totals[-len(totals) // 4]:.1f}",
                    f"{1e9 * medians[name] / evaluations:.2f}",
                    f"{100 * statistics.median(shares):.0f} %",
                    f"{100 * least_bytes / bandwidth / medians[name]:.1f} %",
                    f"{medians[name] / medians[found[0].name]:.1f}",
                ]
            )
        print(f"\nbatch {batch}, kernels {kernels}: {evaluations / 1e6:.1f} M gate evaluations, ", end="")
        print(f"{operations / 1e9:.2f} G operations, {least_bytes / 1e6:.0f} MB{difference}")
        rates.sort()
        quartiles = rates[len(rates) // 4] / 1e9, rates[-len(rates) // 4] / 1e9
        print(f"rate of {'a product' if on_gpu else 'gates'} {quartiles[0]:.0f}-{quartiles[1]:.0f} Gop/s")
        header = ["", "forward ms", "backward ms", "quartiles", "ns per gate", "of gates' rate", "of copying"]
        print(format_table([*header, f"times {found[0].name}"], rows))


if __name__ == "__main__":
    main()
