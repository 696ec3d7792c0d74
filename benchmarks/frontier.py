"""Accuracy against LUTs of a sweep's logic gate networks: a table, and a chart with a line per kind of network.

    python benchmarks/frontier.py benchmarks/frontier.yaml [--chart FILE.png]

First run the sweep, ./job.sh sweep FILE. The accuracies are those of the final models. Those of val choose; Test has 50
recordings, so a difference of a few percent there is chance. LUT6 are the estimate for the network of a frame, with
counters and the comparison of the classes. A line connects the best of their size, by frames of val. Networks that are
trained for more epochs than the sweep's first one, or with another augmentation, have a line of their own.
"""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe_machine
from src.circuit.luts import circuit_size
from src.config import Config, Train
from src.evaluation.inference import load_model
from src.helpers import format_table
from src.jobs.files import read_metrics
from src.jobs.finished import finished_result
from src.jobs.folders import Job
from src.reports.frontier import best_of_their_size
from src.reports.plots import distinct_lines, line_chart, sizes_on_x
from src.sweeps.specification import load_sweep


class Network(NamedTuple):
    """A trained network: its name, kind, LUTs and depth, and accuracies of val and test."""

    name: str
    kind: str
    luts: int
    depth: int
    val_frames: float
    val_recordings: float
    test_frames: float
    test_votes: float


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--chart", type=Path)
    arguments = parser.parse_args()
    sweep = load_sweep(arguments.sweep)
    usual = sweep.configurations[0].jobs[0].config.train
    found = [network(job.job_id, one.label, job.config, usual) for one in sweep.configurations for job in one.jobs]
    networks = sorted((each for each in found if each is not None), key=lambda each: each.luts)
    print(describe_machine())
    print(f"{len(networks)} of {len(found)} networks")
    header = ["network", "kind", "LUT6", "depth", "val frames %", "recordings %", "test frames %", "by vote %"]
    rows = [[e.name, e.kind, f"{e.luts:,}", str(e.depth), *(f"{100 * share:.1f}" for share in e[4:])] for e in networks]
    print(format_table(header, rows))
    curves = {}
    for kind in sorted({each.kind for each in networks}):
        points = {each.name: (each.luts, each.val_frames) for each in networks if each.kind == kind}
        best = best_of_their_size(points)
        curves[kind] = [(float(points[name][0]), 100 * points[name][1]) for name in best]
        print(f"{kind}: the best of their size are {', '.join(best)}")
    if arguments.chart is not None:
        title, x_label = "Accuracy of validation frames", "LUTs of six inputs, estimated"
        chart = line_chart("frontier", title, "%", distinct_lines(curves), f"{title} against {x_label}", False, x_label)
        (axes,) = chart.figure.axes
        sizes_on_x(axes)
        chart.figure.set_size_inches(7, 4)
        arguments.chart.write_bytes(chart.png())


def network(job_id: str, name: str, config: Config, usual: Train) -> Network | None:
    """Return what a job has trained; None if it is not done."""
    result = finished_result(config)
    if result is None:
        return None
    val = [row for row in read_metrics(Job(job_id).logs / "metrics.csv") if row["split"] == "val"][-1]
    options = config.model.difflogic
    kind = f"{options.architecture}, {options.fan_in} inputs"
    if config.train.epochs > usual.epochs or config.train.augmentation != usual.augmentation:
        kind += ", more training"
    test = result["test"]
    size = result.get("circuit") or size_of_final_model(job_id)
    accuracies = val["frame_accuracy"], val["recording_accuracy"], test["frame_accuracy"], test["vote_accuracy"]
    return Network(name, kind, size["luts"], size["depth"], *accuracies)


def size_of_final_model(job_id: str) -> dict[str, int]:
    """Return what a job's circuit takes; a run leaves it out of its result if the network is very large."""
    model, _ = load_model(Job(job_id).models / "final.safetensors")
    return circuit_size(model.circuit().simplified())._asdict()


if __name__ == "__main__":
    main()
