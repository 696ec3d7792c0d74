"""From a recording's file to its class, on one core: million events per second by model, and of each step.

    python benchmarks/predict.py [--recordings 500]

Simulated recordings: the demo's (34 x 34 pixels, N-MNIST's format) and of CIFAR10-DVS (128 x 128 pixels, AEDAT 4).
Networks have random weights: speed depends on what they learned only by what simplification removes. All run in one
process, in turns. Classes must equal those of the model in PyTorch. "the model alone" takes frames that are ready: what
it leaves of the time is reading and framing. A CNN can be as fast as the core multiplies: PyTorch's product of two
matrices says how fast that is. A stream takes all recordings for one, so it has more frames than the files, whose
last frames are left out if they are not full.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ["NUMBA_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.machine import describe_machine
from src.config import Config, Data, DiffLogicOptions, Model
from src.evaluation.classifier import Classifier, Prediction
from src.events import Events, read_recording
from src.events.datasets.cifar10dvs import CIFAR10DVS
from src.events.datasets.dataset import Dataset
from src.events.datasets.nmnist import find_recordings
from src.events.event_lines import EventLines
from src.events.event_pipe import CHUNK_BYTES
from src.events.framing import frame_shape, frames_of
from src.events.simulation import digits
from src.frame_cache.framing_options import framing_of
from src.helpers import format_table, keep_freed_memory
from src.model import DiffLogic, create_model
from src.registry import DATASETS

ROUNDS = 9
DEMO = Data(name="DEMO", events_per_frame=800, overlap=400)
CIFAR = Data(name="CIFAR10DVS", events_per_frame=20_000, overlap=0, downsample=0.25)
CNN = Model("cnn")
CONVOLUTIONAL = Model(difflogic=DiffLogicOptions(architecture="convolutional", num_neurons=8200, num_layers=2))


def gates(neurons: int) -> Model:
    """Return the options of a dense network of four layers."""
    return Model(difflogic=DiffLogicOptions(num_neurons=neurons, num_layers=4))


MODELS = {
    "demo: 4 layers of 8,000 gates": (DEMO, gates(8000)),
    "demo: 4 layers of 4,000 gates": (DEMO, gates(4000)),
    "demo: convolutions of 32 and 128 kernels, then 2 layers of 8,200 gates": (DEMO, CONVOLUTIONAL),
    "demo: CNN in PyTorch": (DEMO, CNN),
    "CIFAR10-DVS: 4 layers of 4,000 gates": (CIFAR, gates(4000)),
}


def classifier_of(data: Data, options: Model) -> Classifier:
    """Return a classifier of random weights; gates of convolutions do not begin as "a", which would simplify away."""
    dataset: Dataset = DATASETS.load(data.name)
    torch.manual_seed(0)
    channels, height, width = frame_shape(framing_of(data), dataset.sensor_size)
    model = create_model(options, (channels, height, width), len(dataset.classes)).eval()
    if isinstance(model, DiffLogic):
        for layer in model.logic_layers():
            torch.nn.init.normal_(layer.weights)
    config = dataclasses.replace(Config(), data=data, model=options)
    return Classifier(model, config, dataset.classes, dataset.sensor_size)


def texts_of(paths: Sequence[str]) -> list[bytes]:
    """Return each recording's events as lines of text; each begins 10 ms after the one before it has ended."""
    texts = []
    begin = 0
    for path in paths:
        events = read_recording(path)
        t = events.t - events.t.min() + begin
        begin = int(t.max()) + 10_000
        columns = zip(t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True)
        texts.append("".join(f"{t} {x} {y} {p}\n" for t, x, y, p in columns).encode())
    return texts


def stream(classifier: Classifier, content: bytes) -> int | None:
    """Return the class of lines of text that come CHUNK_BYTES at a time, as from a pipe that is full."""
    lines, of_stream = EventLines(), classifier.stream()
    for begin in range(0, len(content), CHUNK_BYTES):
        for _ in of_stream.push(lines.push(content[begin : begin + CHUNK_BYTES])):
            pass
    of_stream.finish()
    return of_stream.label


def contestants(
    classifier: Classifier, paths: Sequence[str], texts: Sequence[bytes]
) -> dict[str, Callable[[], Iterable[object]]]:
    """Return what is measured: each takes all recordings from file to class, or a part of the way."""
    events: list[Events] = [read_recording(path) for path in paths]
    frames = [frames_of(it, classifier.sensor_size, classifier.framing) for it in events]
    numbers = np.repeat(np.arange(len(frames)), list(map(len, frames)))
    together, text = np.concatenate(frames), b"".join(texts)
    return {
        "files to classes, together": lambda: classifier.predict_all(paths, with_times=False),
        "files to classes, one by one": lambda: map(classifier.predict, paths),
        "reading alone": lambda: map(read_recording, paths),
        "framing alone": lambda: (frames_of(it, classifier.sensor_size, classifier.framing) for it in events),
        "the model alone": lambda: [classifier.frame_scores(together, numbers)],
        "a stream of text to classes": lambda: [stream(classifier, text)],
        "reading text alone": lambda: [EventLines().push(text)],
    }


def multiplications(classifier: Classifier) -> int:
    """Return the multiplications per frame of a CNN."""
    shape = torch.zeros(1, *frame_shape(classifier.framing, classifier.sensor_size))
    number = 0
    layers: Any = classifier.model.layers
    for layer in layers:
        shape = layer(shape)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            number += layer.weight[0].numel() * shape.numel()
    return number


def print_multiplications(classifier: Classifier, paths: Sequence[str]) -> None:
    """Print how many multiplications per second a CNN does, and how many a product of matrices."""
    frames = np.concatenate(
        [frames_of(read_recording(path), classifier.sensor_size, classifier.framing) for path in paths]
    )
    numbers, matrix = np.zeros(len(frames), np.int64), torch.randn(1024, 1024)
    cases: list[tuple[str, int, Callable[[], object]]] = [
        ("the CNN", multiplications(classifier) * len(frames), lambda: classifier.frame_scores(frames, numbers)),
        ("a product of 1,024 x 1,024 matrices", 1024**3, lambda: matrix @ matrix),
    ]
    for what, number, run in cases:
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        print(f"{what}: {number / statistics.median(times) / 1e9:.0f} thousand million multiplications per second")


def run_all(results: Iterable[object]) -> None:
    """Compute results one after the other, and keep none."""
    for _ in results:
        pass


def require_equal_classes(classifier: Classifier, paths: Sequence[str], texts: Sequence[bytes]) -> None:
    """Raise AssertionError unless all ways, and the model itself, decide for the same classes."""
    predictions = [it for _, it in classifier.predict_all(paths) if isinstance(it, Prediction)]
    labels = [it.label for it in predictions]
    assert labels == [classifier.predict(path).label for path in paths]
    assert labels == [stream(classifier, text) for text in texts]
    for path, prediction in zip(paths, predictions, strict=True):
        frames = frames_of(read_recording(path), classifier.sensor_size, classifier.framing)
        with torch.no_grad():
            scores = classifier.model.forward_packed(torch.from_numpy(frames))
        assert np.array_equal(scores.argmax(1).numpy(), prediction.frame_labels)


def rows(classifier: Classifier, paths: Sequence[str], texts: Sequence[bytes]) -> list[list[str]]:
    """Return a model's rows of the table, each with speeds in million events per second."""
    found = contestants(classifier, paths, texts)
    require_equal_classes(classifier, paths[:20], texts[:20])
    for run in found.values():
        run_all(run())
    times: dict[str, list[float]] = {what: [] for what in found}
    for _ in range(ROUNDS):
        for what, run in found.items():
            began = time.process_time()
            run_all(run())
            times[what].append(time.process_time() - began)
    num_events = sum(len(read_recording(path)) for path in paths)
    return [
        [
            what,
            *(f"{num_events / 1e6 / value:.1f}" for value in (max(of), statistics.median(of), min(of))),
            f"{1e3 * statistics.median(of) / len(paths):.2f}",
        ]
        for what, of in times.items()
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=500)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command does
    print(describe_machine())
    print(f"CPU time of one core; classes equal to the model's in PyTorch; {ROUNDS} rounds in turns")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        digits.create_cifar10dvs(folder / "CIFAR10DVS", recordings_per_class=1, seed=0)
        digits.create(folder / "DEMO", seed=0)
        paths = {
            "DEMO": [it.path for it in find_recordings(folder / "DEMO")[-arguments.recordings :]],
            "CIFAR10DVS": [it.path for it in CIFAR10DVS.find_recordings(folder / "CIFAR10DVS")],
        }
        texts = {name: texts_of(of) for name, of in paths.items()}
        for name, of in paths.items():
            print(f"{len(of)} recordings of {name}, {sum(len(read_recording(path)) for path in of):,} events")
        for name, (data, options) in MODELS.items():
            began = time.perf_counter()
            classifier = classifier_of(data, options)
            seconds = time.perf_counter() - began
            size = (
                f"{multiplications(classifier) / 1e6:.1f} million multiplications per frame"
                if classifier.circuit is None
                else f"{len(classifier.circuit.gates):,} after simplification"
            )
            print(f"\n{name}, {size}; ready after {seconds:.1f} s")
            num_frames = sum(len(classifier.predict(path).frame_labels) for path in paths[data.name])
            of_stream = classifier.stream()
            num_of_stream = sum(1 for _ in of_stream.push(EventLines().push(b"".join(texts[data.name]))))
            print(f"{num_frames:,} frames, {num_of_stream:,} in a stream")
            header = ["million events/s", "min", "median", "max", "ms per recording"]
            print(format_table(header, rows(classifier, paths[data.name], texts[data.name])))
            if classifier.circuit is None:
                print_multiplications(classifier, paths[data.name])


if __name__ == "__main__":
    main()
