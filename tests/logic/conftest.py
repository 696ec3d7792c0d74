"""What tests of the Triton kernels share."""

import importlib.util
from types import ModuleType

import pytest


def copy_of_module(name: str) -> ModuleType:
    """A copy of a module of its own, not among the imported ones."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def interpreted() -> ModuleType:
    """The kernels for CPU tensors, in a copy: a kernel is interpreted or not from its definition on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        return copy_of_module("src.logic.triton_kernels")
