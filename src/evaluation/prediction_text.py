"""Predictions as text: a table for people, CSV, or a line of JSON each."""

import csv
import functools
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.evaluation.prediction import FramePrediction, Prediction
from src.helpers import printable

_OF_RECORDING = ["class", "label", "frames", "events"]
_OF_FRAME = ["frame", "begin_us", "end_us", "class", "label"]


class PredictionText(ABC):
    """Writes predictions one after the other, a line per recording or per frame.

    Args:
        class_names: in the order of the scores.
        names: of all recordings that may come; empty for a stream, which has no name.
        frames: whether a line stands for a frame.
    """

    def __init__(self, class_names: Sequence[str], names: Sequence[str], frames: bool) -> None:
        self.class_names, self.names, self.frames = tuple(class_names), names, frames

    @abstractmethod
    def header(self) -> str:
        """Return what stands before the first line; empty for nothing."""

    @abstractmethod
    def _line(self, values: dict[str, Any], scores: NDArray[np.float64]) -> str:
        """Return the line of a recording or a frame."""

    def lines(self, name: str, prediction: Prediction) -> Iterator[str]:
        """Yield the lines of a recording."""
        if self.frames:
            for frame in prediction.frames():
                yield self.frame_line(frame, name)
            return
        values: dict[str, Any] = {
            "file": name,
            "class": prediction.class_name,
            "label": prediction.label,
            "frames": prediction.num_frames,
            "events": prediction.num_events,
        }
        yield self._line(values, prediction.scores)

    def frame_line(self, frame: FramePrediction, name: str | None = None) -> str:
        """Return the line of a frame; without a name it is one of a stream."""
        values: dict[str, Any] = {} if name is None else {"file": name}
        values |= {
            "frame": frame.number,
            "begin_us": frame.begin,
            "end_us": frame.end,
            "class": frame.class_name,
            "label": frame.label,
        }
        return self._line(values, frame.scores)


class JsonLines(PredictionText):
    """A line of JSON each, with `scores` by class name."""

    def header(self) -> str:
        """Return nothing."""
        return ""

    def _line(self, values: dict[str, Any], scores: NDArray[np.float64]) -> str:
        return json.dumps({**values, "scores": dict(zip(self.class_names, scores.tolist(), strict=True))})


class Csv(PredictionText):
    """CSV with a column score_CLASS per class."""

    def header(self) -> str:
        """Return the names of the columns."""
        columns = [*(["file"] if self.names else []), *(_OF_FRAME if self.frames else _OF_RECORDING)]
        return _csv_row([*columns, *(f"score_{name}" for name in self.class_names)])

    def _line(self, values: dict[str, Any], scores: NDArray[np.float64]) -> str:
        return _csv_row([*values.values(), *scores.tolist()])


def _csv_row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # cells with one of its characters get quotes
    return text.getvalue().removesuffix("\r\n")


class Table(PredictionText):
    """A table whose columns have their widths before the first line is known."""

    def header(self) -> str:
        """Return the titles of the columns, and a line below them."""
        return f"{self._row(list(self._widths))}\n{'  '.join('-' * width for width in self._widths.values())}"

    @functools.cached_property
    def _widths(self) -> dict[str, int]:
        """The columns and their widths."""
        longest = max(len(printable(name)) for name in ("class", *self.class_names))
        widths = {"file": max(len(printable(name)) for name in ("file", *self.names))} if self.names else {}
        if self.frames:
            return {**widths, "frame": 6, "begin, us": 16, "end, us": 16, "class": longest, "share, %": 8}
        return {**widths, "class": longest, "share, %": 8, "frames": 6}

    def _line(self, values: dict[str, Any], scores: NDArray[np.float64]) -> str:
        cells = [values["file"]] if self.names else []
        if self.frames:
            cells += [values["frame"], values["begin_us"], values["end_us"]]
        cells += [values["class"], f"{100 * scores[values['label']]:.1f}"]
        return self._row([*cells, *([] if self.frames else [values["frames"]])])

    def _row(self, cells: list[Any]) -> str:
        aligned = [
            printable(str(cell)).ljust(width) if name in ("file", "class") else str(cell).rjust(width)
            for cell, (name, width) in zip(cells, self._widths.items(), strict=True)
        ]
        return "  ".join(aligned).rstrip()
