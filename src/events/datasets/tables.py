"""What datasets share whose files are tables without names: the table of an .npy file, and columns to events."""

import io

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError, check_outside, refuse_pointer
from src.helpers import one_line

LATEST = 1 << 53  # microseconds; beyond, a floating-point number is no exact timestamp
LARGEST_COORDINATE = (1 << 16) - 1
MOST_SHOWN = 100  # characters of a library's message

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(content: bytes) -> NDArray[np.generic]:
    """Return the table of an .npy file's bytes: numbers [N, 4], in the file's type. Pickled objects are not loaded.

    Raises:
        CorruptRecordingError: if the file is damaged or cut short.
        ForeignRecordingError: if it is no such table.
    """
    refuse_pointer(content)
    file = io.BytesIO(content)
    try:
        shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
    except Exception as error:  # the header is a Python literal, which may fail in many ways
        raise CorruptRecordingError(f"its header is none of an .npy file: {one_line(error)[:MOST_SHOWN]}") from error
    if dtype.hasobject or dtype.kind not in "iufb" or len(shape) != 2 or shape[1] != 4:
        raise ForeignRecordingError(f"its array {shape} of {dtype} is no table of events with four columns")
    rows = content[file.tell() :]
    needed = 4 * shape[0] * dtype.itemsize
    if shape[0] < 0 or len(rows) != needed:
        raise CorruptRecordingError(f"it holds {len(rows):,} bytes of events, where its header says {needed:,}")
    return np.frombuffer(rows, dtype).reshape(shape, order="F" if is_fortran else "C")


def events_of_columns(
    x: NDArray[np.generic], y: NDArray[np.generic], t: NDArray[np.generic], p: NDArray[np.generic]
) -> Events:
    """Return events of columns [N] of any numeric type, as `astype` converts them; a polarity of -1 is OFF.

    A few events with another polarity, or with coordinates that are no pixel's, are left out. `num_outside` of the
    result counts them.

    Raises:
        CorruptRecordingError: if a value is no number, or a timestamp is too large.
        ForeignRecordingError: if more than a few events are left out.
    """
    for name, column in (("x", x), ("y", y), ("t", t), ("p", p)):
        if not np.isfinite(column).all():
            raise CorruptRecordingError(f"column {name} holds what is no number")
    if len(t) and max(abs(float(t.min())), abs(float(t.max()))) > LATEST:
        raise CorruptRecordingError("a timestamp is too large")
    x, y, t, p = (_whole(column) for column in (x, y, t, p))
    inside = (x >= 0) & (x <= LARGEST_COORDINATE) & (y >= 0) & (y <= LARGEST_COORDINATE) & (abs(p) <= 1)
    num_outside = len(t) - int(np.count_nonzero(inside))
    if num_outside:
        check_outside(num_outside, len(t), "coordinates from 0 on, and a polarity of -1, 0 or 1")
        x, y, t, p = x[inside], y[inside], t[inside], p[inside]
    num_back = int(np.count_nonzero(np.diff(t) < 0))
    return Events(x.astype(np.uint16), y.astype(np.uint16), t, (p > 0).astype(np.uint8), 0, num_outside, num_back)


def _whole(column: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return a column as whole numbers; what is too large for them stays large."""
    if column.dtype.kind == "f":
        column = np.clip(column, -LATEST, LATEST)
    return column.astype(np.int64)
