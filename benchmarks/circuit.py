"""Frames per second of a discretised network: packed inference beside difflogic's, on one core or on a GPU.

    python benchmarks/circuit.py [--device cpu|cuda] [--neurons 4000] [--layers 4] [--frames 65536]

A network with random weights and connections, 2,312 inputs, 10 classes. difflogic's CompiledLogicNet (C code, gcc) and
its PackBitsTensor (its CUDA extension) get frames as bools, as they expect them; on the GPU that conversion is free.
Ours gets them packed, as a cache holds them. Each gives class counts, which must equal the model's. All run in one
process, in turns.
"""

import argparse
import functools
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.logic import CLASSES, FRAME_SHAPE, INPUTS, difflogic_network
from benchmarks.machine import describe_machine
from helper_scripts import peers
from src.circuit.circuit import Circuit
from src.config import DiffLogicOptions, Model
from src.helpers import format_table
from src.model import DiffLogic, create_model
from src.models.to_circuit import circuit_of_layers

ROUNDS = 7
THEIR_FRAMES = 8192  # enough to time; a bool per input takes eight times the memory


class Contestant(NamedTuple):
    """One way to compute the class counts [frames, classes] of the first frames."""

    frames: int
    seconds_to_ready: float
    run: Callable[[], np.ndarray]


def contestants(
    model: DiffLogic, packed: np.ndarray, circuits: dict[str, Circuit], device: str
) -> dict[str, Contestant]:
    """Return difflogic's, ours on these circuits, and the model itself, which is moved to the device."""
    bools = np.unpackbits(packed[:THEIR_FRAMES], axis=1, count=INPUTS, bitorder="little").astype(bool)
    found = {}
    began = time.perf_counter()
    if device == "cpu":
        compiled = peers.difflogic().CompiledLogicNet(difflogic_network(model), num_bits=64, cpu_compiler="gcc")
        compiled.compile()
        seconds = time.perf_counter() - began
        found["difflogic, compiled by gcc"] = Contestant(len(bools), seconds, lambda: compiled(bools).numpy())
    elif importlib.util.find_spec("difflogic_cuda"):
        package = peers.difflogic()
        network, on_gpu = difflogic_network(model, "cuda").eval(), torch.from_numpy(bools).cuda()
        seconds = time.perf_counter() - began
        found["difflogic, PackBitsTensor"] = Contestant(
            len(bools), seconds, lambda: network(package.PackBitsTensor(on_gpu)).cpu().numpy()
        )

    frames = torch.from_numpy(packed).to(device)
    for name, circuit in circuits.items():
        began = time.perf_counter()
        run = _on_gpu(circuit, frames) if device == "cuda" else functools.partial(circuit, packed)
        run()
        found[name] = Contestant(len(packed), time.perf_counter() - began, run)

    model.to(device)

    def by_model() -> np.ndarray:
        with torch.no_grad():
            scores = model.forward_packed(frames[:THEIR_FRAMES])
        return (scores * model.tau).round().int().cpu().numpy()

    found["the model in eval mode"] = Contestant(THEIR_FRAMES, 0.0, by_model)
    return found


def _on_gpu(circuit: Circuit, frames: torch.Tensor) -> Callable[[], np.ndarray]:
    from src.circuit.packed_triton import CudaCircuit  # needs triton, which is not everywhere

    on_gpu = CudaCircuit(circuit)
    return lambda: on_gpu(frames).cpu().numpy()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--neurons", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--frames", type=int, default=65536)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)

    options = Model(difflogic=DiffLogicOptions(num_neurons=arguments.neurons, num_layers=arguments.layers))
    torch.manual_seed(0)
    model = create_model(options, FRAME_SHAPE, CLASSES).eval()
    assert isinstance(model, DiffLogic)
    packed = np.random.default_rng(0).integers(0, 256, (arguments.frames, -(-INPUTS // 8))).astype(np.uint8)
    everything = circuit_of_layers(model.logic_layers(), CLASSES)
    began = time.perf_counter()
    simplified = everything.simplified()
    seconds = time.perf_counter() - began
    circuits = {"packed, all gates": everything, "packed, simplified": simplified}
    found = contestants(model, packed, circuits, arguments.device)

    expected = found["the model in eval mode"].run()
    for name, contestant in found.items():
        if not np.array_equal(contestant.run()[:THEIR_FRAMES], expected):
            raise AssertionError(f"{name} counts differently from the model")
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(ROUNDS):
        for name, contestant in found.items():
            began = time.perf_counter()
            contestant.run()
            times[name].append(time.perf_counter() - began)

    speeds = {name: found[name].frames / statistics.median(seconds) for name, seconds in times.items()}
    first = next(iter(found))
    rows = [
        [
            name,
            f"{found[name].seconds_to_ready:.2f}",
            f"{speed / 1e6:.3f}",
            f"{min(times[name]) / statistics.median(times[name]):.2f} to "
            f"{max(times[name]) / statistics.median(times[name]):.2f}",
            f"{speed / speeds[first]:.1f}",
        ]
        for name, speed in speeds.items()
    ]
    print(describe_machine())
    where = "one core" if arguments.device == "cpu" else torch.cuda.get_device_name()
    print(
        f"{arguments.layers} layers of {arguments.neurons} gates, {INPUTS} inputs, {CLASSES} classes, {where}; "
        f"{len(everything.gates):,} gates, {len(simplified.gates):,} when simplified in {seconds:.2f} s; "
        "counts equal to the model's"
    )
    print(format_table(["", "ready after s", "million frames/s", "spread", f"times {first}"], rows))


if __name__ == "__main__":
    main()
