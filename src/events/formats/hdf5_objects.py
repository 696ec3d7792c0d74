"""The groups and datasets of an HDF5 file, as far as hard links lead."""

import itertools
from collections.abc import Iterator
from typing import Any

MOST_OBJECTS = 10_000  # that are looked at for events
MOST_IN_GROUP = 1000  # such as images, which must not keep the others from being looked at
DEEPEST = 4  # groups in groups that are looked at


def objects(file: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Return the file itself, its groups and datasets, as far as hard links lead: path, object and what is in it."""
    import h5py

    left = MOST_OBJECTS
    groups = [("", file, 0)]
    while groups and left > 0:
        path, group, depth = groups.pop(0)
        members = {name: member(group, name) for name in itertools.islice(group, min(left, MOST_IN_GROUP))}
        left -= len(members)
        yield path, group, members
        for name, item in members.items():
            below = f"{path}/{name}" if path else name
            if isinstance(item, h5py.Dataset):
                yield below, item, {}
            elif isinstance(item, h5py.Group) and depth < DEEPEST:
                groups.append((below, item, depth + 1))


def is_hard(group: Any, name: str) -> bool:
    """Return whether a name in a group is that of an object in it, no link to somewhere else."""
    import h5py

    links, encoded = group.id.links, name.encode(errors="surrogateescape")
    return bool(links.exists(encoded) and links.get_info(encoded).type == h5py.h5l.TYPE_HARD)


def member(group: Any, name: str) -> Any:
    """Return the dataset or group of a name in a group, in half of the time of `group[name]`; None if there is none."""
    import h5py

    if not is_hard(group, name):
        return None
    found = h5py.h5o.open(group.id, name.encode(errors="surrogateescape"))
    if isinstance(found, h5py.h5d.DatasetID):
        return h5py.Dataset(found, readonly=True)
    return h5py.Group(found) if isinstance(found, h5py.h5g.GroupID) else None
