"""Events: a recording's events as four flat arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Events:
    """Events of one recording, in the order of time.

    Attributes:
        x, y: column and row of the pixel, uint16 [N].
        t: timestamps in microseconds, int64 [N].
        p: polarity, uint8 [N]; 1 is ON (brighter).
        num_unread: bytes at the end of a file that was cut short, which were not read or are missing.
        num_outside: events outside the sensor, which were left out.
        num_back: events whose timestamp is before that of the event before them; they stay where they are.
    """

    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t: NDArray[np.int64]
    p: NDArray[np.uint8]
    num_unread: int = 0
    num_outside: int = 0
    num_back: int = 0

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y), len(self.t), len(self.p)}
        if len(lengths) != 1:
            raise ValueError(f"x, y, t and p must have equal lengths, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.t)

    def chosen(self, places: slice | NDArray[np.bool_] | NDArray[np.uint32]) -> "Events":
        """Return the events at these places, without the counts of what was left out."""
        return Events(self.x[places], self.y[places], self.t[places], self.p[places])

    @classmethod
    def from_structured(cls, array: NDArray[np.void]) -> "Events":
        """Return the events of a structured array with the fields x, y, t and p, such as tonic's."""
        return cls(
            np.ascontiguousarray(array["x"], dtype=np.uint16),
            np.ascontiguousarray(array["y"], dtype=np.uint16),
            np.ascontiguousarray(array["t"], dtype=np.int64),
            np.ascontiguousarray(array["p"], dtype=np.uint8),
        )

    def to_structured(self) -> NDArray[np.void]:
        """Return a structured array with int64 fields x, y, t and p, as tonic's N-MNIST dataset does."""
        array = np.empty(len(self), dtype=np.dtype([(name, np.int64) for name in "xytp"]))
        for name in "xytp":
            array[name] = getattr(self, name)
        return array
