"""A training step of a logic gate network beside difflogic's and torchlogix's, interleaved in one run.

    python benchmarks/logic.py [--device cpu|cuda] [--sizes BATCHxNEURONSxLAYERS ...] [--dtypes float32 ...]

Ours is the network that `create_model` gives, from packed frames to Adam; the others get unpacked frames for nothing,
which favours them. All have PyTorch's fused Adam. torchlogix runs as it is and compiled by `torch.compile`. A step is
forward, cross entropy, backward and Adam. A turn is a tenth of a second of steps, or one step if it takes longer, of
which the last is timed: as in training, the caches hold what the steps before left there. Before anything is timed,
every implementation is checked to give difflogic's outputs and gradients on the same weights and connections.

Bytes are the least that this algorithm moves. Per neuron and frame, these are 3 activations forward and 6 backward, or
3 in the first layer, whose inputs need no gradient. Per neuron, these are 16 parameters 11 times: softmax, its
gradient, Adam. They are compared with the bandwidth of copying a large tensor, measured in the same run.

The last column says what limits a row: the two operations that take most of one more step, by torch.profiler.
"""

import argparse
import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

from benchmarks.machine import describe_machine
from helper_scripts import peers
from src.config import DiffLogicOptions, Model
from src.helpers import format_table, keep_freed_memory
from src.logic import GroupSum
from src.model import DiffLogic, create_model, unpack_frames

FRAME_SHAPE = (2, 34, 34)
CLASSES = 10
INPUTS = 2 * 34 * 34
ROUNDS = 15
LEAST_TURN = 0.1  # seconds
_Seconds = TypeVar("_Seconds")


@dataclass
class Contestant:
    """An implementation at one size; `forward` gives class scores."""

    name: str
    forward: Callable[[], torch.Tensor]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer


def contestants(
    batch: int, neurons: int, layers: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[Contestant], torch.Tensor]:
    """Return ours and the peers with the same weights and connections, and labels."""
    packed = torch.randint(0, 256, (batch, -(-INPUTS // 8)), dtype=torch.uint8, device=device)
    frames = unpack_frames(packed, FRAME_SHAPE, dtype)
    flat = frames.flatten(1)
    labels = torch.randint(0, CLASSES, (batch,), device=device)
    found = []
    reference: DiffLogic | None = None
    implementations = ["auto", "torch"]
    if device.type == "cuda" and dtype != torch.bfloat16 and importlib.util.find_spec("difflogic_cuda"):
        implementations.append("difflogic")
    for implementation in implementations:
        options = DiffLogicOptions(
            num_neurons=neurons,
            num_layers=layers,
            implementation=implementation,
            connections="unique",  # difflogic's CUDA gradient is wrong where both inputs are the same
        )
        torch.manual_seed(0)
        model = create_model(Model(difflogic=options), FRAME_SHAPE, CLASSES).to(device)
        assert isinstance(model, DiffLogic)
        reference = reference or model
        parameters = list(model.parameters())
        found.append(
            Contestant(
                f"ours, {implementation}",
                _ours(model, packed, dtype),
                parameters,
                torch.optim.Adam(parameters, lr=0.01, fused=True),
            )
        )
    assert reference is not None
    if dtype == torch.float32:
        peer_networks = {"torchlogix, raw": _torchlogix, "torchlogix, raw, compiled": _torchlogix_compiled}
        if device.type == "cpu":
            peer_networks = {"difflogic, Python": difflogic_network, **peer_networks}
        for name, build in peer_networks.items():
            network = build(reference).to(device)
            parameters = list(network.parameters())
            optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
            found.append(Contestant(name, functools.partial(network, flat), parameters, optimizer))
    return found, labels


def _ours(model: DiffLogic, packed: torch.Tensor, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    def forward() -> torch.Tensor:
        with torch.autocast(packed.device.type, dtype, enabled=dtype != torch.float32):
            return model.forward_packed(packed)

    return forward


def difflogic_network(model: DiffLogic, device: str = "cpu") -> nn.Module:
    """Return the same network in difflogic's own layers; those of its CUDA extension are for packed inference only."""
    package = peers.difflogic()
    layers: list[Any] = []
    for ours in model.logic_layers():
        layer = package.LogicLayer(ours.in_dim, ours.out_dim, device=device)
        # int32 keeps its forward in Python from printing; it is cast when it is used.
        layer.indices = tuple(ours.indices.to(device, torch.int32 if device == "cpu" else torch.int64))
        layer.weights.data.copy_(ours.weights.data)
        layers.append(layer)
    return nn.Sequential(*layers, package.GroupSum(CLASSES, model.tau, device=device))


def _torchlogix(model: DiffLogic) -> nn.Module:
    dense = peers.torchlogix_dense()
    layers: list[Any] = []
    for ours in model.logic_layers():
        layer = dense(ours.in_dim, ours.out_dim, device="cpu", parametrization="raw")
        layer.connections.indices = ours.indices.clone()
        layer.weight.data.copy_(ours.weights.data)
        layers.append(layer)
    return nn.Sequential(*layers, GroupSum(CLASSES, model.tau))


def _torchlogix_compiled(model: DiffLogic) -> nn.Module:
    return cast(nn.Module, torch.compile(_torchlogix(model)))


def check_agreement(found: list[Contestant], labels: torch.Tensor, dtype: torch.dtype) -> float:
    """Return the largest difference from the last contestant's outputs and gradients, relative to the largest."""
    results = []
    for contestant in found:
        scores = contestant.forward().float()
        gradients = torch.autograd.grad(nn.functional.cross_entropy(scores, labels), contestant.parameters)
        results.append([scores.detach(), *gradients])
    worst = 0.0
    for result in results[:-1]:
        for ours, theirs in zip(result, results[-1], strict=True):
            worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
    if dtype == torch.float32 and worst > 1e-4:
        raise AssertionError(f"the implementations differ by {worst:.1e}")
    return worst


def measure(found: list[Contestant], labels: torch.Tensor) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each contestant's phases, in turns."""
    times: dict[str, dict[str, list[float]]] = {c.name: {"forward": [], "backward": [], "step": []} for c in found}
    for round_number in range(ROUNDS + 2):
        for contestant in found:
            phases = last_of_turn(functools.partial(timed_step, contestant, labels))
            if round_number >= 2:  # the first compile and warm up
                for phase, seconds in phases.items():
                    times[contestant.name][phase].append(seconds)
    return times


def last_of_turn(timed: Callable[[], _Seconds]) -> _Seconds:
    """Call what times a step for LEAST_TURN, at least once, and return what the last call gives."""
    began = time.perf_counter()
    seconds = timed()
    while time.perf_counter() - began < LEAST_TURN:
        seconds = timed()
    return seconds


def timed_step(contestant: Contestant, labels: torch.Tensor) -> dict[str, float]:
    """Take a step, and return the seconds of its phases."""
    began = now(labels)
    loss = nn.functional.cross_entropy(contestant.forward().float(), labels)
    forwarded = now(labels)
    loss.backward()
    backwarded = now(labels)
    contestant.optimizer.step()
    contestant.optimizer.zero_grad(set_to_none=True)
    return {"forward": forwarded - began, "backward": backwarded - forwarded, "step": now(labels) - began}


def busiest(contestant: Contestant, labels: torch.Tensor) -> str:
    """Return the two operations that take most of a step, with their shares of all operations' time."""
    on_gpu = labels.is_cuda
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, *([kinds.CUDA] if on_gpu else [])]) as profile:
        timed_step(contestant, labels)
    seconds = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in profile.key_averages()
    }
    total = sum(seconds.values())
    first = sorted(seconds, key=lambda name: -seconds[name])[:2]
    return ", ".join(f"{name.split('(')[0][:40]} {100 * seconds[name] / total:.0f} %" for name in first)


def now(tensor: torch.Tensor) -> float:
    """Return a clock's seconds after all work on the tensor's device is done."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second, read plus written, of copying a tensor far larger than any cache."""
    source = torch.rand(1 << 28 if device.type == "cuda" else 1 << 27, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(7):
        began = now(source)
        target.copy_(source)
        seconds.append(now(source) - began)
    return 2 * source.nbytes / statistics.median(seconds)


def least_bytes(batch: int, neurons: int, layers: int, element_size: int) -> dict[str, int]:
    """Return the least bytes of a phase, see the module's docstring."""
    parameters = neurons * layers * 16 * 4
    forward = 3 * batch * neurons * layers * element_size + 2 * parameters
    backward = (6 * (layers - 1) + 3) * batch * neurons * element_size + 2 * parameters
    return {"forward": forward, "backward": backward, "step": forward + backward + 7 * parameters}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--sizes", nargs="+", default=["64x4000x4", "256x16000x4"], metavar="BATCHxNEURONSxLAYERS")
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    keep_freed_memory()  # as training does; the peers gain by it too
    bandwidth = copy_bandwidth(device)
    print(describe_machine())
    if device.type == "cuda":
        print(torch.cuda.get_device_name())
    print(f"{torch.get_num_threads()} threads, copying {bandwidth / 1e9:.1f} GB/s, {INPUTS} inputs, {CLASSES} classes")

    for size in arguments.sizes:
        batch, neurons, layers = map(int, size.split("x"))
        for name in arguments.dtypes:
            dtype = getattr(torch, name)
            found, labels = contestants(batch, neurons, layers, dtype, device)
            difference = check_agreement(found, labels, dtype)
            times = measure(found, labels)
            limits = {contestant.name: busiest(contestant, labels) for contestant in found}
            floor = least_bytes(batch, neurons, layers, dtype.itemsize)
            medians = {n: {p: statistics.median(v) for p, v in phases.items()} for n, phases in times.items()}
            rows = []
            for contestant, phases in medians.items():
                steps = sorted(times[contestant]["step"])
                rows.append(
                    [
                        contestant,
                        *(f"{1e3 * phases[phase]:.2f}" for phase in floor),
                        f"{1e3 * steps[len(steps) // 4]:.3f}-{1e3 * steps[-len(steps) // 4]:.3f}",
                        *(f"{100 * floor[phase] / bandwidth / phases[phase]:.0f} %" for phase in floor),
                        *(f"{medians[other]['step'] / phases['step']:.1f}" for other in list(medians)[1:]),
                        limits[contestant],
                    ]
                )
            print(f"\nbatch {batch}, {layers} layers of {neurons} neurons, {name}; ", end="")
            print(f"at least {floor['step'] / 1e6:.0f} MB a step; largest relative difference {difference:.0e}")
            header = ["", "forward ms", "backward ms", "step ms", "quartiles", "of copy: forward", "backward", "step"]
            header += [f"times {other}" for other in list(medians)[1:]]
            print(format_table([*header, "most of the time"], rows))


if __name__ == "__main__":
    main()
