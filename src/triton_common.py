"""What kernels for NVIDIA GPUs share: how many programs a GPU wants, and functions that kernels call.

Their compiled code is kept by src/triton_cache.py. With TRITON_INTERPRET=1 at import, kernels run on CPU tensors. They
use no function of triton.language that is itself jitted (tl.sum, tl.zeros, …): those are interpreted only if the
variable was set when triton was imported.
"""

import triton
import triton.language as tl

from src import triton_cache

triton_cache.use()

WARP = 32  # threads
# Eight programs for each of an H200's 132 multiprocessors; tiles of small problems shrink to give as many.
MIN_PROGRAMS = 1056


@triton.jit
def add(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    """Return x + y, for tl.reduce."""
    return x + y


@triton.jit
def maximum(x: tl.tensor, y: tl.tensor) -> tl.tensor:
    """Return the larger of x and y, for tl.reduce."""
    return tl.maximum(x, y)


@triton.jit
def tile_offsets(rows: tl.tensor, row_length: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Return where the elements of a tile [rows, columns] are in an array of rows of this length.

    An array can have more than 2**31 elements; its rows cannot, so that one wide multiplication is enough.
    """
    return rows.to(tl.int32).to(tl.int64)[:, None] * row_length + columns[None, :]
