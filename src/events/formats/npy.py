"""NumPy's .npy with a structured array [N] of x, y, t and p, as tonic's datasets and Metavision's tools save them.

A file is `\\x93NUMPY`, the version of the format (2 bytes), the header's size (2 bytes, or 4 from version 2.0 on), the
header, which is a Python literal {'descr', 'fortran_order', 'shape'}, and the rows. Source: NumPy's documentation of
`numpy.lib.format`. Fields may come in any order and be integers or floating-point numbers of any size; fields of other
names are ignored. Pickled objects are not loaded.

A plain array [N, 4] is refused, since nothing in it says which column is which: tonic, MVSEC and v2e each have an order
of their own.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.columns import (
    BLOCK_EVENTS,
    LOOKED_AT,
    Columns,
    block_of_rows,
    check_types,
    find_columns,
    unit_of,
    windows_of,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.format import Format
from src.events.formats.windows import joined

MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 10_000  # bytes, which is NumPy's own limit
LARGEST_ROW = 1 << 12  # bytes
HOW_TO_NAME = (
    'numpy.save(path, numpy.rec.fromarrays([x, y, t, p], names="x,y,t,p")) says which column is which, and t_s or t_us '
    "the unit of time"
)


# By version; 3.0 differs from 2.0 in that names may be UTF-8, and those of events are ASCII.
_READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}

# Metavision's type of events, as its tools save them.
METAVISION = np.dtype(
    {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8], "itemsize": 16}
)


def decode(content: bytes) -> Events:
    """Return the events of an .npy file.

    `num_unread` of the result says how many bytes of a file that was cut short are missing or belong to an incomplete
    row, or how many follow its last row.

    Raises:
        CorruptRecordingError: if it is no .npy or damaged, or a field holds what no event has.
        ForeignRecordingError: if its array is not one of events.
    """
    rows, num_unread = _rows(np.frombuffer(content, np.uint8))
    return joined(_windows(rows, num_unread, max(1, len(rows))))


def events_of(rows: NDArray[np.void]) -> Events:
    """Return the events of a structured array [N], such as tonic's and Metavision's; raises what `decode` does."""
    event_fields(rows.dtype)
    return joined(_windows(rows, 0, max(1, len(rows))))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts."""
    yield from _windows(*_rows(np.asarray(content)), most_events)


def _rows(content: NDArray[np.uint8]) -> tuple[NDArray[Any], int]:
    """Return the whole rows of a file, and how many bytes of the others are missing or left."""
    begin, dtype, num_rows = read_header(io.BytesIO(content[: LARGEST_HEADER + 100].tobytes()))
    event_fields(dtype)
    claimed, there = num_rows * dtype.itemsize, len(content) - begin
    num_whole = min(claimed, there) // dtype.itemsize
    end = begin + num_whole * dtype.itemsize
    return content[begin:end].view(dtype), begin + max(claimed, there) - end


def _windows(rows: NDArray[Any], num_unread: int, most_events: int) -> Iterator[Events]:
    columns = event_fields(rows.dtype)
    unit = unit_of(rows[columns.names["t"]][:LOOKED_AT], columns.unit)
    begins = range(0, len(rows), BLOCK_EVENTS)
    blocks = (block_of_rows(rows[begin : begin + BLOCK_EVENTS], columns) for begin in begins)
    yield from windows_of(blocks, len(rows), most_events, unit, num_unread=num_unread)


def read_header(file: Any) -> tuple[int, np.dtype[Any], int]:
    """Return where the rows begin in an .npy file, their type, and their number.

    Raises:
        CorruptRecordingError: if the header is damaged.
        ForeignRecordingError: if it is no array [N] of plain rows.
    """
    try:
        read = _READERS[np.lib.format.read_magic(file)]
        shape, _, dtype = read(file, max_header_size=LARGEST_HEADER)
        begin = file.tell()
    except Exception as error:  # the literal may make Python's parser fail in any way
        raise CorruptRecordingError(f"its header is damaged: {' '.join(str(error).split())[:100]}") from error
    if dtype.hasobject:
        raise ForeignRecordingError("it holds pickled objects, which may run code and are not loaded")
    if len(shape) != 1:
        raise ForeignRecordingError(f"its array {list(shape)} of {dtype} does not name its columns; {HOW_TO_NAME}")
    if shape[0] < 0 or dtype.itemsize > LARGEST_ROW or dtype.itemsize == 0:
        raise CorruptRecordingError(f"its header claims {shape[0]} rows of {dtype.itemsize} bytes")
    return begin, dtype, int(shape[0])


def event_fields(dtype: np.dtype[Any]) -> Columns:
    """Return the fields of events; ForeignRecordingError if a type of rows lacks some, or they are no numbers."""
    columns = find_columns(dtype.names or ())
    if columns.missing:
        names = ", ".join(dtype.names or ()) or f"only {dtype}"
        raise ForeignRecordingError(f"its rows have {names[:100]}, but no {columns.missing}; {HOW_TO_NAME}")
    check_types({role: dtype[name] for role, name in columns.names.items()})
    return columns


def encode(events: Events, dtype: Any = METAVISION) -> bytes:
    """Return the bytes of an .npy file; `decode` inverts it.

    Args:
        events: the events.
        dtype: a type with fields x, y, t and p. tonic's has int64 for each.
    """
    rows = np.zeros(len(events), dtype)
    for name in "xytp":
        rows[name] = getattr(events, name)
    target = io.BytesIO()
    np.save(target, rows, allow_pickle=False)
    return target.getvalue()


FORMAT = Format(decode, windows, beginning=MAGIC)
