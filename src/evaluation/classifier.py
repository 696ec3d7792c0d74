"""Classifier: a trained model that classifies recordings, with the framing that it was trained on."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from src.command_line import UserError
from src.config import Config
from src.data import read_samples
from src.evaluation.inference import find_model, load_model, model_sensor_size
from src.evaluation.metrics import sums_by_recording
from src.evaluation.prediction import FramePrediction, Prediction
from src.events.events import Events
from src.events.formats import nmnist_bin, npy
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.reading import format_of, read_windows
from src.events.frame_stream import FrameStream, StreamedFrames
from src.events.framing import frame_shape
from src.events.recording_frames import RecordingFrames
from src.frame_cache.cache import Split
from src.frame_cache.framing_options import dataset_of, framing_of
from src.model import FrameModel
from src.training.device import autocast

SensorSize = tuple[int, int, int]

BATCH = 32  # frames that PyTorch classifies together: what a CNN makes of them should stay in a core's cache
TOGETHER = 1 << 12  # frames of several recordings that are classified together
TOGETHER_BYTES = 1 << 26  # of these frames


@dataclass(frozen=True, eq=False)
class _Framed:
    """A recording's frames, with their times, and what was counted on the way."""

    frames: NDArray[np.uint8]
    times: NDArray[np.int64]
    about: RecordingFrames


class Classifier:
    """A trained model that classifies recordings.

    A logic gate network runs as its circuit (`Circuit.simplified`) on packed frames, any other model in PyTorch on the
    CPU. Options of the framing are those of the model's training, which its file holds.

    Args:
        model: in eval mode, on the CPU.
        config: of its training.
        class_names: in the order of its scores.
        sensor_size: (W, H, P) of the recordings.

    Attributes:
        model: as it was given.
        circuit: what computes the scores; None if the model is not made of gates.
        class_names: in the order of the labels.
        framing: what becomes a frame.
        sensor_size: (W, H, P).
        stack: frames per sample.
    """

    def __init__(self, model: FrameModel, config: Config, class_names: Sequence[str], sensor_size: SensorSize) -> None:
        self.class_names = tuple(class_names)
        self.framing = framing_of(config.data)
        self.sensor_size = sensor_size
        self.dataset = dataset_of(config.data)
        self.evt3_clock = config.data.evt3_clock
        self.stack = config.data.stack
        self._window_events = config.data.window_events
        self.model, self._train = model, config.train
        self.circuit = model.circuit().simplified() if model.has_circuit else None
        if self.circuit is None:  # in this order of a frame's values, a CNN takes less than half the time on a CPU
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # Whole recordings

    def predict(self, recording: str | Path | Events | NDArray[np.void]) -> Prediction:
        """Return the class of a recording and of its frames.

        Args:
            recording: a file in any format of `src.registry.FILE_FORMATS`, or events: those of this project, or a
                structured array [N] with fields x, y, t and p, such as tonic's and Metavision's.

        Raises:
            CorruptRecordingError: if it cannot be used; its text says why.
            OSError: if the file cannot be read.
        """
        if isinstance(recording, np.ndarray):
            recording = npy.events_of(recording)
        framed = self._framed(recording, with_times=True, check=lambda: None)
        return framed if isinstance(framed, Prediction) else self._classified([framed])[0]

    def predict_all(
        self, paths: Sequence[str | Path], with_times: bool = True, check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str | Path, Prediction | CorruptRecordingError | OSError]]:
        """Yield each file with its prediction, or with the error that `predict` raises for it, in their order.

        Frames of several recordings are classified together, so short recordings take less time than by `predict`.

        Args:
            paths: files.
            with_times: without, `frame_times` are zeros, which saves time.
            check: called for each file, or each window of a long one; may raise to stop.
        """
        waiting: list[tuple[str | Path, _Framed | Prediction | CorruptRecordingError | OSError]] = []
        frames = size = 0
        for path in paths:
            try:
                framed = self._framed(path, with_times, check)
                if isinstance(framed, _Framed):
                    frames, size = frames + len(framed.frames), size + framed.frames.nbytes
                waiting.append((path, framed))
            except (CorruptRecordingError, OSError) as error:
                waiting.append((path, error))
            if frames >= TOGETHER or size >= TOGETHER_BYTES or len(waiting) >= TOGETHER:
                yield from self._finished(waiting)
                waiting, frames, size = [], 0, 0
        yield from self._finished(waiting)

    def _finished(
        self, waiting: list[tuple[str | Path, _Framed | Prediction | CorruptRecordingError | OSError]]
    ) -> Iterator[tuple[str | Path, Prediction | CorruptRecordingError | OSError]]:
        predictions = iter(self._classified([it for _, it in waiting if isinstance(it, _Framed)]))
        for path, it in waiting:
            yield path, next(predictions) if isinstance(it, _Framed) else it

    def _framed(
        self, recording: str | Path | Events, with_times: bool, check: Callable[[], None]
    ) -> "_Framed | Prediction":
        """Return a recording's frames, as a preparation makes them; or the prediction, if they come in several parts.

        A long recording is classified while it is read, so that memory holds a part of it.
        """
        windows = functools.partial(self._windows, recording)
        frames = RecordingFrames(windows, self.sensor_size, self.framing, with_times, check)
        parts, scored = [], _Scored(self)
        try:
            for part in frames:
                parts.append(part)
                if sum(map(len, parts)) >= TOGETHER or sum(it.frames.nbytes for it in parts) >= TOGETHER_BYTES:
                    scored.add(parts)
                    parts = []
        except ValueError as error:
            raise CorruptRecordingError(str(error)) from error
        if len(parts) == 1 and not scored.scores:
            return _Framed(parts[0].frames, parts[0].times, frames)
        if parts:
            scored.add(parts)
        scores, times = torch.cat(scored.scores), np.concatenate(scored.times)
        sums = sums_by_recording(scores, np.zeros(len(scores), np.int64))[2][0]
        shares = scores.double().softmax(1).numpy()
        return self._prediction(sums, scores.argmax(1).numpy(), shares, times, frames)

    @property
    def header_sensor(self) -> tuple[int, int] | None:
        """Return the sensor that a file's header must name, (width, height); None if it may name any."""
        return self.sensor_size[:2] if self.dataset.of_options is not None else None  # the user's own say theirs

    def _windows(self, recording: str | Path | Events) -> Iterator[Events]:
        if isinstance(recording, Events):
            return iter([recording])
        if self.header_sensor is not None:
            return read_windows(recording, self._window_events, self.evt3_clock, self.header_sensor)
        if self.dataset.read is nmnist_bin.read:  # which takes the bytes of any file for events
            return read_windows(recording, self._window_events)
        return iter([self.dataset.read(recording)])

    def _classified(self, recordings: list[_Framed]) -> list[Prediction]:
        """Return the predictions of recordings, whose frames are classified together."""
        if not recordings:
            return []
        counts = [len(recording.frames) for recording in recordings]
        ends = np.cumsum(counts)
        numbers = np.repeat(np.arange(len(recordings)), counts)
        frames = np.concatenate([recording.frames for recording in recordings])
        scores = self.frame_scores(frames, numbers)
        labels, shares = scores.argmax(1).numpy(), scores.double().softmax(1).numpy()
        sums = sums_by_recording(scores, numbers)[2]
        return [
            self._prediction(sums[i], labels[end - n : end], shares[end - n : end], recording.times, recording.about)
            for i, (recording, n, end) in enumerate(zip(recordings, counts, ends, strict=True))
        ]

    def _prediction(
        self,
        sums: NDArray[np.float64],
        labels: NDArray[np.int64],
        shares: NDArray[np.float64],
        times: NDArray[np.int64],
        about: RecordingFrames,
    ) -> Prediction:
        return Prediction(
            self.class_names,
            int(sums.argmax()),
            sums / len(labels),
            about.num_events,
            about.num_outside,
            about.num_unread,
            about.num_back,
            about.is_blank,
            labels,
            shares,
            times,
        )

    def frame_scores(self, frames: NDArray[np.uint8], recordings: NDArray[np.int64]) -> torch.Tensor:
        """Return the class scores of frames, float32 [F, classes], those of the model in eval mode.

        Args:
            frames: uint8 [F, frame_bytes], as of `frames_of`.
            recordings: int64 [F], a number for each recording, whose frames follow each other.
        """
        frame_bits = math.prod(frame_shape(self.framing, self.sensor_size)) * (
            8 if self.framing.dtype == "counts" else 1
        )
        split = Split(frames, recordings, recordings, self.stack, frame_bits)
        scores = [torch.empty(0, self.model.num_classes)]
        batch = BATCH if self.circuit is None else TOGETHER
        for begin in range(0, len(frames), batch):
            samples = read_samples(split, np.arange(begin, min(begin + batch, len(frames))))
            scores.append(self._scores(samples))
        return torch.cat(scores)

    @torch.no_grad()
    def _scores(self, samples: torch.Tensor) -> torch.Tensor:
        if self.circuit is not None:
            counts = self.circuit(self.model.circuit_inputs(samples).numpy())
            return torch.from_numpy(counts).float() / self.circuit.tau
        with autocast(self._train, torch.device("cpu")):
            return self.model.forward_packed(samples).float()

    # Events that come a few at a time

    def stream(self) -> "ClassifierStream":
        """Return what classifies frames of one recording as soon as they are full.

        Raises:
            UserError: if the model's frames depend on all of a recording's events.
        """
        return ClassifierStream(self)


class _Scored:
    """The scores of a recording's frames that come part by part.

    Attributes:
        scores, times: of the parts that were added.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.scores: list[torch.Tensor] = []
        self.times: list[NDArray[np.int64]] = []
        self._classifier = classifier
        self._before = np.empty((0, 0), np.uint8)  # frames that the next one is stacked on

    def of(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        """Return the scores of the next frames, float32 [F, classes]."""
        before = self._before.reshape(-1, frames.shape[1])
        every = np.concatenate([before, frames])
        kept = min(self._classifier.stack - 1, len(every))
        self._before = every[len(every) - kept :].copy()
        return self._classifier.frame_scores(every, np.zeros(len(every), np.int64))[len(before) :]

    def add(self, parts: list[StreamedFrames]) -> None:
        """Add the scores and the times of the next frames."""
        self.scores.append(self.of(np.concatenate([part.frames for part in parts])))
        self.times += [part.times for part in parts]


class ClassifierStream:
    """Classifies the frames of one recording as soon as they are full, see `FrameStream`; memory is bounded.

    Attributes:
        class_names: in the order of the labels.
        frames: cuts the events.
        sums: float64 [classes], the sums of the frames' softmax scores so far.
        is_blank: whether no frame so far holds an event.
    """

    def __init__(self, classifier: Classifier) -> None:
        try:
            self.frames = FrameStream(classifier.framing, classifier.sensor_size)
        except ValueError as error:
            raise UserError(f"{error}; predict its recordings as files") from error
        self.class_names = classifier.class_names
        self.sums = np.zeros(len(classifier.class_names))
        self.is_blank = True
        self._number = 0
        self._scored = _Scored(classifier)

    def push(self, events: Events) -> Iterator[FramePrediction]:
        """Take the next events; yield the classes of the frames that they make full.

        Raises:
            CorruptRecordingError: if the events cannot be used, see `FrameStream.push`.
        """
        try:
            for full in self.frames.push(events):
                yield from self._classify(full)
        except ValueError as error:
            raise CorruptRecordingError(str(error)) from error

    def finish(self) -> list[FramePrediction]:
        """Return the class of the frame that the end of the events leaves, if there is one.

        Raises:
            CorruptRecordingError: if there were no events, or too many of them lay outside the sensor.
        """
        passed = self.frames.events
        if passed.num_outside:
            passed.check_outside()
        if passed.num_events == 0:
            raise CorruptRecordingError("it holds no events")
        return list(self._classify(self.frames.finish()))

    def compile(self) -> None:
        """Compile what classifies events, by one event; another stream classifies what comes."""
        one = np.zeros(1, np.uint16)
        for _ in self.push(Events(one, one, one.astype(np.int64), np.zeros(1, np.uint8))):
            pass
        self.finish()

    @property
    def label(self) -> int | None:
        """Return the class of all frames so far, that of the largest of `sums`; None if there are none."""
        return int(self.sums.argmax()) if self._number else None

    def _classify(self, full: StreamedFrames) -> Iterator[FramePrediction]:
        if len(full) == 0:
            return
        self.is_blank = self.is_blank and not full.frames.any()
        scores = self._scored.of(full.frames)
        labels, shares = scores.argmax(1).tolist(), scores.double().softmax(1).numpy()
        for label, share, (begin, end) in zip(labels, shares, full.times.tolist(), strict=True):
            self.sums += share
            yield FramePrediction(self._number, label, self.class_names[label], share, begin, end)
            self._number += 1


def load_classifier(path_or_job: str | Path) -> Classifier:
    """Return the classifier of a model's file, or of a job: its best model, see `load_model`.

    Raises:
        UserError: if there is no such model, its file is damaged, or it does not say the size of the sensor.
    """
    path = find_model(path_or_job)
    model, about = load_model(path)
    config = Config.from_dict(about["config"], str(path))
    sensor_size = model_sensor_size(path, about, config)
    channels, height, width = frame_shape(framing_of(config.data), sensor_size)
    if [config.data.stack * channels, height, width] != about["input_shape"]:
        raise UserError(
            f"{path}: its header says that frames are of shape {about['input_shape']} [P, H, W], but also that the "
            f"sensor is {list(sensor_size)} [W, H, P]; give a file that train.sh wrote"
        )
    return Classifier(model, config, about["class_names"], sensor_size)


def is_recording(path: str | Path) -> bool:
    """Return whether a file's beginning is that of a known format; OSError if it cannot be read."""
    return format_of(path) is not None
