import collections
import platform
import re
from typing import Any

import numba
import numpy as np
import pytest
from numba import types

from src.logic.backends.numba_vectors import LANES, Vectors, index_of, llvm_intrinsic

VECTORS = 80  # more than any processor has registers for


@llvm_intrinsic
def _reverse(_: Any, x: Any) -> Any:
    """Reverse the order of vectors, all of which are read before any is written."""

    def generate(context, builder, signature, arguments):
        v = Vectors(context, builder)
        (x,) = v.unpack(signature, arguments)
        values = [v.load(x, index_of(i * LANES)) for i in range(VECTORS)]
        elsewhere = v.reloaded(x)
        for i, value in enumerate(reversed(values)):
            v.store(value, elsewhere, index_of(i * LANES))
        return context.get_dummy_value()

    return types.void(x), generate


@pytest.fixture(scope="module")
def reverse():
    @numba.njit
    def run(x):
        _reverse(x)

    return run


def test_vectors_that_fill_more_than_the_registers_keep_their_values(reverse):
    x = np.arange(VECTORS * LANES, dtype=np.float32)
    expected = x.reshape(VECTORS, LANES)[::-1].ravel()
    reverse(x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86's assembler")
def test_no_spilled_vector_takes_two_lines_of_the_cache(reverse):
    reverse(np.zeros(VECTORS * LANES, np.float32))
    (assembler,) = reverse.inspect_asm().values()
    stores = collections.Counter(re.findall(r"(v?mov\w+)\s+%[xyz]mm\d+, -?\d*\(%rsp\)", assembler))
    ((most, number),) = stores.most_common(1)  # numba stores some numbers there, too
    assert number > 40
    assert most.endswith("movaps")  # which asks for an aligned address
