"""Whether this file and this machine have all that an HDF5 dataset needs: its bytes, and what decompresses them."""

import importlib
import math
from contextlib import suppress

from src.events.formats.errors import CorruptRecordingError, ForeignRecordingError
from src.events.formats.hdf5_objects import Dataset

LARGEST_CHUNK = 1 << 26  # bytes, decompressed
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


def check_storage(dataset: Dataset) -> None:
    """Raise an error if not all of a dataset is in this file, or if this machine cannot decompress it."""
    if dataset.is_elsewhere:
        raise ForeignRecordingError(f"its dataset {dataset.path} lies in another file")
    num_bytes = dataset.size * dataset.dtype.itemsize
    if dataset.chunks:
        if math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK:
            raise CorruptRecordingError(f"its dataset {dataset.path} has chunks of more than {LARGEST_CHUNK} bytes")
        pairs = zip(dataset.shape or (), dataset.chunks, strict=True)
        expected = math.prod(-(-size // chunk) for size, chunk in pairs)
        if (found := dataset.num_chunks) < expected:
            raise CorruptRecordingError(f"its dataset {dataset.path} has {found} of {expected} chunks")
    elif (stored := dataset.id.get_storage_size()) < num_bytes:
        raise CorruptRecordingError(f"its dataset {dataset.path} has {stored} of {num_bytes} bytes")
    for number, _ in dataset.filters:
        _require_filter(number, dataset.path)


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
