"""Frames a second of a discretised network on one core: packed inference beside difflogic's compiled network.

    python benchmarks/circuit.py [--neurons 4000] [--layers 4] [--frames 65536]

A network with random weights and connections, 2,312 inputs, 10 classes. difflogic's CompiledLogicNet (C code, gcc) gets
frames as bools, as it wants them; ours gets them packed, as a cache holds them. Each gives class counts, which must be
equal to the model's. All in one process, in turns.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks import peers
from benchmarks.logic import CLASSES, FRAME_SHAPE, INPUTS, difflogic_network
from benchmarks.machine import describe_machine
from src.config import Model
from src.helpers import format_table
from src.logic.circuit import Circuit
from src.model import DiffLogic, create_model

ROUNDS = 7
THEIR_FRAMES = 8192  # enough to time; a bool an input takes eight times the memory


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=4000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--frames", type=int, default=65536)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)

    options = Model()
    options.difflogic.num_neurons, options.difflogic.num_layers = arguments.neurons, arguments.layers
    torch.manual_seed(0)
    model = create_model(options, FRAME_SHAPE, CLASSES).eval()
    assert isinstance(model, DiffLogic)
    packed = np.random.default_rng(0).integers(0, 256, (arguments.frames, -(-INPUTS // 8))).astype(np.uint8)
    bools = np.unpackbits(packed[:THEIR_FRAMES], axis=1, count=INPUTS, bitorder="little").astype(bool)

    ready: dict[str, float] = {}
    runs: dict[str, tuple[int, Callable[[], np.ndarray]]] = {}

    began = time.perf_counter()
    theirs = peers.difflogic().CompiledLogicNet(difflogic_network(model), num_bits=64, cpu_compiler="gcc")
    theirs.compile()
    ready["difflogic, compiled by gcc"] = time.perf_counter() - began
    runs["difflogic, compiled by gcc"] = (len(bools), lambda: theirs(bools).numpy())

    for name in ("packed, all gates", "packed, simplified"):
        began = time.perf_counter()
        circuit = Circuit.from_layers(model.logic_layers(), CLASSES)
        if name == "packed, simplified":
            everything = circuit
            circuit = circuit.simplified()
        circuit(packed[:1])
        ready[name] = time.perf_counter() - began
        runs[name] = (len(packed), lambda circuit=circuit: circuit(packed))  # type: ignore[misc]

    def by_model() -> np.ndarray:
        with torch.no_grad():
            scores = model.forward_packed(torch.from_numpy(packed[:THEIR_FRAMES]))
        return (scores * model.tau).round().int().numpy()

    runs["the model in eval mode"], ready["the model in eval mode"] = (THEIR_FRAMES, by_model), 0.0

    expected = by_model()
    for name, (_, run) in runs.items():
        if not np.array_equal(run()[:THEIR_FRAMES], expected):
            raise AssertionError(f"{name} counts differently from the model")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (_, run) in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)

    speeds = {name: runs[name][0] / statistics.median(seconds) for name, seconds in times.items()}
    rows = [
        [
            name,
            f"{ready[name]:.2f}",
            f"{speed / 1e6:.3f}",
            f"{min(times[name]) / statistics.median(times[name]):.2f} to "
            f"{max(times[name]) / statistics.median(times[name]):.2f}",
            f"{speed / speeds['difflogic, compiled by gcc']:.1f}",
        ]
        for name, speed in speeds.items()
    ]
    print(describe_machine())
    print(
        f"{arguments.layers} layers of {arguments.neurons} gates, {INPUTS} inputs, {CLASSES} classes, one core; "
        f"{len(everything.gates):,} gates, {len(circuit.gates):,} when simplified; counts equal to the model's"
    )
    print(format_table(["", "ready after s", "million frames/s", "spread", "times difflogic"], rows))


if __name__ == "__main__":
    main()
