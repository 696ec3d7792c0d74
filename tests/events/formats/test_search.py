"""The search for a few bytes in a file: what `bytes.find` finds, wherever it begins."""

import numpy as np
import pytest

from src.events.formats.search import find_all


@pytest.mark.parametrize("places", [[], [0], [3, 9], [4090, 4096, 8189], [9995]])
def test_every_place_is_found(places):
    content = bytearray(b"HEAP" * 2500)
    for begin in places:
        content[begin : begin + 5] = b"GCOL\x01"
    found = list(find_all(np.frombuffer(content, np.uint8), b"GCOL\x01"))
    assert found == places


def test_a_file_that_is_shorter_than_the_pattern_has_none():
    assert list(find_all(np.frombuffer(b"GCO", np.uint8), b"GCOL\x01")) == []
