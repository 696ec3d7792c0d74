"""ArrayFile: bytes as a file that is read and sought in, without a copy of the whole."""

import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.events.formats.array_file import ArrayFile


@given(st.binary(max_size=30), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40))))
def test_it_reads_as_a_file_does(content, steps):
    ours, theirs = ArrayFile(np.frombuffer(content, np.uint8)), io.BytesIO(content)
    for position, size in steps:
        assert ours.seek(position) == theirs.seek(position)
        assert ours.read(size) == theirs.read(size)
        assert ours.tell() == theirs.tell()


def test_positions_count_from_the_end_too():
    file = ArrayFile(np.arange(5, dtype=np.uint8))
    assert file.readable()
    assert file.seekable()
    assert file.seek(-2, os.SEEK_END) == 3
    assert file.read() == b"\x03\x04"
    with pytest.raises(ValueError, match="negative position -1"):
        file.seek(-1)
