"""A layer of a million neurons on the CPU: time to connect, build and train it, and the memory that it takes.

python benchmarks/million.py [--neurons 1000000] [--batch 64]
"""

import argparse
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.machine import describe_machine
from src.helpers import format_size, keep_freed_memory
from src.logic import LogicLayer


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    keep_freed_memory()
    print(describe_machine())
    for connections in ("random", "unique"):
        began = time.perf_counter()
        layer = LogicLayer(arguments.neurons, arguments.neurons, connections=connections)
        print(f"{arguments.neurons:,} neurons, {connections}: built in {time.perf_counter() - began:.2f} s")
    optimizer = torch.optim.Adam(layer.parameters(), fused=True)
    x = torch.rand(arguments.neurons, arguments.batch, requires_grad=True)
    for step in range(4):
        began = time.perf_counter()
        layer.forward_sums(x, 10).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        what = "first step, connection lists and compilation included" if step == 0 else "step"
        print(f"{what}, batch {arguments.batch}: {time.perf_counter() - began:.3f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak memory {format_size(peak)}")


if __name__ == "__main__":
    main()
