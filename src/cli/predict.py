"""Classify recordings, or events while they come, with a trained model.

Examples:
  ./job.sh predict demo data/DEMO/Test/3
  ./job.sh predict demo data/DEMO/Test --csv
  ./job.sh predict --model project_storage/models/demo/best.safetensors recording.bin --frames
  ./job.sh predict --model examples/demo.json recording.bin
  ./job.sh predict demo --stream
  ./job.sh predict demo --stream udp://127.0.0.1:7777
"""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.command_line import EXIT_DONE, RunError, Stopped, StopSignals, UserError, print_result
from src.helpers import LOG, keep_freed_memory
from src.io_funcs import from_user
from src.jobs.find import find_jobs, model_from_user
from src.jobs.folders import MODEL_SUFFIXES

if TYPE_CHECKING:  # --help runs without packages
    from src.evaluation.classifier import Classifier, ClassifierStream
    from src.evaluation.prediction_text import PredictionText
    from src.events.event_datagrams import UdpAddress
    from src.events.events import Events

SCHEME = "udp://"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `job.sh predict`."""
    parser.add_argument("job", metavar="JOB", nargs="?", help="a job id, whose best model is taken")
    parser.add_argument("files", metavar="FILE", nargs="*", help="a recording, or a folder with all recordings in it")
    what = parser.add_argument_group("what is classified, and by which model")
    what.add_argument("--model", metavar="FILE", help="a model's .safetensors or a circuit's .json file, not a job")
    what.add_argument(
        "--stream",
        metavar=f"{SCHEME}HOST:PORT",
        nargs="?",
        const="",
        help="no FILE, but events that come: lines `t x y p` or a recording of standard input, or faery's datagrams; "
        "each frame's class follows as soon as the frame is full",
    )
    output = parser.add_argument_group("what is printed")
    output.add_argument("--frames", action="store_true", help="a line per frame with its time, not per recording")
    form = output.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a line of JSON each, with the scores of all classes")
    form.add_argument("--csv", action="store_true", help="CSV, with the scores of all classes")


def run(arguments: Namespace, stop: StopSignals) -> int:
    """Print the classes; return 2 if a recording could not be used."""
    wanted = _wanted(arguments)
    if wanted.stream is None and not wanted.files:
        raise UserError("no recordings: give files or folders after the model, or --stream")
    if wanted.stream is not None and wanted.files:
        source = wanted.stream or "standard input"
        raise UserError(f"--stream reads {source}, but {wanted.files[0]} is given too: leave one out")
    files = find_files([from_user(text, "FILE") for text in wanted.files])
    from src.events.event_datagrams import UdpAddress

    address = UdpAddress.parse(wanted.stream) if wanted.stream else None
    from src.evaluation.classifier import load_classifier
    from src.evaluation.prediction_text import Csv, JsonLines, Table

    classifier = load_classifier(wanted.model)
    kind = JsonLines if arguments.json else Csv if arguments.csv else Table
    names = [str(path) for path in files]
    text: PredictionText = kind(classifier.class_names, names, arguments.frames or wanted.stream is not None)
    keep_freed_memory()  # the arrays of each recording, or of each part of a stream, are freed
    try:
        table = _Table(text)
        if address is not None:
            return _predict_datagrams(classifier, address, table, stop)
        if wanted.stream is not None:
            return _predict_input(classifier, table, stop)
        return _predict_files(classifier, files, table, stop)
    except _ReaderGoneError:
        return EXIT_DONE


@dataclass(frozen=True)
class _Wanted:
    """What a command line asks for.

    Attributes:
        model: a model's file, or a job id.
        files: what is classified.
        stream: where events come from: a URL, or "" for standard input; None for no stream.
    """

    model: Path | str
    files: list[str]
    stream: str | None


def _wanted(arguments: Namespace) -> _Wanted:
    """Return what a command line asks for; UserError if it names no model."""
    words = [word for word in (arguments.job, *arguments.files) if word is not None]
    stream: str | None = arguments.stream
    if stream and not stream.startswith(SCHEME):  # `--stream JOB`
        words, stream = [*words, stream], ""
    if arguments.model is not None:
        _require_no_job(words, arguments.model)
        return _Wanted(model_from_user("", arguments.model), words, stream)
    if not words:
        raise UserError("no model: a job comes first, or --model FILE")
    job, *files = words
    _require_job_first(job, files)
    return _Wanted(model_from_user(job, None), files, stream)


def _is_job(word: str) -> bool:
    """Return whether a word is a job and no file or folder."""
    return not from_user(word, "FILE").exists() and word in find_jobs()


def _require_no_job(words: list[str], model: str) -> None:
    """Raise UserError if a job is given beside --model."""
    for word in words:
        if _is_job(word):
            raise UserError(f"--model {model} and the job {word} are two models: leave one out")


def _require_job_first(job: str, files: list[str]) -> None:
    """Raise UserError if a folder or recording stands where the job belongs, and a job behind it."""
    if job.endswith(MODEL_SUFFIXES) or not from_user(job, "FILE").exists() or job in find_jobs():
        return
    for number, text in enumerate(files):
        if _is_job(text):
            words = [text, job, *files[:number], *files[number + 1 :]]
            raise UserError(f"a job comes before recordings: ./job.sh predict {shlex.join(words)}")


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


class _Table:
    """Prints predictions; the header comes after what the log tells while kernels are compiled.

    Attributes:
        text: how they are written.
    """

    def __init__(self, text: "PredictionText") -> None:
        self.text = text
        self._header = text.header()

    def begin(self) -> None:
        """Print the header if it has not been printed."""
        header, self._header = self._header, ""
        if header:
            _print(header)

    def print(self, line: str) -> None:
        """Print a line, as `_print` does, and the header before the first one."""
        self.begin()
        _print(line)


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
    from src.events.datasets.labels import LABELS
    from src.events.datasets.listing import natural_order

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
        elif name != LABELS:  # what says which recording is of which class is none
            yield path


def _predict_files(classifier: "Classifier", files: dict[Path, bool], table: _Table, stop: StopSignals) -> int:
    num_bad = num_good = 0
    for path, result in classifier.predict_all(list(files), table.text.frames, stop.check):
        if isinstance(result, OSError):
            num_bad += 1
            LOG.error("%s: cannot be read: %s", path, result.strerror)
        elif not isinstance(result, Exception):
            num_good += 1
            _warn_of_losses(path, result.num_unread, result.num_outside, result.num_back)
            if result.is_blank:
                _warn_of_blank_frames(path, classifier)
            for line in table.text.lines(str(path), result):
                table.print(line)
        elif files[Path(path)] and not _is_recording(path):
            LOG.warning("%s: passed over: %s", path, result)
        else:
            num_bad += 1
            LOG.error("%s: %s", path, result)
    if num_bad:
        raise UserError(f"{num_bad:,} of {num_bad + num_good:,} recordings could not be classified")
    if not num_good:
        raise UserError("there are no recordings in what was given")
    return EXIT_DONE


def _is_recording(path: str | Path) -> bool:
    from src.evaluation.classifier import is_recording

    try:
        return is_recording(path)
    except OSError:  # it has gone since
        return True


def _warn_of_losses(name: str | Path, num_unread: int, num_outside: int, num_back: int) -> None:
    if num_unread:
        LOG.warning("%s: cut short: %s bytes at its end were not read", name, f"{num_unread:,}")
    if num_outside:
        LOG.warning("%s: %s events outside the sensor were left out", name, f"{num_outside:,}")
    if num_back:
        LOG.warning("%s: %s events have a time before that of the event before them", name, f"{num_back:,}")


def _warn_of_blank_frames(name: str | Path, classifier: "Classifier") -> None:
    from src.frame_cache.framing_options import blank_text

    LOG.warning("%s: its class says nothing: it has %s", name, blank_text(classifier.framing))


def _predict_input(classifier: "Classifier", table: _Table, stop: StopSignals) -> int:
    from src.events.event_pipe import read_events
    from src.events.formats import nmnist_bin

    suffix = nmnist_bin.FORMAT.suffix if classifier.dataset.read is nmnist_bin.read else ""
    events = read_events(sys.stdin.fileno(), stop.check, suffix, classifier.evt3_clock, classifier.header_sensor)
    return _predict_stream(classifier, "standard input", events, table, stop)


def _predict_datagrams(classifier: "Classifier", address: "UdpAddress", table: _Table, stop: StopSignals) -> int:
    from src.events.event_datagrams import EventSocket

    with EventSocket(address) as receiver:
        LOG.info("waiting for events at %s", receiver.address)
        try:
            return _predict_stream(classifier, str(receiver.address), receiver.events(stop.check), table, stop)
        finally:
            if receiver.num_malformed:
                what = f"{receiver.num_malformed:,} datagrams are not {address.format}, and were left out"
                LOG.warning("%s: %s", receiver.address, what)
            if receiver.num_lost:
                LOG.warning("%s: %s datagrams were lost: they came too fast", receiver.address, receiver.num_lost)


def _predict_stream(
    classifier: "Classifier", name: str, parts: Iterator["Events"], table: _Table, stop: StopSignals
) -> int:
    from src.events.formats.errors import CorruptRecordingError

    classifier.stream().compile()
    stream = classifier.stream()
    num_unread = num_outside = 0  # what the reader of a recording left out
    try:
        table.begin()  # says that events may come
        for events in parts:
            num_unread, num_outside = num_unread + events.num_unread, num_outside + events.num_outside
            for frame in stream.push(events):
                stop.check()
                table.print(table.text.frame_line(frame))
        for frame in stream.finish():
            table.print(table.text.frame_line(frame))
    except Stopped:  # how a stream ends that has no end of its own
        LOG.info("%s: ended by a signal", name)
    except CorruptRecordingError as error:
        raise UserError(f"{name}: {error}") from error
    finally:
        passed = stream.frames.events
        _warn_of_losses(name, num_unread, num_outside + passed.num_outside, passed.num_back)
        if stream.is_blank and stream.frames.num_frames:
            _warn_of_blank_frames(name, classifier)
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
    wanted = _wanted(arguments)
    if isinstance(wanted.model, Path):
        yield "ro", wanted.model
    for text in wanted.files:
        yield "ro", from_user(text, "FILE")
