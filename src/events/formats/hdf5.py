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
event files. h5py finds the datasets, and is imported with the first file. It gets the bytes as a file in memory.
External links, soft links and datasets in other files are not followed.
"""

import functools
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.events import Events
from src.events.formats.columns import (
    BLOCK_EVENTS,
    LATEST,
    LOOKED_AT,
    SMALL_EVENTS,
    Block,
    Columns,
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
from src.events.formats.hdf5_heaps import geometry_in_heaps, require_ending_lists, require_known_sizes
from src.events.formats.hdf5_objects import Dataset, Group, objects, opened
from src.events.formats.hdf5_rows import rows_of
from src.events.formats.hdf5_storage import check_storage
from src.events.formats.npy import METAVISION
from src.events.formats.windows import joined

MAGIC = b"\x89HDF\r\n\x1a\n"

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
        item: the group or dataset.
        datasets: what holds the columns: x, y, t and p, or one dataset for all.
        columns: the names of the columns.
        order: of the columns of a dataset [N, 4]; empty if columns have names.
    """

    item: Group | Dataset
    datasets: tuple[Dataset, ...]
    columns: Columns
    order: str = ""

    def blocks(self, content: NDArray[np.uint8], num_events: int) -> Iterator[Block]:
        """Return x, y, t and p of the first rows in blocks of at most BLOCK_EVENTS; `content` are the file's bytes."""
        datasets = [rows_of(dataset, content) for dataset in self.datasets]
        begin = 0
        while begin < num_events:
            end = min(begin + BLOCK_EVENTS, num_events, *(rows.end(begin) for rows in datasets))
            yield self._block([rows.take(begin, end) for rows in datasets])
            begin = end

    def _block(self, parts: list[NDArray[Any]]) -> Block:
        if self.order:
            return block_of(*(parts[0][:, self.order.index(role)] for role in "xytp"))
        if len(parts) == 1:
            return block_of_rows(parts[0], self.columns)
        return block_of(*parts)

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
        return joined(_windows(raw, table, num_events, SMALL_EVENTS))


def windows(content: NDArray[np.uint8], most_events: int) -> Iterator[Events]:
    """Return what `decode` does, in parts; each chunk of the file is decompressed once."""
    with _opened(content) as file:
        table, num_events = _find_table(file, len(content))
        yield from _windows(content, table, num_events, most_events)


def sensor_size(content: bytes) -> tuple[int, int] | None:
    """Return the sensor's width and height; None if the file does not say them."""
    raw = np.frombuffer(content, np.uint8)
    with _opened(raw) as file:
        table, _ = _find_table(file, len(raw))
        return _sensor(_places(table), raw)[0]


@contextmanager
def _opened(content: NDArray[np.uint8]) -> Iterator[Group]:
    """Open a file, and make an error of every failure of the HDF5 library."""
    require_known_sizes(content)
    try:
        with opened(content, functools.partial(require_ending_lists, content)) as file:
            yield file
    except CorruptRecordingError:
        raise
    except Exception as error:  # the library has an error of its own for each way in which a file is damaged
        text = " ".join(str(error).split())
        cut = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", text)
        if cut:
            raise CorruptRecordingError(f"it is cut short: it has {cut[1]} of {cut[2]} bytes") from error
        raise CorruptRecordingError(f"h5py cannot read it: {text[:120]}") from error


def _find_table(file: Group, file_bytes: int) -> tuple[_Table, int]:
    """Return where the events are, and how many."""
    tables: list[_Table] = []
    others: list[str] = []
    for item in objects(file):
        table = _as_table(item)
        if table:
            tables.append(table)
        else:
            others += _described(item)
    if len(tables) > 1:
        tables = [table for table in tables if "left" in table.item.path.split("/")] or tables
    if len(tables) > 1:
        paths = ", ".join(table.item.path or "/" for table in tables[:4])
        raise ForeignRecordingError(
            f"it has the events of several recordings: {paths}; copy one into a file of its own"
        )
    if not tables:
        raise ForeignRecordingError(
            "it has no datasets x, y, t and p of shape [N] in one group, and no other known layout: "
            + ", ".join(others)[:200]
        )
    (table,) = tables
    lengths = {name: (dataset.shape or (0,))[0] for name, dataset in zip("xytp", table.datasets, strict=False)}
    if len(set(lengths.values())) > 1:
        raise CorruptRecordingError(f"its columns differ in length: {lengths}")
    num_events = lengths["x"]
    check_types(table.types())
    check_number(num_events, file_bytes)
    for dataset in table.datasets:
        check_storage(dataset)
    return table, num_events


def _described(item: Group | Dataset) -> list[str]:
    """Return how a message names a group and the links in it, or a dataset."""
    if isinstance(item, Dataset):
        return [f"{item.path} {list(item.shape or ())}"]
    links = [f"{item.path}/{name}".lstrip("/") for name in item.links]
    return [item.path] * bool(item.path) + [f"{path} (a link, not followed)" for path in links]


def _as_table(item: Group | Dataset) -> _Table | None:
    """Return a group or a dataset as a table of events; None if it is none."""
    if isinstance(item, Group):
        columns = find_columns(item.names)
        found = [item.member(columns.names[role]) for role in "xytp"] if not columns.missing else []
        datasets = tuple(one for one in found if isinstance(one, Dataset) and len(one.shape or ()) == 1)
        return _Table(item, datasets, columns) if len(datasets) == len("xytp") else None
    shape = item.shape or ()
    if len(shape) == 1 and item.dtype.names:
        columns = find_columns(item.dtype.names)
        return None if columns.missing else _Table(item, (item,), columns)
    if item.path in _FOURS and len(shape) == 2 and shape[1] == 4:
        kinds, order = _FOURS[item.path]
        if item.dtype.kind not in kinds:
            raise ForeignRecordingError(
                f"the columns of {item.path}, {item.dtype} {list(shape)}, have no names: make a group of datasets "
                "x, y, t, p"
            )
        return _Table(item, (item,), find_columns("xytp"), order)
    return None


def _windows(content: NDArray[np.uint8], table: _Table, num_events: int, most_events: int) -> Iterator[Events]:
    is_float = table.types()["t"].kind == "f"
    beginning = table.blocks(content, min(num_events, LOOKED_AT)) if is_float else iter(())
    sample = np.concatenate([np.empty(0, table.types()["t"]), *(block.t for block in beginning)])
    unit = unit_of(sample, table.columns.unit)
    blocks = table.blocks(content, num_events)
    places = _places(table)
    _, sensor = _sensor(places, content)
    t_offset = _t_offset(places)
    if t_offset and unit.name != "us":
        raise ForeignRecordingError("it has a t_offset, which is microseconds, but its timestamps are none")
    yield from windows_of(blocks, num_events, most_events, unit, sensor, t_offset=t_offset)


def _places(table: _Table) -> list[Group | Dataset]:
    """Return what may say more about the events: their group or dataset, the group that it is in, and the file."""
    places = [table.item]
    while (parent := places[-1].parent) is not None:
        places.append(parent)
    return [*places[:2], *places[2:][-1:]]


def _t_offset(places: list[Group | Dataset]) -> int:
    """Return the microseconds that DSEC's files count their timestamps from; 0 if there are none.

    Raises:
        ForeignRecordingError: if they are not one whole number of microseconds.
    """
    for place in (places[0], places[-1]):
        value = _small(place, "t_offset")
        if value is not None:
            numbers = value.reshape(-1).tolist()
            if len(numbers) != 1 or not abs(numbers[0]) < LATEST or numbers[0] % 1:
                raise ForeignRecordingError(f"its t_offset is {numbers}, not one whole number of microseconds")
            return int(numbers[0])
    return 0


def _small(item: Group | Dataset | None, path: str) -> NDArray[Any] | None:
    """Return a small dataset in a group; None if it has none of that path."""
    for name in path.split("/"):
        item = item.member(name) if isinstance(item, Group) else None
    if not isinstance(item, Dataset) or item.shape is None or item.size > 4 or item.dtype.kind not in "iuf":
        return None
    check_storage(item)
    return item.read()


def _sensor(
    places: list[Group | Dataset], content: NDArray[np.uint8]
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return the sensor's width and height, and those that no event leaves; None if nothing says them."""
    size = _pair(_small(places[0], "calib/resolution"))
    if size:
        return size, size
    for item in places:
        geometry = _attribute(item, "geometry", content)
        text = geometry.decode(errors="replace") if isinstance(geometry, bytes) else str(geometry)
        size = _pair(text.split("x")) or _pair([_attribute(item, name, content) for name in ("width", "height")])
        if size:
            return size, size
        size = _pair(_attribute(item, "sensor_resolution", content))
        if size:
            return size[::-1], (max(size), max(size))
    return None, None


def _attribute(item: Group | Dataset, name: str, content: NDArray[np.uint8]) -> Any:
    """Return an attribute that is a text or a few numbers; None if there is none.

    The HDF5 library is not asked for a text of any length: if a file is damaged, it may never end to read it, or take
    gigabytes for it.
    """
    import h5py

    if not h5py.h5a.exists(item.id, name.encode()):
        return None
    attribute = h5py.h5a.open(item.id, name.encode())
    kind = attribute.get_type()
    if not isinstance(kind, (h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
        return None
    if not 1 <= attribute.get_space().get_simple_extent_npoints() <= 4 or attribute.get_storage_size() > 1024:
        return None
    if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        return geometry_in_heaps(content) if name == "geometry" else None
    return h5py.AttributeManager(item)[name]


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
