"""The kernels of tables: packed rows give what their columns give, whatever their fields hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.events.formats.column_kernels import copy_columns, copy_packed, packed
from src.events.formats.npy import METAVISION
from src.events.formats.windows import empty_events

TYPES = [
    METAVISION,
    np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "i1"), ("none", "3V1")]),
    np.dtype([("x", "u1"), ("y", "<u2"), ("p", "<u2"), ("none", "V3"), ("t", "<i8")]),
    np.dtype([("p", "u1"), ("none", "V3"), ("y", "<u2"), ("x", "<u2"), ("t", "<i8")]),
]


def rows_of(dtype, content):
    rows = np.frombuffer(content, dtype)
    return rows, packed(rows, tuple("xytp"))


@settings(deadline=None)  # kernels are compiled
@given(st.sampled_from(TYPES), st.integers(1, 3000), st.integers(0, 2**32 - 1), st.booleans())
def test_packed_rows_of_any_bytes_give_what_their_columns_give(dtype, num_rows, seed, is_sorted):
    content = np.random.default_rng(seed).bytes(16 * num_rows)
    rows, found = rows_of(dtype, content)
    if is_sorted:
        rows, found = rows_of(dtype, np.sort(rows, order="t").tobytes())
    ours, theirs = empty_events(num_rows), empty_events(num_rows)
    assert found is not None
    assert np.array_equal(copy_packed(*found, *ours), copy_columns(*(rows[name] for name in "xytp"), *theirs))
    assert all(map(np.array_equal, ours, theirs))


@pytest.mark.parametrize(
    "fields",
    [
        [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")],
        [("x", "<u2"), ("y", "<u2"), ("p", "<i4"), ("t", "<i8")],
        [("x", "<i2"), ("y", "<u2"), ("p", "<i4"), ("t", "<i8")],
        [("x", ">u2"), ("y", "<u2"), ("p", "<i2"), ("none", "V2"), ("t", "<i8")],
        [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("none", "V2"), ("t", "<f8")],
        [("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "<i2"), ("none", "V2")],
        [("none", "V7"), ("x", "<u2"), ("y", "u1"), ("p", "u1"), ("more", "V5")],
    ],
)
def test_other_rows_are_not_taken(fields):
    dtype = np.dtype(fields + [("t", "<i4")] * all(name != "t" for name, _ in fields))
    assert packed(np.zeros(3, dtype), tuple("xytp")) is None
    assert packed(np.zeros(6, METAVISION)[::2], tuple("xytp")) is None
