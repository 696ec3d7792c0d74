"""What a model says of a recording and of its frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FramePrediction:
    """What a model says of a frame.

    Attributes:
        number: of the frame in its recording, from 0.
        label, class_name: its class, that of the largest score.
        scores: float64 [classes], its softmax scores.
        begin, end: microseconds, see `src.events.framing.frame_times`.
    """

    number: int
    label: int
    class_name: str
    scores: NDArray[np.float64]
    begin: int
    end: int


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a recording.

    Attributes:
        class_names: in the order of the scores.
        label: number of its class: that of the largest sum of its frames' softmax scores, as `--evaluate` decides.
        scores: float64 [classes], the mean of the frames' softmax scores; they add up to 1.
        num_events: events of the recording on the sensor.
        num_outside: events outside the sensor, which were left out.
        num_unread: bytes at the end of a file that was cut short, which were not read.
        num_back: events whose time is before that of the event before them.
        is_blank: whether no event is left in a frame, so that the class says nothing of the recording.
        frame_labels: int64 [F], the class of each frame, that of its largest score.
        frame_scores: float64 [F, classes], the softmax scores of each frame.
        frame_times: int64 [F, 2], begin and end of each frame in microseconds, see `src.events.framing.frame_times`.
    """

    class_names: tuple[str, ...]
    label: int
    scores: NDArray[np.float64]
    num_events: int
    num_outside: int
    num_unread: int
    num_back: int
    is_blank: bool
    frame_labels: NDArray[np.int64]
    frame_scores: NDArray[np.float64]
    frame_times: NDArray[np.int64]

    @property
    def class_name(self) -> str:
        """Return the name of the class."""
        return self.class_names[self.label]

    @property
    def num_frames(self) -> int:
        """Return the number of frames."""
        return len(self.frame_labels)

    def frames(self) -> Iterator[FramePrediction]:
        """Yield the frames one by one."""
        for number, (label, (begin, end)) in enumerate(
            zip(self.frame_labels.tolist(), self.frame_times.tolist(), strict=True)
        ):
            yield FramePrediction(number, label, self.class_names[label], self.frame_scores[number], begin, end)
