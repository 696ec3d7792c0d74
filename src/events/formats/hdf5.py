"""HDF5: the format of DSEC, M3ED, MVSEC, v2e, Metavision and many tools, each with names of its own.

What is read, by the names in the file; a `group` is one of any name, or the file itself:

| layout | written by | timestamps |
| --- | --- | --- |
| group/x, y, t, p, each [N] | DSEC, M3ED, TUM-VIE, event-vision-library | see `unit_of` |
| group/xs, ys, ts, ps, each [N] | ESIM's tools, event_utils | see `unit_of` |
| group/events [N] of x, y, p and t | Metavision (`CD/events`), without its ECF compression | microseconds |
| events, integers [N, 4]: t, x, y, p | v2e | microseconds |
| davis/left/events, floating-point [N, 4]: x, y, t, p | MVSEC | seconds |

`t_offset` of DSEC, in microseconds, is added to the timestamps, as DSEC's own tools and tonic do. If a file has the
events of several cameras, those of the left one are read. Polarities are 0 and 1, -1 and 1, or false and true.

The sensor's size comes from `calib/resolution` beside the events (M3ED), or from an attribute of the events, their
group or the file: `geometry` (Metavision), `width` and `height`, or `sensor_resolution`. The last is height and width
in event_utils, but some tools write width and height, so it bounds both coordinates by the larger of the two.

Sources: DSEC's `format.md`, M3ED's and MVSEC's data pages, v2e's `emulator.py`, Metavision's documentation of HDF5
event files. h5py does the reading, and is imported with the first file. It gets the bytes as a file in memory. External
links, soft links and datasets in other files are not followed.
"""

import importlib
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from src.events.formats.npy import METAVISION
from src.events.formats.windows import joined

MAGIC = b"\x89HDF\r\n\x1a\n"
LARGEST_CHUNK = 1 << 26  # bytes, decompressed
MOST_OBJECTS = 10_000  # that are looked at for events
MOST_IN_GROUP = 1000  # such as images, which must not keep the others from being looked at
PIECE = 1 << 18  # bytes to search at once
DEEPEST = 4  # groups in groups that are looked at
ECF = 36559  # number of Prophesee's compression
FILTERS = {
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}

# Tables without names, path -> (kinds of numbers, columns); the writers are named above.
_FOURS = {
    "events": ("iu", "txyp"),
    "event": ("iu", "txyp"),
    "davis/left/events": ("f", "xytp"),
    "davis/right/events": ("f", "xytp"),
}


@dataclass(frozen=True)
class _Table:
    """Where a file has its events.

    Attributes:
        path: of the group or dataset.
        datasets: what holds the columns: x, y, t and p, or one dataset for all.
        columns: the names of the columns.
        order: of the columns of a dataset [N, 4]; empty if columns have names.
    """

    path: str
    datasets: tuple[Any, ...]
    columns: Columns
    order: str = ""

    def rows(self, begin: int, end: int) -> Block:
        """Return x, y, t and p of some rows."""
        parts = [_checked(dataset[begin:end], dataset) for dataset in self.datasets]
        if self.order:
            x, y, t, p = (parts[0][:, self.order.index(role)] for role in "xytp")
        elif len(parts) == 1:
            x, y, t, p = (parts[0][self.columns.names[role]] for role in "xytp")
        else:
            x, y, t, p = parts
        return x, y, t, p

    def types(self) -> dict[str, np.dtype[Any]]:
        """Return the types of the columns."""
        if self.order:
            return dict.fromkeys("xytp", self.datasets[0].dtype)
        if len(self.datasets) == 1:
            return {role: self.datasets[0].dtype[self.columns.names[role]] for role in "xytp"}
        return {role: dataset.dtype for role, dataset in zip("xytp", self.datasets, strict=True)}


def decode(content: bytes) -> Events:
    """Return the events of an HDF5 file.

    Raises:
        CorruptRecordingError: if it is no HDF5, cut short or damaged; or if a column holds what no event has.
        ForeignRecordingError: if its events are not where this reader knows them, or compressed by what is not there.
    """
    raw = np.frombuffer(content, np.uint8)
    with _opened(raw) as file:
        table, num_events = _find_table(file, len(raw))
        return joined(_windows(file, raw, table, num_events, BLOCK_EVENTS))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts; each chunk of the file is decompressed once."""
    with _opened(content) as file:
        table, num_events = _find_table(file, len(content))
        yield from _windows(file, content, table, num_events, most_events)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height; None if the file does not say them."""
    raw = np.frombuffer(content, np.uint8)
    with _opened(raw) as file:
        table, _ = _find_table(file, len(raw))
        return _sensor(file, raw, table)[0]


@contextmanager
def _opened(content: NDArray[np.uint8]) -> Iterator[Any]:
    """Open a file, and make an error of every failure of the HDF5 library."""
    import h5py

    _require_ending_lists(content)
    try:
        with h5py.File(ArrayFile(content), "r") as file:
            yield file
    except CorruptRecordingError:
        raise
    except Exception as error:  # the library has an error of its own for each way in which a file is damaged
        text = " ".join(str(error).split())
        cut = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", text)
        if cut:
            raise CorruptRecordingError(f"it is cut short: it has {cut[1]} of {cut[2]} bytes") from error
        raise CorruptRecordingError(f"h5py cannot read it: {text[:120]}") from error


def _require_ending_lists(content: NDArray[np.uint8]) -> None:
    """Raise an error if the HDF5 library would follow a damaged list in a circle and fill the memory.

    Names of groups are in local heaps: `HEAP`, a version of 1 byte, 3 bytes, then the size of the heap's data, where
    its first free block is, and the data's address (8 bytes each). A free block begins with where the next one is and
    its size (8 bytes each); 1 means none. Source: the HDF5 file format specification.

    Raises:
        CorruptRecordingError: if a list of free blocks has no end. One that leaves its heap is for the library to find.
        ForeignRecordingError: if the file's addresses do not have 8 bytes, as nearly all do.
    """
    view = memoryview(content)  # type: ignore[arg-type]
    version = content[8] if len(content) > 24 else 0
    sizes = tuple(view[13:15] if version < 2 else view[9:11])
    if sizes != (8, 8):
        raise ForeignRecordingError(f"its addresses and lengths have {sizes} bytes, not 8")
    for position in _find_all(content, b"HEAP\0"):
        size, block, address = np.frombuffer(
            view[position + 8 : position + 32].tobytes().ljust(24, b"\0"), "<u8"
        ).tolist()
        for _ in range(min(size, len(view)) // 16 + 1):
            if block == 1 or block + 16 > size or address + block + 16 > len(view):
                break
            block = int.from_bytes(view[address + block : address + block + 8], "little")
        else:
            raise CorruptRecordingError(f"it is damaged: its list of free blocks at byte {position} has no end")


def _find_all(content: NDArray[np.uint8], pattern: bytes) -> Iterator[int]:
    """Return where a pattern of 4 bytes or more begins, twice as fast as `bytes.find`, without a copy."""
    word = np.frombuffer(pattern[:4], "<u4")[0]
    for begin in range(0, len(content), PIECE):
        for first in range(begin, begin + 4):
            num_words = max(0, min(PIECE, len(content) - first) // 4)
            words = content[first : first + 4 * num_words].view("<u4")
            for at in (first + 4 * np.flatnonzero(words == word)).tolist():
                if content[at : at + len(pattern)].tobytes() == pattern:
                    yield at


def _find_table(file: Any, file_bytes: int) -> tuple[_Table, int]:
    """Return where the events are, and how many."""
    tables: list[_Table] = []
    others: list[str] = []
    for path, item in _objects(file):
        table = _as_table(path, item)
        if table:
            tables.append(table)
        else:
            others.append(path)
    if len(tables) > 1:
        tables = [table for table in tables if "left" in table.path.split("/")] or tables
    if len(tables) > 1:
        paths = ", ".join(table.path or "/" for table in tables[:4])
        raise ForeignRecordingError(
            f"it has the events of several recordings: {paths}; copy one into a file of its own"
        )
    if not tables:
        names = ", ".join(path for path in others if path)[:100]
        raise ForeignRecordingError(
            f"it has no datasets x, y, t and p in one group, and no other known layout: {names}"
        )
    (table,) = tables
    lengths = {name: dataset.shape[0] for name, dataset in zip("xytp", table.datasets, strict=False)}
    if len(set(lengths.values())) > 1:
        raise CorruptRecordingError(f"its columns differ in length: {lengths}")
    num_events = lengths["x"]
    check_types(table.types())
    check_number(num_events, file_bytes)
    for dataset in table.datasets:
        _check_storage(dataset)
    return table, num_events


def _objects(file: Any) -> Iterator[tuple[str, Any]]:
    """Return the path and the object of the file itself, its groups and datasets, as far as hard links lead."""
    import h5py

    left = MOST_OBJECTS
    groups = [("", file, 0)]
    while groups and left > 0:
        path, group, depth = groups.pop(0)
        yield path, group
        for name in itertools.islice(group, min(left, MOST_IN_GROUP)):
            left -= 1
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                item, below = group[name], f"{path}/{name}" if path else name
                if isinstance(item, h5py.Dataset):
                    yield below, item
                elif isinstance(item, h5py.Group) and depth < DEEPEST:
                    groups.append((below, item, depth + 1))


def _as_table(path: str, item: Any) -> _Table | None:
    """Return a group or a dataset as a table of events; None if it is none."""
    import h5py

    if isinstance(item, h5py.Group):
        hard = [
            name
            for name in itertools.islice(item, MOST_OBJECTS)
            if isinstance(item.get(name, getlink=True), h5py.HardLink)
        ]
        columns = find_columns(hard)
        if columns.missing:
            return None
        datasets = tuple(item[columns.names[role]] for role in "xytp")
        if all(isinstance(dataset, h5py.Dataset) and len(dataset.shape or ()) == 1 for dataset in datasets):
            return _Table(path, datasets, columns)
        return None
    shape: tuple[int, ...] = item.shape or ()
    if len(shape) == 1 and item.dtype.names:
        columns = find_columns(item.dtype.names)
        return None if columns.missing else _Table(path, (item,), columns)
    if path in _FOURS and len(shape) == 2 and shape[1] == 4:
        kinds, order = _FOURS[path]
        if item.dtype.kind not in kinds:
            raise ForeignRecordingError(
                f"the columns of {path}, {item.dtype} {list(shape)}, have no names: make a group of datasets x, y, t, p"
            )
        return _Table(path, (item,), find_columns("xytp"), order)
    return None


def _check_storage(dataset: Any) -> None:
    """Raise an error if not all of a dataset is in this file, or if this machine cannot decompress it."""
    if dataset.is_virtual or dataset.external:
        raise ForeignRecordingError(f"its dataset {dataset.name[1:]} lies in another file")
    num_bytes = dataset.size * dataset.dtype.itemsize
    if dataset.chunks:
        if np.prod(dataset.chunks, dtype=object) * dataset.dtype.itemsize > LARGEST_CHUNK:
            raise CorruptRecordingError(f"its dataset {dataset.name[1:]} has chunks of more than {LARGEST_CHUNK} bytes")
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        expected = int(np.prod([-(-size // chunk) for size, chunk in pairs], dtype=object))
        if (found := dataset.id.get_num_chunks()) < expected:
            raise CorruptRecordingError(f"its dataset {dataset.name[1:]} has {found} of {expected} chunks")
    elif (stored := dataset.id.get_storage_size()) < num_bytes:
        raise CorruptRecordingError(f"its dataset {dataset.name[1:]} has {stored} of {num_bytes} bytes")
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        _require_filter(properties.get_filter(index)[0], dataset.name[1:])


def _require_filter(number: int, name: str) -> None:
    """Raise ForeignRecordingError if a dataset is compressed by what h5py and its plugins lack."""
    import h5py

    if h5py.h5z.filter_avail(number):
        return
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")  # registers what it has
    if h5py.h5z.filter_avail(number):
        return
    if number == ECF:
        raise ForeignRecordingError(
            f"its dataset {name} is compressed by Prophesee's ECF (filter {ECF}): install Prophesee's hdf5_ecf and set "
            "HDF5_PLUGIN_PATH, or convert the file with metavision_file_to_csv"
        )
    raise ForeignRecordingError(
        f"its dataset {name} is compressed by {FILTERS.get(number, 'a filter that h5py lacks')} (filter {number}): "
        "`pip install hdf5plugin`"
    )


def _checked(rows: Any, dataset: Any) -> NDArray[Any]:
    """Return what h5py has read; an error if it is not what was asked for."""
    if not isinstance(rows, np.ndarray):
        raise CorruptRecordingError(f"its dataset {dataset.name[1:]} holds no array")
    return rows


def _windows(
    file: Any, content: NDArray[np.uint8], table: _Table, num_events: int, most_events: int
) -> Iterator[Events]:
    is_float = table.types()["t"].kind == "f"
    sample = table.rows(0, min(num_events, LOOKED_AT))[2] if is_float else np.empty(0, np.int64)
    unit = unit_of(sample, table.columns.unit)
    chunk = max((dataset.chunks or (1,))[0] for dataset in table.datasets)
    row_bytes = max(_row_bytes(dataset) for dataset in table.datasets)
    step = max(chunk, min(BLOCK_EVENTS, LARGEST_CHUNK // row_bytes) // chunk * chunk)
    blocks = (table.rows(begin, min(begin + step, num_events)) for begin in range(0, num_events, step))
    _, sensor = _sensor(file, content, table)
    t_offset = _t_offset(file, table)
    if t_offset and unit.name != "us":
        raise ForeignRecordingError("it has a t_offset, which is microseconds, but its timestamps are none")
    yield from windows_of(blocks, num_events, most_events, unit, sensor, t_offset=t_offset)


def _row_bytes(dataset: Any) -> int:
    return max(1, dataset.dtype.itemsize * (dataset.shape[1] if len(dataset.shape) == 2 else 1))


def _t_offset(file: Any, table: _Table) -> int:
    """Return the microseconds that DSEC's files count their timestamps from; 0 if there are none."""
    for place in (file.get(table.path) if table.path else file, file):
        value = _small(place, "t_offset")
        if value is not None and value.size == 1 and value.dtype.kind in "iu":
            return int(value.flat[0])
    return 0


def _small(group: Any, name: str) -> NDArray[Any] | None:
    """Return a small dataset in a group; None if it has none of that path."""
    import h5py

    dataset = group
    for part in name.split("/"):
        if not isinstance(dataset, h5py.Group) or not isinstance(dataset.get(part, getlink=True), h5py.HardLink):
            return None
        dataset = dataset[part]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None or dataset.size > 4:
        return None
    if dataset.dtype.kind not in "iuf":
        return None
    _check_storage(dataset)
    return np.asarray(dataset[()])


def _sensor(
    file: Any, content: NDArray[np.uint8], table: _Table
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return the sensor's width and height, and those that no event leaves; None if nothing says them."""
    place = file[table.path] if table.path else file
    size = _pair(_small(place, "calib/resolution"))
    if size:
        return size, size
    for item in (place, place.parent, file):
        geometry = _attribute(item, "geometry", content)
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else str(geometry)
        size = _pair(text.split("x")) or _pair([_attribute(item, name, content) for name in ("width", "height")])
        if size:
            return size, size
        size = _pair(_attribute(item, "sensor_resolution", content))
        if size:
            return size[::-1], (max(size), max(size))
    return None, None


def _attribute(item: Any, name: str, content: NDArray[np.uint8]) -> Any:
    """Return an attribute that is a text or a few numbers; None if there is none.

    The HDF5 library is not asked for a text of any length: if a file is damaged, it may never end to read it, or take
    gigabytes for it.
    """
    import h5py

    if name not in item.attrs:
        return None
    attribute = item.attrs.get_id(name)
    kind = attribute.get_type()
    if not isinstance(kind, (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
        return None
    if attribute.get_space().get_simple_extent_npoints() > 4 or attribute.get_storage_size() > 1024:
        return None
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        return _geometry_in_heaps(content) if name == "geometry" else None
    return item.attrs[name]


def _geometry_in_heaps(content: NDArray[np.uint8]) -> bytes | None:
    """Return the only text such as `1280x720` in a file's global heaps, which hold texts of any length; None if none.

    A heap is `GCOL`, a version of 1 byte, 3 zeros, its size (8 bytes) and objects: an index (2 bytes), a count of
    references (2), 4 zeros, a size (8) and that many bytes, padded to a multiple of 8. An object with index 0 is what
    is left of the heap, its header included. Source: the HDF5 file format specification.

    Raises:
        CorruptRecordingError: if there is none, and the objects of a heap do not follow each other to its end.
    """
    view = memoryview(content)  # type: ignore[arg-type]
    found = set()
    is_damaged = False
    for position in _find_all(content, b"GCOL\x01\0\0\0"):
        at = position + 16
        end = position + int.from_bytes(view[position + 8 : at], "little")
        while at + 16 <= end <= len(view):
            index = int.from_bytes(view[at : at + 2], "little")
            size = int.from_bytes(view[at + 8 : at + 16], "little")
            if index == 0:
                at = at + size if size >= 16 else end + 1
                continue
            text = view[at + 16 : at + 16 + min(size, 16)].tobytes().rstrip(b"\0")
            if re.fullmatch(rb"\d{1,5}x\d{1,5}", text):
                found.add(text)
            at += 16 + -(-size // 8) * 8
        is_damaged |= at > end or end > len(view)
    if is_damaged and not found:
        raise CorruptRecordingError("it is damaged where it has the text of its attribute geometry")
    return found.pop() if len(found) == 1 else None


def _pair(values: Any) -> tuple[int, int] | None:
    """Return two numbers of pixels; None if the values are something else."""
    try:
        first, second = (int(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return (first, second) if 0 < first <= 1 << 16 and 0 < second <= 1 << 16 else None


def encode(
    events: Events,
    layout: str = "dsec",
    compression: str | None = "gzip",
    sensor: tuple[int, int] | None = None,
    t_offset: int = 0,
) -> bytes:
    """Return the bytes of an HDF5 file; `decode` inverts it.

    Args:
        events: with timestamps of at least `t_offset`.
        layout: "dsec", "m3ed", "metavision", "v2e" or "mvsec".
        compression: h5py's "gzip" or "lzf"; None for none.
        sensor: width and height, for m3ed and metavision.
        t_offset: for dsec, the microseconds that timestamps are counted from.
    """
    import h5py

    target = io.BytesIO()
    options: dict[str, Any] = {"compression": compression, "chunks": (min(max(len(events), 1), 1 << 14),)}
    fours = options | {"chunks": (*options["chunks"], 4)}
    with h5py.File(target, "w") as file:
        if layout == "dsec":
            columns = {"x": events.x, "y": events.y, "t": (events.t - t_offset).astype(np.uint32), "p": events.p}
            for name, values in columns.items():
                file.create_dataset(f"events/{name}", data=values, **options)
            last = int(events.t[-1] - t_offset) if len(events) else 0
            file["ms_to_idx"] = np.searchsorted(events.t - t_offset, 1000 * np.arange(last // 1000 + 2))
            file["t_offset"] = np.int64(t_offset)
        elif layout == "m3ed":
            columns = {"x": events.x, "y": events.y, "t": events.t, "p": events.p.astype(np.int8)}
            for name, values in columns.items():
                file.create_dataset(f"prophesee/left/{name}", data=values, **options)
            if sensor:
                file["prophesee/left/calib/resolution"] = np.array(sensor)
        elif layout == "metavision":
            table = np.zeros(len(events), METAVISION)
            for name in "xypt":
                table[name] = getattr(events, name)
            file.create_dataset("CD/events", data=table, **options)
            if sensor:
                file.attrs["geometry"] = f"{sensor[0]}x{sensor[1]}"
        elif layout == "v2e":
            columns_of_v2e = [getattr(events, name).astype(np.uint32) for name in "txyp"]
            file.create_dataset("events", data=np.stack(columns_of_v2e, axis=1), **fours)
        else:
            rows = np.empty((len(events), 4))
            rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] = events.x, events.y, events.t / 1e6, 2.0 * events.p - 1
            file.create_dataset("davis/left/events", data=rows, **fours)
    return target.getvalue()


FORMAT = Format(decode, windows, beginning=MAGIC, sensor_size=sensor_size, has_scattered_header=True)
