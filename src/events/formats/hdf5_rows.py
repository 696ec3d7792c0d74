"""The rows of an HDF5 dataset: out of the file's bytes where they lie there plainly, otherwise read by h5py.

Plain are numbers, or structures of numbers, contiguous or in chunks of whole rows, that are not compressed or went
through gzip (deflate) or LZF, with or without the shuffle filter before it. h5py says where the chunks lie. Sources:
the HDF5 file format specification, the description of LZF in liblzf, RFC 1950.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from src.events.formats.columns import BLOCK_EVENTS
from src.events.formats.errors import CorruptRecordingError
from src.events.formats.hdf5_storage import LARGEST_CHUNK
from src.events.formats.lzf_kernel import unpack_lzf
from src.events.formats.windows import read_only

DEFLATE, SHUFFLE, LZF = 1, 2, 32000  # numbers of filters
_PLAIN = ((), (DEFLATE,), (LZF,), (SHUFFLE, DEFLATE), (SHUFFLE, LZF))

Filter = tuple[int, tuple[int, ...]]  # its number, and what it was set to


class Rows(Protocol):
    """The rows of a dataset, in pieces. Those of one piece are taken in their order, before those of the next."""

    def end(self, row: int) -> int:
        """Return where the piece ends that a row is in."""

    def take(self, begin: int, end: int) -> NDArray[Any]:
        """Return some rows of one piece."""


def rows_of(dataset: Any, content: NDArray[np.uint8]) -> Rows:
    """Return the rows of a dataset [N] or [N, M] of a file with these bytes; see `check_storage`."""
    library = _LibraryRows(dataset)
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(index) for index in range(properties.get_nfilters())]
    if not _has_plain_type(dataset) or tuple(code for code, *_ in filters) not in _PLAIN:
        return library
    row_bytes = row_bytes_of(dataset)
    pieces = _pieces(dataset, row_bytes, len(content), bool(filters))
    if pieces is None:
        return library
    return _FileRows(read_only(content), dataset, pieces, [(code, values) for code, _, values, _ in filters])


def row_bytes_of(dataset: Any) -> int:
    """Return how many bytes a row of a dataset [N] or [N, M] takes."""
    return max(1, dataset.dtype.itemsize * (dataset.shape[1] if len(dataset.shape) == 2 else 1))


def read_rows(dataset: Any, begin: int, end: int) -> NDArray[Any]:
    """Return what h5py reads; CorruptRecordingError if it is not what was asked for."""
    rows = dataset[begin:end]
    if not isinstance(rows, np.ndarray):
        raise CorruptRecordingError(f"its dataset {dataset.name[1:]} holds no array")
    return rows


class _LibraryRows:
    """Rows that h5py reads, so many whole chunks at once that each is decompressed once."""

    def __init__(self, dataset: Any) -> None:
        chunk = (dataset.chunks or (1,))[0]
        self._dataset, self._num_rows = dataset, dataset.shape[0]
        self._step = max(chunk, min(BLOCK_EVENTS, LARGEST_CHUNK // row_bytes_of(dataset)) // chunk * chunk)
        self._begin = -1
        self._piece: NDArray[Any] = np.empty(0)

    def end(self, row: int) -> int:
        return min((row // self._step + 1) * self._step, self._num_rows)

    def take(self, begin: int, end: int) -> NDArray[Any]:
        first = begin // self._step * self._step
        if first != self._begin:
            self._begin, self._piece = first, read_rows(self._dataset, first, self.end(begin))
        return self._piece[begin - first : end - first]


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
    addresses: list[int]
    sizes: list[int]
    skipped: list[int]
    unpacked: int | None = None


def _has_plain_type(dataset: Any) -> bool:
    """Return whether the file's bytes are rows of NumPy's type as they are."""
    import h5py

    dtype = dataset.dtype
    kinds = [dtype[name].kind for name in dtype.names] if dtype.names else [dtype.kind]
    return all(kind in "iuf" for kind in kinds) and dataset.id.get_type() == h5py.h5t.py_create(dtype)


def _pieces(dataset: Any, row_bytes: int, file_bytes: int, is_filtered: bool) -> _Pieces | None:
    """Return where the pieces are; None if that is not plain, or not in the file."""
    num_rows = dataset.shape[0]
    if not dataset.chunks:
        offset, size = dataset.id.get_offset(), num_rows * row_bytes
        if offset is None or offset + size > file_bytes:
            return None
        return _Pieces(np.array([0, num_rows]), [offset], [size], [0])
    if dataset.chunks[1:] != dataset.shape[1:] or not hasattr(dataset.id, "chunk_iter"):
        return None
    step = dataset.chunks[0]
    infos: list[Any] = []
    dataset.id.chunk_iter(infos.append)
    found = sorted((info.chunk_offset[0], info.byte_offset, info.size, info.filter_mask) for info in infos)
    if [begin for begin, *_ in found] != list(range(0, num_rows, step)):
        return None
    if any(address is None or address + size > file_bytes for _, address, size, _ in found):
        return None
    if is_filtered:
        rows, addresses, sizes, skipped = (list(values) for values in zip(*found, strict=True))
        return _Pieces(np.array([*rows, num_rows]), addresses, sizes, skipped, step * row_bytes)
    if any(size != step * row_bytes for _, _, size, _ in found):
        return None
    return _joined(found, num_rows)


def _joined(chunks: list[tuple[int, int, int, int]], num_rows: int) -> _Pieces:
    """Return chunks that are not compressed in pieces, each of chunks that follow each other in the file too."""
    rows: list[int] = []
    addresses: list[int] = []
    sizes: list[int] = []
    for begin, address, size, _ in chunks:
        if addresses and addresses[-1] + sizes[-1] == address:
            sizes[-1] += size
        else:
            rows.append(begin)
            addresses.append(address)
            sizes.append(size)
    return _Pieces(np.array([*rows, num_rows]), addresses, sizes, [0] * len(rows))


class _FileRows:
    """Rows out of the file's bytes."""

    def __init__(
        self,
        content: NDArray[np.uint8],
        dataset: Any,
        pieces: _Pieces,
        filters: list[Filter],
    ) -> None:
        self._content = content
        self._name = dataset.name[1:]
        self._dtype, self._width = dataset.dtype, dataset.shape[1:]
        self._pieces = pieces
        self._filters = filters
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
        for index, (code, values) in reversed(list(enumerate(self._filters))):
            if raw is not None and not self._pieces.skipped[number] >> index & 1:
                raw = _UNPACK[code](raw, whole, values)
        if (raw is None or len(raw) != whole) and number == len(self._pieces.sizes) - 1:
            raw = stored  # HDF5 has an option not to filter the last chunk if the rows do not fill it
        if raw is None or len(raw) != whole:
            raise CorruptRecordingError(f"its dataset {self._name} is damaged in the chunk at byte {address:,}")
        return raw.view(self._dtype).reshape(-1, *self._width)


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
