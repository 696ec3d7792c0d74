"""Classify recordings, or events while they come, with a trained model.

Examples:
  ./job.sh predict demo data/DEMO/Test/3
  ./job.sh predict demo data/DEMO/Test --csv
  ./job.sh predict project_storage/models/demo/best.safetensors recording.bin --frames
  ./job.sh predict demo --stream
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from src.command_line import EXIT_DONE, RunError, StopSignals, UserError, print_result
from src.helpers import LOG, keep_freed_memory
from src.io_funcs import from_user
from src.jobs.folders import is_path

if TYPE_CHECKING:  # --help runs without packages
    from src.evaluation.classifier import Classifier, ClassifierStream
    from src.evaluation.prediction_text import PredictionText


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh predict`."""
    parser.add_argument("model", metavar="JOB_OR_MODEL", help="a job id or a .safetensors file")
    parser.add_argument("files", metavar="FILE", nargs="*", help="a recording, or a folder with all recordings in it")
    parser.add_argument_group("what is classified").add_argument(
        "--stream",
        action="store_true",
        help="no FILE, but lines `t x y p` of standard input; each frame's class follows as soon as the frame is full",
    )
    output = parser.add_argument_group("what is printed")
    output.add_argument("--frames", action="store_true", help="a line per frame with its time, not per recording")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a line of JSON each, with the scores of all classes")
    form.add_argument("--csv", action="store_true", help="CSV, with the scores of all classes")


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Print the classes; return 2 if a recording could not be used."""
    if arguments.stream and arguments.files:
        raise UserError(f"--stream reads standard input, but {arguments.files[0]} is given too: leave one out")
    if not arguments.stream and not arguments.files:
        raise UserError("no recordings: give files or folders after the model, or --stream")
    files = find_files([from_user(text, "FILE") for text in arguments.files])
    from src.evaluation.classifier import load_classifier
    from src.evaluation.prediction_text import Csv, JsonLines, Table

    classifier = load_classifier(from_user(arguments.model, "model") if is_path(arguments.model) else arguments.model)
    kind = JsonLines if arguments.json else Csv if arguments.csv else Table
    names = [str(path) for path in files]
    text: PredictionText = kind(classifier.class_names, names, arguments.frames or arguments.stream)
    try:
        if header := text.header():
            _print(header)
        if arguments.stream:
            return _predict_stream(classifier, text, stop)
        keep_freed_memory()  # each recording's arrays are freed
        return _predict_files(classifier, files, text, stop)
    except _ReaderGoneError:
        return EXIT_DONE


class _ReaderGoneError(Exception):
    """What reads standard output has read enough (`| head`), which is no failure."""


def _print(line: str) -> None:
    """Print a line at once.

    Raises:
        _ReaderGoneError: if nobody reads it.
        RunError: if it cannot be written.
    """
    if not print_result(line):
        raise RunError("standard output cannot be written to, so no more is classified")
    if isinstance(getattr(sys.stdout, "error", None), BrokenPipeError):
        raise _ReaderGoneError


def find_files(paths: list[Path]) -> dict[Path, bool]:
    """Return the files of these paths, each with whether a folder led to it; folders in their order, sorted.

    Files and folders in a folder that are hidden are left out.

    Raises:
        UserError: for a folder that cannot be listed or holds no files.
    """
    found: dict[Path, bool] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = False
            continue
        inside = list(_files_in(path, set()))
        if not inside:
            raise UserError(f"{path}: there are no files in this folder")
        for file in inside:
            found.setdefault(file, True)
    return found


def _files_in(folder: Path, above: set[tuple[int, int]]) -> Iterator[Path]:
    from src.events.datasets.dataset import is_hidden
    from src.events.datasets.folder import natural_order

    try:
        this = folder.stat()
        names = sorted((path.name for path in folder.iterdir() if not is_hidden(path.name)), key=natural_order)
    except OSError as error:
        raise UserError(f"{folder}: cannot list this folder: {error.strerror}") from error
    place = this.st_dev, this.st_ino
    if place in above:
        return  # a link to a folder that it lies in
    for name in names:
        path = folder / name
        if path.is_dir():
            yield from _files_in(path, above | {place})
        else:
            yield path


def _predict_files(classifier: "Classifier", files: dict[Path, bool], text: "PredictionText", stop: StopSignals) -> int:
    from src.evaluation.classifier import is_recording

    num_bad = num_good = 0
    for path, result in classifier.predict_all(list(files), text.frames, stop.check):
        if isinstance(result, OSError):
            num_bad += 1
            LOG.error("%s: cannot be read: %s", path, result.strerror)
        elif not isinstance(result, Exception):
            num_good += 1
            _warn_of_losses(str(path), result.num_unread, result.num_outside, result.num_back)
            for line in text.lines(str(path), result):
                _print(line)
        elif files[Path(path)] and not is_recording(path):
            LOG.warning("%s: passed over: %s", path, result)
        else:
            num_bad += 1
            LOG.error("%s: %s", path, result)
    if num_bad:
        raise UserError(f"{num_bad:,} of {num_bad + num_good:,} recordings could not be classified")
    if not num_good:
        raise UserError("there are no recordings in what was given")
    return EXIT_DONE


def _warn_of_losses(name: str, num_unread: int, num_outside: int, num_back: int) -> None:
    if num_unread:
        LOG.warning("%s: cut short: %s bytes at its end were not read", name, f"{num_unread:,}")
    if num_outside:
        LOG.warning("%s: %s events outside the sensor were left out", name, f"{num_outside:,}")
    if num_back:
        LOG.warning("%s: %s events have a time before that of the event before them", name, f"{num_back:,}")


def _predict_stream(classifier: "Classifier", text: "PredictionText", stop: StopSignals) -> int:
    from src.events.event_lines import read_events
    from src.events.formats.errors import CorruptRecordingError

    stream = classifier.stream()
    num_unread = num_outside = 0  # what the reader of a recording left out
    try:
        for events in read_events(sys.stdin.fileno(), stop.check):
            num_unread, num_outside = num_unread + events.num_unread, num_outside + events.num_outside
            for frame in stream.push(events):
                stop.check()
                _print(text.frame_line(frame))
        for frame in stream.finish():
            _print(text.frame_line(frame))
    except CorruptRecordingError as error:
        raise UserError(f"standard input: {error}") from error
    finally:
        passed = stream.frames.events
        _warn_of_losses("standard input", num_unread, num_outside + passed.num_outside, passed.num_back)
        _say_result(stream)  # after a signal, too
    return EXIT_DONE


def _say_result(stream: "ClassifierStream") -> None:
    """Log what the stream was, so far as it came."""
    if (label := stream.label) is not None:
        LOG.info(
            "%s events, %s frames: class %s, %.1f %%",
            f"{stream.frames.events.num_events:,}",
            f"{stream.frames.num_frames:,}",
            stream.class_names[label],
            100 * stream.sums[label] / stream.sums.sum(),
        )


def needed_paths(arguments: Namespace) -> Iterator[tuple[str, Path]]:
    """Yield (mode, path) for the model's file and the recordings; a job's model lies on project storage."""
    if is_path(arguments.model):
        yield "ro", from_user(arguments.model, "model")
    for text in arguments.files:
        yield "ro", from_user(text, "FILE")
