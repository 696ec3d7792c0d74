"""The groups and datasets of an HDF5 file, as far as hard links lead.

They are opened with h5py's low-level calls. Its own objects ask the HDF5 library for each property again and again,
which takes longer than reading the events of a short recording.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.events.formats.array_file import ArrayFile

MOST_OBJECTS = 10_000  # that are looked at for events
MOST_IN_GROUP = 1000  # such as images, which must not keep the others from being looked at
DEEPEST = 4  # groups in groups that are looked at

Filter = tuple[int, tuple[int, ...]]  # its number, and what it was set to


class Group:
    """A group, or the file itself.

    Attributes:
        id: h5py's identifier.
        path: in the file, such as `CD`; empty for the file itself.
        parent: the group that it is in; None for the file itself.
    """

    def __init__(self, identifier: Any, path: str, parent: "Group | None") -> None:
        self.id, self.path, self.parent = identifier, path, parent
        self._members: dict[str, Group | Dataset | None] = {}

    @property
    def names(self) -> list[str]:
        """The names of the objects in it, at most MOST_OBJECTS; links to somewhere else are no objects in it."""
        return self._listed[0]

    @property
    def links(self) -> list[str]:
        """The names of links to somewhere else."""
        return self._listed[1]

    @cached_property
    def _listed(self) -> tuple[list[str], list[str]]:
        import h5py

        objects: list[str] = []
        links: list[str] = []

        def take(name: bytes, link: Any) -> bool | None:
            (objects if link.type == h5py.h5l.TYPE_HARD else links).append(name.decode(errors="surrogateescape"))
            return len(objects) == MOST_OBJECTS or None

        self.id.links.iterate(take, info=True)
        return objects, links

    def member(self, name: str) -> "Group | Dataset | None":
        """Return the group or dataset of a name; None if there is none."""
        if name not in self._members:
            self._members[name] = self._opened(name) if name in self.names else None
        return self._members[name]

    def _opened(self, name: str) -> "Group | Dataset | None":
        import h5py

        found = h5py.h5o.open(self.id, name.encode(errors="surrogateescape"))
        path = f"{self.path}/{name}" if self.path else name
        if isinstance(found, h5py.h5d.DatasetID):
            return Dataset(found, path, self)
        return Group(found, path, self) if isinstance(found, h5py.h5g.GroupID) else None


class Dataset:
    """A dataset, and what the file says about it.

    Attributes:
        id: h5py's identifier.
        path: in the file, such as `events/x`.
        parent: the group that it is in.
    """

    def __init__(self, identifier: Any, path: str, parent: Group) -> None:
        self.id, self.path, self.parent = identifier, path, parent

    @cached_property
    def shape(self) -> tuple[int, ...] | None:
        """Its shape; None if it has no values at all."""
        shape: tuple[int, ...] | None = self.id.shape
        return shape

    @cached_property
    def size(self) -> int:
        """How many values it has."""
        return 0 if self.shape is None else math.prod(self.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of its values."""
        dtype: np.dtype[Any] = self.id.dtype
        return dtype

    @cached_property
    def row_bytes(self) -> int:
        """Number of bytes per row, if the shape is [N] or [N, M]."""
        width = self.shape[1] if self.shape is not None and len(self.shape) == 2 else 1
        return max(1, self.dtype.itemsize * width)

    @cached_property
    def chunks(self) -> tuple[int, ...] | None:
        """The shape of the chunks that it lies in; None if it lies in one piece."""
        import h5py

        is_chunked = self._properties.get_layout() == h5py.h5d.CHUNKED
        return tuple(self._properties.get_chunk()) if is_chunked else None

    @cached_property
    def filters(self) -> list[Filter]:
        """What its chunks went through, in this order."""
        found = (self._properties.get_filter(index) for index in range(self._properties.get_nfilters()))
        return [(number, settings) for number, _, settings, _ in found]

    @property
    def is_elsewhere(self) -> bool:
        """Whether its values are in another file."""
        import h5py

        return self._properties.get_layout() == h5py.h5d.VIRTUAL or self._properties.get_external_count() > 0

    @cached_property
    def num_chunks(self) -> int:
        """How many chunks of it are in the file."""
        return self.id.get_num_chunks() if self.chunk_places is None else len(self.chunk_places)

    @cached_property
    def chunk_places(self) -> list[tuple[tuple[int, ...], int, int | None, int]] | None:
        """For each chunk: its first indices, the filters that it did not go through (a bit for each), its beginning in
        the file, and its bytes there; None if the HDF5 library is too old to list them."""
        if not hasattr(self.id, "chunk_iter"):
            return None
        places: list[tuple[tuple[int, ...], int, int | None, int]] = []
        self.id.chunk_iter(places.append)
        return places

    def read(self) -> NDArray[Any]:
        """Return all values."""
        import h5py

        values = np.empty(self.shape or (), self.dtype)
        self.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        return values

    def read_rows(self, begin: int, end: int) -> Any:
        """Return some rows, read by h5py."""
        import h5py

        return h5py.Dataset(self.id, readonly=True)[begin:end]

    @cached_property
    def _properties(self) -> Any:
        return self.id.get_create_plist()


@contextmanager
def opened(content: NDArray[np.uint8], on_read: Callable[[int, int], None] | None = None) -> Iterator[Group]:
    """Open a file with these bytes; see `ArrayFile` about `on_read`."""
    import h5py

    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)  # its groups and datasets are closed with it
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, ArrayFile(content, on_read))
    file = h5py.h5f.open(b"recording", h5py.h5f.ACC_RDONLY, access)
    try:
        yield Group(file, "", None)
    finally:
        file.close()


def objects(file: Group) -> Iterator[Group | Dataset]:
    """Return the file itself, its groups and datasets, as far as hard links lead."""
    left = MOST_OBJECTS
    groups = [(file, 0)]
    while groups and left > 0:
        group, depth = groups.pop(0)
        yield group
        names = group.names[: min(left, MOST_IN_GROUP)]
        left -= len(names)
        for member in map(group.member, names):
            if isinstance(member, Dataset):
                yield member
            elif member is not None and depth < DEEPEST:
                groups.append((member, depth + 1))
