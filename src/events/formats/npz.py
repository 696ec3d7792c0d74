"""NumPy's .npz: a zip archive of .npy files, with arrays x, y, t and p [N], or with one structured array of them.

spikingjelly, tonic's cache and many papers' code save events so. Arrays of other names are ignored, unless they are the
only structured array that has x, y, t and p. Names may be synonyms such as `timestamps` and `polarity`. Members are
stored or deflated, and are unpacked piece by piece, so an archive that claims to unpack to far more than it can hold
does not fill the memory. Checksums are verified. Sources: NumPy's documentation of `savez`, PKWARE's APPNOTE.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.array_file import ArrayFile
from src.events.formats.columns import (
    BLOCK_EVENTS,
    LOOKED_AT,
    Block,
    Columns,
    check_number,
    check_types,
    find_columns,
    unit_of,
    windows_of,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.format import Format
from src.events.formats.npy import block_of, event_fields, read_header
from src.events.formats.windows import joined

MAGIC = b"PK\x03\x04"
SUFFIX = ".npy"
MOST_ARRAYS = 1000
LARGEST_BLOCK = 1 << 24  # bytes


def decode(content: bytes) -> Events:
    """Return the events of an .npz file.

    Raises:
        CorruptRecordingError: if it is no .npz, cut short or damaged, or an array holds what no event has.
        ForeignRecordingError: if it has no arrays of events.
    """
    raw = np.frombuffer(content, np.uint8)
    with _opened(raw) as archive:
        return joined(_windows(archive, len(raw), BLOCK_EVENTS))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts."""
    with _opened(content) as archive:
        yield from _windows(archive, len(content), most_events)


def recognises(content: bytes) -> bool:
    """Return whether the first member of a zip archive is an .npy file."""
    name_size = int.from_bytes(content[26:28], "little")
    return content[30 : 30 + name_size].endswith(SUFFIX.encode())


@contextmanager
def _opened(content: NDArray[np.uint8]) -> Iterator[zipfile.ZipFile]:
    """Open an archive, and make an error of every failure of zipfile."""
    try:
        with zipfile.ZipFile(ArrayFile(content)) as archive:
            yield archive
    except CorruptRecordingError:
        raise
    except Exception as error:  # zipfile has many, down to struct.error
        raise CorruptRecordingError(f"it is cut short or damaged: {' '.join(str(error).split())[:100]}") from error


class _Array:
    """An array in an archive, unpacked from its beginning to its end."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ForeignRecordingError(f"its array {info.filename} is neither stored nor deflated")
        self._name = info.filename
        self._file = archive.open(info)
        try:
            _, self.dtype, self.num_rows = read_header(self._file)
        except CorruptRecordingError as error:
            if isinstance(error.__cause__, zipfile.BadZipFile):
                raise error.__cause__ from error
            raise

    def __enter__(self) -> "_Array":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, num_rows: int) -> NDArray[Any]:
        """Return the next rows; CorruptRecordingError if there are fewer."""
        size = num_rows * self.dtype.itemsize
        content = self._file.read(size)
        if len(content) < size:
            raise CorruptRecordingError(f"its array {self._name} ends before its {self.num_rows:,} rows")
        return np.frombuffer(content, self.dtype)

    def require_end(self) -> None:
        """Raise CorruptRecordingError if there is more than the header says."""
        if self._file.read(1):
            raise CorruptRecordingError(f"its array {self._name} has more than its {self.num_rows:,} rows")


def _find(archive: zipfile.ZipFile, file_bytes: int) -> tuple[list[zipfile.ZipInfo], Columns, int]:
    """Return the arrays x, y, t and p, or the one structured array; the names of its columns; the number of events."""
    infos = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist() if info.filename.endswith(SUFFIX)}
    columns = find_columns(infos)
    if not columns.missing:
        found = [infos[columns.names[role]] for role in "xytp"]
    else:
        info, columns = _structured(archive, infos, columns.missing)
        found = [info]
    lengths = {}
    for info in found:
        with _Array(archive, info) as array:
            lengths[info.filename] = array.num_rows
    if len(set(lengths.values())) > 1:
        raise CorruptRecordingError(f"its arrays differ in length: {lengths}")
    num_events = lengths[found[0].filename]
    check_number(num_events, file_bytes)
    return found, columns, num_events


def _structured(
    archive: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], missing: str
) -> tuple[zipfile.ZipInfo, Columns]:
    """Return the only array with fields x, y, t and p, or that of several which is called `events`."""
    found = {}
    for name, info in list(infos.items())[:MOST_ARRAYS]:
        try:
            with _Array(archive, info) as array:
                found[name] = event_fields(array.dtype)
        except CorruptRecordingError:
            continue
    name = "events" if "events" in found else next(iter(found), "")
    if not found or (len(found) > 1 and name != "events"):
        problem = f"no {missing}" if not found else "several arrays of events, and none that is called events"
        raise ForeignRecordingError(
            f"it has the arrays {', '.join(infos)[:100]}: {problem}. numpy.savez(path, x=x, y=y, t=t, p=p) names them"
        )
    return infos[name], found[name]


def _windows(archive: zipfile.ZipFile, file_bytes: int, most_events: int) -> Iterator[Events]:
    found, columns, num_events = _find(archive, file_bytes)
    with ExitStack() as stack:
        arrays = [stack.enter_context(_Array(archive, info)) for info in found]
        row_bytes = max(array.dtype.itemsize for array in arrays)
        step = max(1, min(BLOCK_EVENTS, LARGEST_BLOCK // row_bytes))

        def block(num_rows: int) -> Block:
            if len(arrays) == 1:
                return block_of(arrays[0].rows(num_rows), columns)
            x, y, t, p = (array.rows(num_rows) for array in arrays)
            return x, y, t, p

        if len(arrays) > 1:
            check_types(dict(zip("xytp", (array.dtype for array in arrays), strict=True)))
        with _Array(archive, found[2 % len(found)]) as looked_at:
            sample = looked_at.rows(min(num_events, LOOKED_AT, LARGEST_BLOCK // row_bytes))
        unit = unit_of(sample[columns.names["t"]] if len(arrays) == 1 else sample, columns.unit)
        blocks = (block(min(step, num_events - begin)) for begin in range(0, num_events, step))
        yield from windows_of(blocks, num_events, most_events, unit)
        for array in arrays:
            array.require_end()


def encode(events: Events, is_structured: bool = False, is_deflated: bool = True) -> bytes:
    """Return the bytes of an .npz file; `decode` inverts it.

    Args:
        events: the events.
        is_structured: whether to write one array `events` instead of x, y, t and p.
        is_deflated: whether to compress.
    """
    target = io.BytesIO()
    save = np.savez_compressed if is_deflated else np.savez
    if is_structured:
        save(target, events=events.to_structured())
    else:
        save(target, x=events.x, y=events.y, t=events.t, p=events.p)
    return target.getvalue()


FORMAT = Format(decode, windows, beginning=MAGIC, recognises=recognises)
