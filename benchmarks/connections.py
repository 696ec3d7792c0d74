"""A training step with random, local and learned connections, interleaved in one run.

    python benchmarks/connections.py [--device cpu|cuda] [--size BATCHxNEURONSxLAYERS] [--candidates 4 8 16]

The networks are those of `create_model`, from packed frames to Adam. To learn among k connections, a step also reads
a neuron's 2 k candidates, its two inputs and its gradient, so it takes longer in proportion to k.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.logic import CLASSES, FRAME_SHAPE, INPUTS, Contestant, measure
from benchmarks.machine import describe_machine
from src.config import DiffLogicOptions, Model
from src.helpers import format_table, keep_freed_memory
from src.model import create_model


def contestant(name: str, options: Model, packed: torch.Tensor) -> Contestant:
    """Return the network of these options."""
    torch.manual_seed(0)
    model = create_model(options, FRAME_SHAPE, CLASSES).to(packed.device)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.01, fused=True)
    return Contestant(name, lambda: model.forward_packed(packed), parameters, optimizer)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--size", default="256x16000x4", metavar="BATCHxNEURONSxLAYERS")
    parser.add_argument("--candidates", nargs="+", type=int, default=[4, 8, 16])
    arguments = parser.parse_args()
    batch, neurons, layers = map(int, arguments.size.split("x"))
    keep_freed_memory()  # as training does
    packed = torch.randint(0, 256, (batch, -(-INPUTS // 8)), dtype=torch.uint8, device=arguments.device)
    labels = torch.randint(0, CLASSES, (batch,), device=arguments.device)

    found = []
    for name, connections, candidates in [
        ("random", "random", 8),
        ("local", "local", 8),
        *((f"learned, {k} candidates", "learned", k) for k in arguments.candidates),
    ]:
        options = DiffLogicOptions(
            num_neurons=neurons, num_layers=layers, connections=connections, candidates=candidates
        )
        found.append(contestant(name, Model(difflogic=options), packed))
    times = measure(found, labels)

    print(describe_machine())
    print(f"{arguments.device}, {torch.get_num_threads()} threads; ", end="")
    print(f"batch {batch}, {layers} layers of {neurons} neurons, {INPUTS} inputs")
    medians = {
        name: {phase: statistics.median(some) for phase, some in phases.items()} for name, phases in times.items()
    }
    rows = [
        [
            name,
            *(f"{1e3 * seconds:.2f}" for seconds in phases.values()),
            f"{phases['step'] / medians['random']['step']:.2f}",
        ]
        for name, phases in medians.items()
    ]
    print(format_table(["", "forward ms", "backward ms", "step ms", "of random's"], rows))


if __name__ == "__main__":
    main()
