"""A training step and its memory with softmax, light and walsh gates, beside torchlogix's of the same, in one run.

    python benchmarks/parametrisations.py [--device cpu|cuda] [--size BATCHxNEURONSxLAYERS] [--dtype float32]
        [--fan-in 2|4|6]

Ours are the networks of `create_model`, from packed frames to Adam. torchlogix's (raw, light, warp; on the CPU in
float32), as it is and compiled by `torch.compile`, get unpacked frames for free, which favours them. Before anything
is timed, all are checked to give the same outputs and gradients on the same weights and connections. Gates of four and
six inputs are light and walsh only, in torchlogix (`lut_rank`) too; all get fused Adam.

Memory counts the weights with their gradients and Adam's two moments, and what a forward keeps for the backward. The
last column says what limits a row, as in logic.py.
"""

import argparse
import functools
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import nn

from benchmarks.logic import CLASSES, FRAME_SHAPE, INPUTS, Contestant, busiest, check_agreement, measure
from benchmarks.machine import describe_machine
from helper_scripts import peers
from src.config import DiffLogicOptions, Model
from src.helpers import format_table, keep_freed_memory
from src.logic import GroupSum
from src.logic.parametrisation import FAN_INS, GateOptions, GateWeights
from src.model import DiffLogic, create_model, unpack_frames
from src.registry import PARAMETRISATIONS

THEIRS = {"softmax": "raw", "light": "light", "walsh": "warp"}
COPIES = 4  # copies of the weights: themselves, the gradient, two moments


def pair(
    parametrisation: str,
    packed: torch.Tensor,
    neurons: int,
    layers: int,
    dtype: torch.dtype,
    with_theirs: bool,
    fan_in: int,
) -> list[Contestant]:
    """Return our network and torchlogix's, as it is and compiled, with the same weights and connections."""
    options = DiffLogicOptions(num_neurons=neurons, num_layers=layers, parametrisation=parametrisation, fan_in=fan_in)
    torch.manual_seed(0)
    model = create_model(Model(difflogic=options), FRAME_SHAPE, CLASSES).to(packed.device)
    assert isinstance(model, DiffLogic)

    def forward() -> torch.Tensor:
        with torch.autocast(packed.device.type, dtype, enabled=dtype != torch.float32):
            return model.forward_packed(packed)

    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
    found = [Contestant(f"ours, {parametrisation}", forward, parameters, optimizer)]
    for suffix, finish in (("", _as_it_is), (", compiled", torch.compile)) if with_theirs else ():
        network: Any = finish(_torchlogix(model, THEIRS[parametrisation], fan_in))
        flat = unpack_frames(packed, FRAME_SHAPE, dtype).flatten(1)
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
        name = f"torchlogix, {THEIRS[parametrisation]}{suffix}"
        found.append(Contestant(name, functools.partial(network, flat), parameters, optimizer))
    return found


def _as_it_is(network: nn.Module) -> nn.Module:
    return network


def _torchlogix(model: DiffLogic, parametrization: str, fan_in: int) -> nn.Module:
    dense = peers.torchlogix_dense()
    layers: list[Any] = []
    for ours in model.logic_layers():
        layer = dense(ours.in_dim, ours.out_dim, device="cpu", parametrization=parametrization, lut_rank=fan_in)
        layer.connections.indices = ours.indices.clone()
        layer.weight.data.copy_(ours.weights.data[:, _order(dense, parametrization, fan_in)])
        layers.append(layer)
    return nn.Sequential(*layers, GroupSum(CLASSES, model.tau))


@functools.cache
def _order(dense: Any, parametrization: str, fan_in: int) -> list[int]:
    """Return which of our weights each of torchlogix's is, found by what a gate with this weight alone computes."""
    size = 2**fan_in if fan_in > 2 or parametrization != "raw" else 16
    if fan_in == 2:
        return list(range(size))
    corners = torch.tensor([[v >> (fan_in - 1 - i) & 1 for i in range(fan_in)] for v in range(size)]).float()
    layer = dense(fan_in, size, device="cpu", parametrization=parametrization, lut_rank=fan_in)
    layer.connections.indices = torch.arange(fan_in)[:, None].expand(fan_in, size).clone()
    layer.weight.data.copy_(10 * torch.eye(size) - (5 if parametrization == "light" else 0))
    theirs = layer(corners).detach().T  # [weights, corners]
    options = GateOptions({"light": "light", "warp": "walsh"}[parametrization], fan_in=fan_in)
    weights = 10 * torch.eye(size) - (5 if parametrization == "light" else 0)
    gates = GateWeights(weights, options, relaxed=True)
    ours = gates.outputs(gates.tables())
    return torch.cdist(theirs, ours).argmin(1).tolist()


def _ratio(steps: dict[str, float], name: str) -> str:
    """Return how many of our steps of the same parametrisation a contestant's step takes."""
    ours = {theirs: f"ours, {own}" for own, theirs in THEIRS.items()}
    of_name = name.split(", ")[1]
    return f"{steps[name] / steps[ours[of_name]]:.1f}" if of_name in ours and name.startswith("torchlogix") else ""


def kept_bytes(contestant: Contestant) -> int:
    """Return the bytes that a forward keeps for the backward, without weights; each tensor counts once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in contestant.parameters}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        scores = contestant.forward()  # alive until the sum is taken, so that no two storages share an address
    total = sum(kept.values())
    del scores
    return total


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", default="256x16000x4", metavar="BATCHxNEURONSxLAYERS")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--fan-in", type=int, default=2, choices=FAN_INS)
    arguments = parser.parse_args()
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    batch, neurons, layers = map(int, arguments.size.split("x"))
    keep_freed_memory()  # as training does; the peer gains by it too
    print(describe_machine())
    if device.type == "cuda":
        print(torch.cuda.get_device_name())
    print(
        f"{torch.get_num_threads()} threads; batch {batch}, {layers} layers of {neurons} neurons of "
        f"{arguments.fan_in} inputs, {arguments.dtype}"
    )
    packed = torch.randint(0, 256, (batch, -(-INPUTS // 8)), dtype=torch.uint8, device=device)
    labels = torch.randint(0, CLASSES, (batch,), device=device)

    found: list[Contestant] = []
    with_theirs = device.type == "cpu" and dtype == torch.float32
    parametrisations = [name for name in THEIRS if arguments.fan_in == 2 or PARAMETRISATIONS.load(name).learns_tables]
    for parametrisation in parametrisations:
        both = pair(parametrisation, packed, neurons, layers, dtype, with_theirs, arguments.fan_in)
        if with_theirs:
            print(f"{parametrisation}: largest relative difference {check_agreement(both, labels, dtype):.0e}")
        found += both
    memory = {
        contestant.name: (
            COPIES * sum(parameter.nbytes for parameter in contestant.parameters),
            kept_bytes(contestant),
        )
        for contestant in found
    }
    times = measure(found, labels)
    limits = {contestant.name: busiest(contestant, labels) for contestant in found}
    medians_of = {name: statistics.median(phases["step"]) for name, phases in times.items()}
    rows = []
    for name, phases in times.items():
        medians = {phase: statistics.median(seconds) for phase, seconds in phases.items()}
        steps = sorted(phases["step"])
        rows.append(
            [
                name,
                *(f"{1e3 * medians[phase]:.2f}" for phase in ("forward", "backward", "step")),
                f"{1e3 * steps[len(steps) // 4]:.2f}-{1e3 * steps[-len(steps) // 4]:.2f}",
                *(f"{size / 1e6:.1f}" for size in memory[name]),
                _ratio(medians_of, name),
                limits[name],
            ]
        )
    header = ["", "forward ms", "backward ms", "step ms", "quartiles", "weights, Adam MB", "kept MB", "steps of ours"]
    print(format_table([*header, "most of the time"], rows))


if __name__ == "__main__":
    main()
