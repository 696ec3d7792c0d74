"""The `triton` backend's nodes with a truth table of four or six inputs: kernels for NVIDIA GPUs.

As in `numba_tables_kernels`, a node's form is u T w: its table T is a square matrix, and u and w hold the products of x
or 1 - x of the first and of the last half of its inputs, for each corner of that half.

Results are deterministic: there are no atomics, and one program sums a table's gradient over the batch, in a fixed
order. With TRITON_INTERPRET=1 at import, the kernels run on CPU tensors; see src/triton_common.py.
"""

import torch
import triton
import triton.language as tl

from src.triton_common import add

FRAMES = {4: 128, 8: 32}  # of a tile, by the corners of a half: 2,048 products of a corner, a corner and a frame
WARPS = 4
SUM_FRAMES = 256  # of a tile of sum_consumers


def forward(x: torch.Tensor, tables: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the multilinear forms [out_dim, batch] in x's dtype, computed in float32.

    Args:
        x: activations [in_dim, batch], float32, bfloat16 or float16.
        tables: float32 [tables, 2^k], contiguous; the first input is the highest digit of a corner's number.
        inputs: int32 [out_dim, k]; equal numbers of consecutive nodes have each table.
    """
    x = x.contiguous()
    (out_dim, fan_in), batch = inputs.shape, x.shape[1]
    corners = 2 ** (fan_in // 2)
    y = torch.empty(out_dim, batch, dtype=x.dtype, device=x.device)
    with torch.cuda.device_of(x):
        _forward_kernel[(out_dim, triton.cdiv(batch, FRAMES[corners]))](
            x,
            tables,
            inputs,
            y,
            out_dim // len(tables),
            batch,
            corners,
            fan_in // 2,
            FRAMES[corners],
            num_warps=WARPS,
        )
    return y


def backward(
    x: torch.Tensor,
    tables: torch.Tensor,
    inputs: torch.Tensor,
    grad_y: torch.Tensor,
    need_grad_inputs: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of each node's inputs and of the tables, in float32.

    Args:
        x, tables, inputs: as given to `forward`.
        grad_y: [out_dim, batch].
        need_grad_inputs: whether to compute those of the inputs.

    Returns:
        [out_dim, k, batch], or [out_dim, k, 0], to be summed by `sum_consumers`, and [tables, 2^k].
    """
    x, grad_y = x.contiguous(), grad_y.contiguous()
    (out_dim, fan_in), batch = inputs.shape, x.shape[1]
    corners = 2 ** (fan_in // 2)
    size = batch if need_grad_inputs else 0
    grad_inputs = torch.empty(out_dim, fan_in, size, dtype=torch.float32, device=x.device)
    grad_tables = torch.empty_like(tables)
    with torch.cuda.device_of(x):
        _backward_kernel[(len(tables),)](
            x,
            tables,
            inputs,
            grad_y,
            grad_inputs,
            grad_tables,
            out_dim // len(tables),
            batch,
            need_grad_inputs,
            corners,
            fan_in // 2,
            FRAMES[corners],
            num_warps=WARPS,
        )
    return grad_inputs, grad_tables


def sum_consumers(
    starts: torch.Tensor, consumers: torch.Tensor, grad_inputs: torch.Tensor, scale: float, dtype: torch.dtype
) -> torch.Tensor:
    """Return the sum of the gradients that each input gets from the nodes that read it, times `scale`: [in_dim, batch].

    Args:
        starts: int64 [in_dim + 1].
        consumers: int32; those of input j are consumers[starts[j] : starts[j + 1]], each k * node + role.
        grad_inputs: [out_dim, k, batch].
        scale: factor of the result.
        dtype: of the result.
    """
    in_dim, batch = len(starts) - 1, grad_inputs.shape[2]
    grad_x = torch.empty(in_dim, batch, dtype=dtype, device=grad_inputs.device)
    with torch.cuda.device_of(grad_inputs):
        _sum_kernel[(in_dim, triton.cdiv(batch, SUM_FRAMES))](
            starts, consumers, grad_inputs, grad_x, batch, scale, SUM_FRAMES, num_warps=WARPS
        )
    return grad_x


@triton.jit
def _corner_products(
    x: tl.tensor,
    inputs: tl.tensor,
    batch: tl.tensor,
    frames: tl.tensor,
    without: tl.constexpr,
    corners: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
) -> tl.tensor:
    """Return the products [corners, block] of x or 1 - x of each input of a half, but for the input `without`."""
    corner = tl.arange(0, corners)
    products = tl.full([corners, block], 1.0, tl.float32)
    for i in tl.static_range(half):
        if i != without:
            row = tl.load(inputs + i).to(tl.int64) * batch
            value = tl.load(x + row + frames, mask=frames < batch, other=0.0).to(tl.float32)[None, :]
            products = products * tl.where((corner >> (half - 1 - i) & 1)[:, None] == 1, value, 1.0 - value)
    return products


@triton.jit(do_not_specialize=["share", "batch"])
def _forward_kernel(
    x: tl.tensor,
    tables: tl.tensor,
    inputs: tl.tensor,
    y: tl.tensor,
    share: tl.tensor,
    batch: tl.tensor,
    corners: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
) -> None:
    node = tl.program_id(0).to(tl.int64)
    frames = tl.program_id(1) * block + tl.arange(0, block)
    inputs += node * 2 * half
    u = _corner_products(x, inputs, batch, frames, half, corners, half, block)
    w = _corner_products(x, inputs + half, batch, frames, half, corners, half, block)
    corner = tl.arange(0, corners)
    table = tl.load(tables + (node // share) * corners * corners + corner[:, None] * corners + corner[None, :])
    weighted = tl.reduce(table[:, :, None] * w[None, :, :], 1, add)
    value = tl.reduce(u * weighted, 0, add)
    tl.store(y + node * batch + frames, value.to(y.dtype.element_ty), mask=frames < batch)


@triton.jit
def _store_input_gradients(
    x: tl.tensor,
    inputs: tl.tensor,
    grad_products: tl.tensor,
    out: tl.tensor,
    batch: tl.tensor,
    frames: tl.tensor,
    corners: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Store the gradient of each input of a half, from those of its corner products [corners, block]."""
    corner = tl.arange(0, corners)
    for i in tl.static_range(half):
        others = _corner_products(x, inputs, batch, frames, i, corners, half, block)
        sign = tl.where((corner >> (half - 1 - i) & 1) == 1, 1.0, -1.0)[:, None]
        slope = tl.reduce(grad_products * others * sign, 0, add)
        tl.store(out + i * batch + frames, slope, mask=frames < batch)


@triton.jit(do_not_specialize=["share", "batch"])
def _backward_kernel(
    x: tl.tensor,
    tables: tl.tensor,
    inputs: tl.tensor,
    grad_y: tl.tensor,
    grad_inputs: tl.tensor,
    grad_tables: tl.tensor,
    share: tl.tensor,
    batch: tl.tensor,
    need_grad_inputs: tl.constexpr,
    corners: tl.constexpr,
    half: tl.constexpr,
    block: tl.constexpr,
) -> None:
    number = tl.program_id(0).to(tl.int64)
    corner = tl.arange(0, corners)
    places = number * corners * corners + corner[:, None] * corners + corner[None, :]
    table = tl.load(tables + places)
    total = tl.full([corners, corners], 0.0, tl.float32)
    for i in range(share):
        node = number * share + i
        own = inputs + node * 2 * half
        for begin in range(0, batch, block):
            frames = begin + tl.arange(0, block)
            g = tl.load(grad_y + node * batch + frames, mask=frames < batch, other=0.0).to(tl.float32)[None, :]
            u = _corner_products(x, own, batch, frames, half, corners, half, block) * g
            w = _corner_products(x, own + half, batch, frames, half, corners, half, block)
            total += tl.reduce(u[:, None, :] * w[None, :, :], 2, add)
            if need_grad_inputs:
                grad_u = tl.reduce(table[:, :, None] * w[None, :, :], 1, add) * g
                grad_w = tl.reduce(table[:, :, None] * u[:, None, :], 0, add)
                out = grad_inputs + node * 2 * half * batch
                _store_input_gradients(x, own, grad_u, out, batch, frames, corners, half, block)
                out += half * batch
                _store_input_gradients(x, own + half, grad_w, out, batch, frames, corners, half, block)
    tl.store(grad_tables + places, total)


@triton.jit(do_not_specialize=["batch", "scale"])
def _sum_kernel(
    starts: tl.tensor,
    consumers: tl.tensor,
    grad_inputs: tl.tensor,
    grad_x: tl.tensor,
    batch: tl.tensor,
    scale: tl.tensor,
    block: tl.constexpr,
) -> None:
    feature = tl.program_id(0).to(tl.int64)
    frames = tl.program_id(1) * block + tl.arange(0, block)
    total = tl.full([block], 0.0, tl.float32)
    for position in range(tl.load(starts + feature), tl.load(starts + feature + 1)):
        row = tl.load(consumers + position).to(tl.int64) * batch
        total += tl.load(grad_inputs + row + frames, mask=frames < batch, other=0.0)
    total = total * scale
    tl.store(grad_x + feature * batch + frames, total.to(grad_x.dtype.element_ty), mask=frames < batch)
