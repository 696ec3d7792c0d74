"""NumPy's .npz: a zip archive of .npy files, with arrays x, y, t and p [N], or with one structured array of them.

spikingjelly, tonic's cache and many papers' code save events so. Arrays of other names are ignored, unless they are the
only structured array that has x, y, t and p. Names may be synonyms such as `timestamps` and `polarity`. Members are
stored or deflated, and are unpacked piece by piece, so an archive that claims to unpack to far more than it can hold
does not fill the memory. Checksums are verified. Sources: NumPy's documentation of `savez`, PKWARE's APPNOTE.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.array_file import ArrayFile
from src.events.formats.columns import (
    BLOCK_EVENTS,
    LOOKED_AT,
    SMALL_EVENTS,
    Block,
    Unit,
    block_of,
    block_of_rows,
    check_number,
    check_types,
    find_columns,
    unit_of,
    windows_of,
)
from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.format import Format
from src.events.formats.npy import event_fields, read_header
from src.events.formats.windows import joined
from src.events.formats.zip_member import ZipMember

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
        return joined(_windows(archive, raw, SMALL_EVENTS))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts."""
    with _opened(content) as archive:
        yield from _windows(archive, content, most_events)


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

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: NDArray[np.uint8]) -> None:
        self.name = info.filename
        self._member = ZipMember(archive, info, content)
        try:
            _, self.dtype, self.num_rows = read_header(self._member)
        except CorruptRecordingError as error:
            if isinstance(error.__cause__, zipfile.BadZipFile):
                raise error.__cause__ from error
            raise

    def rows(self, num_rows: int) -> NDArray[Any]:
        """Return the next rows; CorruptRecordingError if there are fewer."""
        size = num_rows * self.dtype.itemsize
        content = self._member.take(size)
        if len(content) < size:
            raise CorruptRecordingError(f"its array {self.name} ends before its {self.num_rows:,} rows")
        return content.view(self.dtype)

    def require_end(self) -> None:
        """Raise CorruptRecordingError if there is more than the header says."""
        if self._member.num_left:
            raise CorruptRecordingError(f"its array {self.name} has more than its {self.num_rows:,} rows")


class _Table:
    """The arrays of an archive that have the events: x, y, t and p, or one structured array.

    Attributes:
        num_events: rows of each array.
        columns: the names of the columns.
    """

    def __init__(self, archive: zipfile.ZipFile, content: NDArray[np.uint8]) -> None:
        self._archive, self._content = archive, content
        members = (info for info in archive.infolist() if info.filename.endswith(SUFFIX))
        self._infos = {info.filename.removesuffix(SUFFIX): info for info in members}
        self.columns = find_columns(self._infos)
        if not self.columns.missing:
            self._arrays = [self._array(self.columns.names[role]) for role in "xytp"]
        else:
            self._arrays = [self._structured()]
        lengths = {array.name: array.num_rows for array in self._arrays}
        if len(set(lengths.values())) > 1:
            raise CorruptRecordingError(f"its arrays differ in length: {lengths}")
        self.num_events = self._arrays[0].num_rows
        check_number(self.num_events, len(content))
        if len(self._arrays) > 1:
            check_types(dict(zip("xytp", (array.dtype for array in self._arrays), strict=True)))
        row_bytes = max(array.dtype.itemsize for array in self._arrays)
        self._step = max(1, min(BLOCK_EVENTS, LARGEST_BLOCK // row_bytes))

    def _array(self, name: str) -> _Array:
        return _Array(self._archive, self._infos[name], self._content)

    def _structured(self) -> _Array:
        """Return the only array with fields x, y, t and p, or that of several which is called `events`."""
        found = {}
        for name in list(self._infos)[:MOST_ARRAYS]:
            with suppress(CorruptRecordingError):
                array = self._array(name)
                found[name] = array, event_fields(array.dtype)
        name = "events" if "events" in found else next(iter(found), "")
        if not found or (len(found) > 1 and name != "events"):
            missing = self.columns.missing
            problem = f"no {missing}" if not found else "several arrays of events, and none that is called events"
            names = ", ".join(self._infos)[:100]
            raise ForeignRecordingError(
                f"it has the arrays {names}: {problem}. numpy.savez(path, x=x, y=y, t=t, p=p) names them"
            )
        array, self.columns = found[name]
        return array

    def unit(self) -> Unit:
        """Return the unit of the timestamps."""
        name = self.columns.names["t"]
        looked_at = self._arrays[2 % len(self._arrays)]
        is_structured = len(self._arrays) == 1
        dtype = looked_at.dtype[name] if is_structured else looked_at.dtype
        sample: NDArray[Any] = np.empty(0, dtype)
        if dtype.kind == "f":
            beginning = self._array(looked_at.name.removesuffix(SUFFIX))
            rows = beginning.rows(min(self.num_events, LOOKED_AT, self._step))
            sample = rows[name] if is_structured else rows
        return unit_of(sample, self.columns.unit)

    def blocks(self) -> Iterator[Block]:
        """Return x, y, t and p of all events in blocks; CorruptRecordingError if an array has another length."""
        for begin in range(0, self.num_events, self._step):
            parts = [array.rows(min(self._step, self.num_events - begin)) for array in self._arrays]
            yield block_of(*parts) if len(parts) > 1 else block_of_rows(parts[0], self.columns)
        for array in self._arrays:
            array.require_end()


def _windows(archive: zipfile.ZipFile, content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    table = _Table(archive, content)
    yield from windows_of(table.blocks(), table.num_events, most_events, table.unit())


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
