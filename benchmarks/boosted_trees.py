"""Gradient-boosted trees on the bits that a logic gate network reads: what else these bits are good for.

    pip install scikit-learn
    python benchmarks/boosted_trees.py FOLDER RUN [RUN ...] [--folds 5]

FOLDER and RUN are those of accuracy.py, and so are the folds; --folds 0 uses Train and Test as they lie. The trees are
scikit-learn's HistGradientBoostingClassifier with its default options and no early stopping. A recording's class is the
largest sum of its frames' probabilities. Thresholds of counts are those that the network would fit.
"""

import argparse
import math
import os
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.accuracy import write_folds
from benchmarks.machine import describe_machine
from src.command_line import StopSignals
from src.config import Config
from src.data import open_cache, read_samples
from src.frame_cache.cache import Split
from src.frame_cache.prepare import prepare
from src.helpers import format_table
from src.training.setup import initial_model


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_intermixed_args()
    storage = Path(tempfile.mkdtemp())
    os.environ |= {"PROJECT_STORAGE_DIR": str(storage), "SCRATCH_STORAGE_DIR": str(storage / "scratch")}
    roots = list(write_folds(arguments.folder, arguments.folds, storage)) if arguments.folds else [arguments.folder]
    rows = []
    for text in arguments.runs:
        config, _, overrides = text.partition(" ")
        began = time.perf_counter()
        results = []
        for root in roots:
            words = [*shlex.split(overrides), f"data.data_root={root.resolve()}", "data.val_split=0.1"]
            results.append(accuracies(Config.from_yaml(REPOSITORY / config, words)))
            print(f"{text}, {root.name}: {results[-1]}", file=sys.stderr, flush=True)
        means = [f"{100 * statistics.mean(column):.2f}" for column in zip(*results, strict=True)]
        rows.append([text, *means, f"{(time.perf_counter() - began) / len(roots):.0f}"])
    print(describe_machine())
    print(f"{arguments.folds} folds" if arguments.folds else "Train and Test as they lie")
    print(format_table(["run", "frames %", "recordings %", "seconds a fold"], rows))


def accuracies(config: Config) -> tuple[float, float]:
    """Train trees on a config's training frames; return the shares of test frames and recordings that are right."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    prepare(config, StopSignals())
    cache = open_cache(config)
    train, test = cache.splits["train"], cache.splits["test"]
    model = initial_model(config, cache, torch.device("cpu"))

    def bits(split: Split) -> NDArray[np.uint8]:
        packed = model.circuit_inputs(read_samples(split, np.arange(len(split)))).numpy()
        return np.unpackbits(packed, axis=1, count=math.prod(model.circuit_shape), bitorder="little")

    trees = HistGradientBoostingClassifier(early_stopping=False, random_state=0).fit(bits(train), train.labels)
    scores = trees.predict_proba(bits(test))
    right = np.mean(trees.classes_[scores.argmax(1)] == test.labels)
    _, begins = np.unique(test.recordings, return_index=True)
    of_recordings = np.add.reduceat(scores, np.sort(begins))
    labels = test.labels[np.sort(begins)]
    return float(right), float(np.mean(trees.classes_[of_recordings.argmax(1)] == labels))


if __name__ == "__main__":
    main()
