"""What tests of the Triton kernels share."""

import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest


def copy_of_module(name: str) -> ModuleType:
    """A copy of a module of its own, not among the imported ones."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def interpreted_copy(name: str) -> ModuleType:
    """A copy of a module of kernels, for CPU tensors: a kernel is interpreted or not from its definition on.

    So are the functions of src.triton_common that it calls.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.setitem(sys.modules, "src.triton_common", copy_of_module("src.triton_common"))
        return copy_of_module(name)


def compiled_for_gpu(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, Any], capability: int, warps: int
) -> bytes:
    """A kernel's machine code, which needs no GPU to be made; arguments of no given type are int32."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(name),): constants[name] for name in constants})
    return triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps}).asm["cubin"]


@pytest.fixture(scope="module")
def interpreted() -> ModuleType:
    """The kernels of dense layers for CPU tensors."""
    return interpreted_copy("src.logic.backends.triton_dense_kernels")
