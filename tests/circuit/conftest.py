"""What tests of the Triton kernels share."""

from types import ModuleType

import pytest

from tests.logic.conftest import interpreted_copy


@pytest.fixture(scope="module")
def interpreted() -> ModuleType:
    """The kernels that run circuits, for CPU tensors."""
    return interpreted_copy("src.circuit.packed_triton_kernels")
