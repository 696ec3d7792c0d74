"""The rows of an HDF5 dataset: out of the file's bytes where they lie there plainly, otherwise read by h5py.

Plain are numbers, or structures of numbers, contiguous or in chunks of whole rows, that are not compressed or went
through gzip (deflate) or LZF, with or without the shuffle filter before it. h5py says where the chunks lie. Sources:
the HDF5 file format specification, the description of LZF in liblzf, RFC 1950.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Any, Protocol

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from src.events.formats.columns import BLOCK_EVENTS
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.hdf5_objects import Dataset
from src.events.formats.hdf5_storage import LARGEST_CHUNK
from src.events.formats.lzf_kernel import unpack_lzf
from src.events.formats.windows import read_only

DEFLATE, SHUFFLE, LZF = 1, 2, 32000  # numbers of filters
_PLAIN = ((), (DEFLATE,), (LZF,), (SHUFFLE, DEFLATE), (SHUFFLE, LZF))


class Rows(Protocol):
    """The rows of a dataset, in pieces. Those of one piece are taken in their order, before those of the next."""

    def end(self, row: int) -> int:
        """Return where the piece ends that a row is in."""

    def take(self, begin: int, end: int) -> NDArray[Any]:
        """Return some rows of one piece."""


def rows_of(dataset: Dataset, content: NDArray[np.uint8]) -> Rows:
    """Return the rows of a dataset [N] or [N, M] of a file with these bytes; see `check_storage`."""
    if not _has_plain_type(dataset) or tuple(number for number, _ in dataset.filters) not in _PLAIN:
        return _LibraryRows(dataset)
    pieces = _pieces(dataset, len(content))
    return _LibraryRows(dataset) if pieces is None else _FileRows(read_only(content), dataset, pieces)


class _LibraryRows:
    """Rows that h5py reads, in pieces of whole chunks, so that each chunk is decompressed once."""

    def __init__(self, dataset: Dataset) -> None:
        chunk = (dataset.chunks or (1,))[0]
        self._dataset, self._num_rows = dataset, _num_rows(dataset)
        self._step = max(chunk, min(BLOCK_EVENTS, LARGEST_CHUNK // dataset.row_bytes) // chunk * chunk)
        self._begin = -1
        self._piece: NDArray[Any] = np.empty(0)

    def end(self, row: int) -> int:
        return min((row // self._step + 1) * self._step, self._num_rows)

    def take(self, begin: int, end: int) -> NDArray[Any]:
        first = begin // self._step * self._step
        if first != self._begin:
            self._begin, self._piece = first, self._read(first, self.end(begin))
        return self._piece[begin - first : end - first]

    def _read(self, begin: int, end: int) -> NDArray[Any]:
        rows = self._dataset.read_rows(begin, end)
        if not isinstance(rows, np.ndarray):
            raise CorruptRecordingError(f"its dataset {self._dataset.path} holds no array")
        return rows


@dataclass(frozen=True)
class _Pieces:
    """Where a file has the pieces of a dataset.

    Attributes:
        rows: the first row of each piece, and the number of all rows, int64 [number of pieces + 1].
        addresses: where each piece begins in the file.
        sizes: the bytes of each piece in the file.
        skipped: the filters that each piece did not go through, a bit for each.
        unpacked: the bytes of a piece that went through filters; None if there are no filters.
    """

    rows: NDArray[np.int64]
    addresses: Sequence[int]
    sizes: Sequence[int]
    skipped: Sequence[int]
    unpacked: int | None = None


def _has_plain_type(dataset: Dataset) -> bool:
    """Return whether the file's bytes are rows of NumPy's type as they are."""
    import h5py

    dtype = dataset.dtype
    kinds = [dtype[name].kind for name in dtype.names] if dtype.names else [dtype.kind]
    return all(kind in "iuf" for kind in kinds) and dataset.id.get_type() == h5py.h5t.py_create(dtype)


def _num_rows(dataset: Dataset) -> int:
    return (dataset.shape or (0,))[0]


def _pieces(dataset: Dataset, file_bytes: int) -> _Pieces | None:
    """Return where the pieces are; None if that is not plain, or not in the file."""
    num_rows, row_bytes = _num_rows(dataset), dataset.row_bytes
    if not dataset.chunks:
        offset, size = dataset.id.get_offset(), num_rows * row_bytes
        if offset is None or offset + size > file_bytes:
            return None
        return _Pieces(np.array([0, num_rows]), [offset], [size], [0])
    if dataset.chunks[1:] != (dataset.shape or ())[1:] or not dataset.chunk_places:
        return None
    step = dataset.chunks[0]
    begins, skipped, addresses, sizes = zip(*sorted(dataset.chunk_places), strict=True)
    rows = [begin[0] for begin in begins]
    if rows != list(range(0, num_rows, step)) or None in addresses or max(map(add, addresses, sizes)) > file_bytes:
        return None
    if dataset.filters:
        return _Pieces(np.array([*rows, num_rows]), addresses, sizes, skipped, step * row_bytes)
    if set(sizes) != {step * row_bytes}:
        return None
    return _joined(rows, addresses, step * row_bytes, num_rows)


def _joined(rows: Sequence[int], addresses: Sequence[int], size: int, num_rows: int) -> _Pieces:
    """Return chunks that are not compressed in pieces, each of chunks that follow each other in the file too."""
    firsts = [0, *(i for i in range(1, len(rows)) if addresses[i] != addresses[i - 1] + size)]
    lengths = [end - first for first, end in pairwise([*firsts, len(rows)])]
    return _Pieces(
        np.array([*(rows[first] for first in firsts), num_rows]),
        [addresses[first] for first in firsts],
        [length * size for length in lengths],
        [0] * len(firsts),
    )


class _FileRows:
    """Rows out of the file's bytes."""

    def __init__(self, content: NDArray[np.uint8], dataset: Dataset, pieces: _Pieces) -> None:
        self._content = content
        self._dataset, self._width = dataset, (dataset.shape or ())[1:]
        self._pieces = pieces
        self._number = -1
        self._piece: NDArray[Any] = np.empty(0)

    def end(self, row: int) -> int:
        return int(self._pieces.rows[self._at(row) + 1])

    def take(self, begin: int, end: int) -> NDArray[Any]:
        number = self._at(begin)
        if number != self._number:
            self._number, self._piece = number, self._unpacked(number)
        first = int(self._pieces.rows[number])
        return self._piece[begin - first : end - first]

    def _at(self, row: int) -> int:
        """Return the number of the piece that a row is in."""
        return int(np.searchsorted(self._pieces.rows, row, "right")) - 1

    def _unpacked(self, number: int) -> NDArray[Any]:
        """Return the rows of a piece; CorruptRecordingError if its bytes are damaged."""
        address, size = self._pieces.addresses[number], self._pieces.sizes[number]
        whole = self._pieces.unpacked or size
        stored = self._content[address : address + size]
        raw: NDArray[np.uint8] | None = stored
        for index, (code, values) in reversed(list(enumerate(self._dataset.filters))):
            if raw is not None and not self._pieces.skipped[number] >> index & 1:
                raw = _UNPACK[code](raw, whole, values)
        if (raw is None or len(raw) != whole) and number == len(self._pieces.sizes) - 1:
            raw = stored  # HDF5 has an option not to filter the last chunk if the rows do not fill it
        if raw is None or len(raw) != whole:
            raise CorruptRecordingError(f"its dataset {self._dataset.path} is damaged in the chunk at byte {address:,}")
        return raw.view(self._dataset.dtype).reshape(-1, *self._width)


def _inflated(packed: NDArray[np.uint8], size: int, _: tuple[int, ...]) -> NDArray[np.uint8] | None:
    stream = isal_zlib.decompressobj()
    try:
        unpacked = stream.decompress(packed, size + 1)
    except isal_zlib.error:  # type: ignore[misc]
        return None
    return np.frombuffer(unpacked, np.uint8) if stream.eof else None


def _from_lzf(packed: NDArray[np.uint8], size: int, _: tuple[int, ...]) -> NDArray[np.uint8] | None:
    unpacked = np.empty(size, np.uint8)
    return read_only(unpacked) if len(packed) < size and unpack_lzf(packed, unpacked) else None


def _unshuffled(shuffled: NDArray[np.uint8], _: int, values: tuple[int, ...]) -> NDArray[np.uint8] | None:
    element = values[0] if values else 0
    if element < 1 or len(shuffled) % element:
        return None
    return read_only(np.ascontiguousarray(shuffled.reshape(element, -1).T).reshape(-1))


# By a filter's number: what it made, the bytes of an unpacked chunk and the filter's settings -> what it was made of;
# None if that is damaged.
_UNPACK: dict[int, Callable[[NDArray[np.uint8], int, tuple[int, ...]], NDArray[np.uint8] | None]] = {
    DEFLATE: _inflated,
    LZF: _from_lzf,
    SHUFFLE: _unshuffled,
}
