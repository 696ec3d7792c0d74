"""LZF: what h5py's filter has compressed is decompressed; damaged bytes are found out, and nothing else is written."""

import io

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats.lzf_kernel import unpack_lzf
from src.events.formats.windows import read_only


def packed(values):
    """The bytes that h5py makes of an array; None if they are not fewer."""
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("values", data=values, chunks=values.shape, compression="lzf")
        skipped, content = dataset.id.read_direct_chunk((0,))
    return None if skipped else read_only(content)


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 5000), st.integers(1, 40), st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_what_h5py_compresses_is_decompressed(n, largest, run, seed):
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.integers(0, largest, n), rng.integers(1, run, n))[:n].astype(np.uint8)
    content = packed(values)
    unpacked = np.empty(n, np.uint8)
    if content is not None:
        assert unpack_lzf(content, unpacked)
        assert np.array_equal(unpacked, values)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(1, 300))
def test_damaged_bytes_write_nothing_outside(content, size):
    room = np.full(size + 64, 7, np.uint8)
    unpack_lzf(read_only(content), room[32:-32])
    assert (room[:32] == 7).all()
    assert (room[-32:] == 7).all()


@pytest.mark.parametrize("size", [999, 1001])
def test_another_size_is_an_error(size):
    assert not unpack_lzf(packed(np.arange(1000, dtype=np.uint8) // 9), np.empty(size, np.uint8))
