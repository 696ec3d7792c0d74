"""Kernels of a convolutional logic layer for NVIDIA GPUs, on feature-major activations.

A program handles one kernel's trees at a tile of output positions × batch. So connections and coefficients are
scalars, and the inside of a tree stays in registers. The backward goes once through the trees at the positions that
won their pooling windows. It sums the coefficients' gradients and writes the leaves', which the inputs then gather from
the leaves that read them. Until the layer's backward is done, that takes the output's memory times a tree's leaves.

Results are deterministic: there are no atomics, and block shapes are a pure function of shapes and dtypes. With
TRITON_INTERPRET=1 at import, the kernels run on CPU tensors; see src/triton_common.py.
"""

# mypy: disable-error-code="assignment"
# Triton's tuples grow.

import torch
import triton
import triton.language as tl

from src.logic import gates
from src.logic.trees import Geometry
from src.triton_common import MIN_PROGRAMS, WARP, add

FORM, SIGMOID, STEP = (tl.constexpr(after) for after in (gates.FORM, gates.SIGMOID, gates.STEP))
MOST_ELEMENTS = 4  # elements per access of a thread: with more, registers would leave room for few warps
WARPS = 4
# Outputs of a program's step on the way back: two a thread, since it keeps four sums a gate for each.
BACKWARD_BLOCK = 2 * WARP * WARPS
SLOPES_TILE = 8 * WARP * WARPS  # products of a program's step: candidates × outputs


def forward(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    after: int,
    connections: torch.Tensor,
    shape: Geometry,
    keep_winners: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute all trees at all positions in float32, and the largest value of each pooling window.

    Args:
        x: contiguous activations [channels * height * width, batch], float32, bfloat16 or float16.
        coefficients: contiguous float32 [kernels * (leaves - 1), 4], kernel by kernel.
        after: what a gate gives of its form, FORM, SIGMOID or STEP of `src.logic.gates`.
        connections: contiguous int64 [3, kernels, leaves], each leaf's channel, row and column.
        shape: the layer's sizes.
        keep_winners: whether to give the second result.

    Returns:
        y [kernels * out_height * out_width, batch], in x's dtype; and uint8 like y, the position in its window of the
        largest, the first of equal ones, or nothing.
    """
    s, batch = shape, x.shape[1]
    y = x.new_empty(s.kernels * s.out_height * s.out_width, batch)
    winners = torch.empty(y.shape if keep_winners else (0,), dtype=torch.uint8, device=x.device)
    vector, block_batch, block_positions = _tile(batch)
    blocks = triton.cdiv(s.out_height * s.out_width, block_positions)
    with torch.cuda.device_of(x):
        _forward_kernel[(blocks * s.kernels * triton.cdiv(batch, block_batch),)](
            x,
            coefficients,
            connections,
            y,
            winners,
            s.kernels,
            s.height,
            s.width,
            s.before,
            s.out_height,
            s.out_width,
            batch // vector,
            blocks,
            after,
            s.leaves,
            s.pool,
            keep_winners,
            block_positions,
            block_batch,
            vector,
            num_warps=WARPS,
        )
    return y, winners


def backward(
    x: torch.Tensor,
    coefficients: torch.Tensor,
    after: int,
    connections: torch.Tensor,
    readers: tuple[torch.Tensor, torch.Tensor] | None,
    candidates: torch.Tensor | None,
    shape: Geometry,
    winners: torch.Tensor,
    grad_y: torch.Tensor,
    grad_scale: float,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor | None]:
    """Compute the gradients of x (times grad_scale), of the coefficients and of the candidates' shares, in float32.

    Args:
        x, coefficients, after, connections, shape, winners: as given to `forward`, and what it gave.
        readers: starts int64 [channels + 1] and numbers int32 [kernels * leaves]: the leaves kernel * leaves + leaf
            that read channel c are numbers[starts[c] : starts[c + 1]].
            None: x needs no gradient.
        candidates: int64 [3, kernels, leaves, candidates], like connections; None: there are none.
        grad_y: [kernels * out_height * out_width, batch], in x's dtype.
        grad_scale: what the gradient of x is multiplied by.

    Returns:
        grad_x, like x, or None; grad_coefficients, like them; and float32 [kernels, leaves, candidates], or None:
        how the loss grows with the share that each candidate has in a leaf.
    """
    s, batch, grad_y = shape, x.shape[1], grad_y.contiguous()
    gates, outputs = s.leaves - 1, s.out_height * s.out_width * batch
    steps = triton.cdiv(outputs, BACKWARD_BLOCK)
    steps_a_program = max(1, steps * s.kernels // MIN_PROGRAMS)
    parts = triton.cdiv(steps, steps_a_program)
    partial = torch.empty(parts, s.kernels * gates, 4, dtype=torch.float32, device=x.device)
    need_grad_leaves = readers is not None or candidates is not None
    grad_leaves = x.new_empty((s.leaves, *grad_y.shape) if need_grad_leaves else (0,))
    with torch.cuda.device_of(x):
        _trees_kernel[(s.kernels * parts,)](
            x,
            coefficients,
            connections,
            winners,
            grad_y,
            grad_leaves,
            partial,
            s.kernels,
            s.height,
            s.width,
            s.before,
            s.out_height,
            s.out_width,
            batch,
            steps_a_program,
            after,
            s.leaves,
            s.pool,
            need_grad_leaves,
            BACKWARD_BLOCK,
            num_warps=WARPS,
        )
    grad_x = _input_gradient(x, connections, readers, s, winners, grad_leaves, grad_scale) if readers else None
    slopes = None if candidates is None else _candidate_slopes(x, candidates, s, winners, grad_leaves)
    return grad_x, partial.sum(0), slopes


def _input_gradient(
    x: torch.Tensor,
    connections: torch.Tensor,
    readers: tuple[torch.Tensor, torch.Tensor],
    shape: Geometry,
    winners: torch.Tensor,
    grad_leaves: torch.Tensor,
    grad_scale: float,
) -> torch.Tensor:
    s, batch, (starts, numbers) = shape, x.shape[1], readers
    grad_x = torch.empty_like(x)
    vector, block_batch, block_positions = _tile(batch)
    blocks = triton.cdiv(s.height * s.width, block_positions)
    with torch.cuda.device_of(x):
        _inputs_kernel[(blocks * s.channels * triton.cdiv(batch, block_batch),)](
            connections,
            starts,
            numbers,
            winners,
            grad_leaves,
            grad_x,
            s.channels,
            s.kernels,
            s.height,
            s.width,
            s.before,
            s.out_height,
            s.out_width,
            batch // vector,
            grad_scale,
            blocks,
            s.leaves,
            s.pool,
            block_positions,
            block_batch,
            vector,
            num_warps=WARPS,
        )
    return grad_x


def _candidate_slopes(
    x: torch.Tensor, candidates: torch.Tensor, shape: Geometry, winners: torch.Tensor, grad_leaves: torch.Tensor
) -> torch.Tensor:
    """Compute the candidates' slopes. Least traffic: a leaf's gradients once, and as many activations per candidate."""
    s, batch, number = shape, x.shape[1], candidates.shape[-1]
    padded = triton.next_power_of_2(number)
    block = max(1, SLOPES_TILE // padded)
    steps = triton.cdiv(s.out_height * s.out_width * batch, block)
    leaves = s.kernels * s.leaves
    steps_a_program = max(1, steps * leaves // MIN_PROGRAMS)
    parts = triton.cdiv(steps, steps_a_program)
    partial = torch.empty(parts, leaves, number, dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _slopes_kernel[(leaves * parts,)](
            x,
            candidates,
            winners,
            grad_leaves,
            partial,
            s.kernels,
            s.height,
            s.width,
            s.before,
            s.out_height,
            s.out_width,
            batch,
            number,
            steps_a_program,
            s.leaves,
            s.pool,
            padded,
            block,
            num_warps=WARPS,
        )
    return partial.sum(0).reshape(s.kernels, s.leaves, number)


def _tile(batch: int) -> tuple[int, int, int]:
    """Return the elements of an access, which divide the batch so that rows begin aligned, and a tile's size."""
    vector = min(batch & -batch, MOST_ELEMENTS)
    frames = min(triton.next_power_of_2(batch), WARP * vector)
    return vector, frames, WARP * WARPS * vector // frames


# In the kernels, rows of activations have num_vectors * vector elements: so Triton knows how far they are aligned.


@triton.jit
def _form(coefficients: tl.tensor, gate: tl.tensor) -> tuple[tl.tensor, ...]:
    c = coefficients + gate.to(tl.int64) * 4
    return tl.load(c), tl.load(c + 1), tl.load(c + 2), tl.load(c + 3)


@triton.jit
def _leaf(
    x: tl.tensor,
    connections: tl.tensor,
    number: tl.tensor,
    count: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    batch: tl.tensor,
    frames: tl.tensor,
    mask: tl.tensor,
) -> tl.tensor:
    """Load what leaf `number` reads in receptive fields that begin at row and column; zeros outside the frame."""
    channel = tl.load(connections + number).to(tl.int32)
    row = row + tl.load(connections + count + number).to(tl.int32)
    column = column + tl.load(connections + 2 * count + number).to(tl.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    offsets = ((channel * height + row) * width + column).to(tl.int64) * batch + frames
    return tl.load(x + offsets, mask=mask & inside, other=0.0).to(tl.float32)


@triton.jit
def _nodes(
    x: tl.tensor,
    coefficients: tl.tensor,
    connections: tl.tensor,
    kernel: tl.tensor,
    kernels: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    batch: tl.tensor,
    frames: tl.tensor,
    mask: tl.tensor,
    after: tl.constexpr,
    leaves: tl.constexpr,
) -> tuple[tl.tensor, ...]:
    """Return the values of a tree's nodes, leaves first."""
    first = kernel * leaves
    count = kernels * leaves
    nodes = (_leaf(x, connections, first, count, row, column, height, width, batch, frames, mask),)
    for leaf in tl.static_range(1, leaves):
        value = _leaf(x, connections, first + leaf, count, row, column, height, width, batch, frames, mask)
        nodes = nodes + (value,)  # noqa: RUF005 - Triton knows no unpacking
    for gate in tl.static_range(leaves - 1):
        c0, c1, c2, c3 = _form(coefficients, kernel * (leaves - 1) + gate)
        a, b = nodes[2 * gate], nodes[2 * gate + 1]
        value = c0 + c1 * a + (c2 + c3 * a) * b
        if after == SIGMOID:
            value = 1 / (1 + tl.exp(-value))
        elif after == STEP:
            value = (value > 0).to(tl.float32)
        nodes = nodes + (value,)  # noqa: RUF005
    return nodes


@triton.jit(
    do_not_specialize=[
        "kernels",
        "height",
        "width",
        "before",
        "out_height",
        "out_width",
        "num_vectors",
        "position_blocks",
    ]
)
def _forward_kernel(
    x: tl.tensor,
    coefficients: tl.tensor,
    connections: tl.tensor,
    y: tl.tensor,
    winners: tl.tensor,
    kernels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    before: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    num_vectors: tl.tensor,
    position_blocks: tl.tensor,
    after: tl.constexpr,
    leaves: tl.constexpr,
    pool: tl.constexpr,
    keep_winners: tl.constexpr,
    block_positions: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    program = tl.program_id(0)
    kernel = program // position_blocks % kernels
    positions = program % position_blocks * block_positions + tl.arange(0, block_positions)[:, None]
    frames = program // position_blocks // kernels * block_batch + tl.arange(0, block_batch)[None, :]
    mask = (positions < out_height * out_width) & (frames < batch)
    row = positions // out_width * pool - before
    column = positions % out_width * pool - before

    best = tl.full([block_positions, block_batch], 0.0, tl.float32)
    won = tl.full([block_positions, block_batch], 0, tl.int32)
    for p in tl.static_range(pool * pool):
        nodes = _nodes(
            x,
            coefficients,
            connections,
            kernel,
            kernels,
            row + p // pool,
            column + p % pool,
            height,
            width,
            batch,
            frames,
            mask,
            after,
            leaves,
        )
        value = nodes[2 * leaves - 2]
        if p == 0:
            best = value
        else:
            larger = value > best
            best = tl.where(larger, value, best)
            won = tl.where(larger, p, won)
    offsets = (kernel * (out_height * out_width) + positions).to(tl.int64) * batch + frames
    tl.store(y + offsets, best.to(y.dtype.element_ty), mask=mask)
    if keep_winners:
        tl.store(winners + offsets, won.to(tl.uint8), mask=mask)


@triton.jit(
    do_not_specialize=["kernels", "height", "width", "before", "out_height", "out_width", "batch", "steps_a_program"]
)
def _trees_kernel(
    x: tl.tensor,
    coefficients: tl.tensor,
    connections: tl.tensor,
    winners: tl.tensor,
    grad_y: tl.tensor,
    grad_leaves: tl.tensor,
    partial: tl.tensor,
    kernels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    before: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    batch: tl.tensor,
    steps_a_program: tl.tensor,
    after: tl.constexpr,
    leaves: tl.constexpr,
    pool: tl.constexpr,
    need_grad_leaves: tl.constexpr,
    block: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    kernel = program % kernels
    part = program // kernels
    positions = out_height * out_width
    base = kernel.to(tl.int64) * positions * batch
    zeros = tl.full([block], 0.0, tl.float32)
    sums = (zeros, zeros, zeros, zeros)
    for _ in tl.static_range(leaves - 2):
        sums = sums + (zeros, zeros, zeros, zeros)  # noqa: RUF005
    for step in range(part * steps_a_program, (part + 1) * steps_a_program):
        outputs = step * block + tl.arange(0, block)  # of the kernel: positions × batch
        mask = outputs < positions * batch
        position = outputs // batch
        g = tl.load(grad_y + (base + outputs), mask=mask, other=0.0).to(tl.float32)
        won = tl.load(winners + (base + outputs), mask=mask, other=0).to(tl.int32)
        nodes = _nodes(
            x,
            coefficients,
            connections,
            kernel,
            kernels,
            position // out_width * pool + won // pool - before,
            position % out_width * pool + won % pool - before,
            height,
            width,
            batch,
            outputs % batch,
            mask,
            after,
            leaves,
        )
        # The gradients of the nodes, from the last one, which is the output, to the first; gates likewise.
        grads = (g,)
        added = ()
        for i in tl.static_range(leaves - 1):
            # Indices of tuples are constants only where they stand in the brackets.
            a, b, grad = nodes[2 * (leaves - 2 - i)], nodes[2 * (leaves - 2 - i) + 1], grads[i]
            c = _form(coefficients, kernel * (leaves - 1) + (leaves - 2 - i))
            if after != FORM:
                sigmoid = 1 / (1 + tl.exp(-(c[0] + c[1] * a + (c[2] + c[3] * a) * b)))
                grad = grad * sigmoid * (1 - sigmoid)
            grads = grads + (grad * (c[2] + c[3] * a), grad * (c[1] + c[3] * b))  # noqa: RUF005
            product = grad * a
            added = added + (  # noqa: RUF005
                sums[4 * i] + grad,
                sums[4 * i + 1] + product,
                sums[4 * i + 2] + grad * b,
                sums[4 * i + 3] + product * b,
            )
        sums = added
        if need_grad_leaves:
            for leaf in tl.static_range(leaves):
                out = grad_leaves + (leaf * kernels.to(tl.int64) * positions * batch + base)
                tl.store(out + outputs, grads[2 * leaves - 2 - leaf].to(grad_leaves.dtype.element_ty), mask=mask)
    for i in tl.static_range(leaves - 1):
        out = partial + ((part * kernels + kernel).to(tl.int64) * (leaves - 1) + (leaves - 2 - i)) * 4
        tl.store(out, tl.reduce(sums[4 * i], 0, add))
        tl.store(out + 1, tl.reduce(sums[4 * i + 1], 0, add))
        tl.store(out + 2, tl.reduce(sums[4 * i + 2], 0, add))
        tl.store(out + 3, tl.reduce(sums[4 * i + 3], 0, add))


@triton.jit(
    do_not_specialize=[
        "channels",
        "kernels",
        "height",
        "width",
        "before",
        "out_height",
        "out_width",
        "num_vectors",
        "grad_scale",
        "position_blocks",
    ]
)
def _inputs_kernel(
    connections: tl.tensor,
    starts: tl.tensor,
    numbers: tl.tensor,
    winners: tl.tensor,
    grad_leaves: tl.tensor,
    grad_x: tl.tensor,
    channels: tl.tensor,
    kernels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    before: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    num_vectors: tl.tensor,
    grad_scale: tl.tensor,
    position_blocks: tl.tensor,
    leaves: tl.constexpr,
    pool: tl.constexpr,
    block_positions: tl.constexpr,
    block_batch: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    batch = num_vectors * vector
    program = tl.program_id(0)
    channel = program // position_blocks % channels
    positions = program % position_blocks * block_positions + tl.arange(0, block_positions)[:, None]
    frames = program // position_blocks // channels * block_batch + tl.arange(0, block_batch)[None, :]
    mask = (positions < height * width) & (frames < batch)
    count = kernels * leaves
    total = tl.full([block_positions, block_batch], 0.0, tl.float32)
    for reader in range(tl.load(starts + channel).to(tl.int32), tl.load(starts + channel + 1).to(tl.int32)):
        number = tl.load(numbers + reader)
        # The tree, before pooling, whose leaf this pixel is.
        row = positions // width + before - tl.load(connections + count + number).to(tl.int32)
        column = positions % width + before - tl.load(connections + 2 * count + number).to(tl.int32)
        inside = (row >= 0) & (row < out_height * pool) & (column >= 0) & (column < out_width * pool)
        output = (number // leaves * out_height + row // pool) * out_width + column // pool
        offsets = output.to(tl.int64) * batch + frames
        won = tl.load(winners + offsets, mask=mask & inside, other=255).to(tl.int32)
        of_leaf = grad_leaves + (number % leaves).to(tl.int64) * kernels * (out_height * out_width) * batch
        wins = won == row % pool * pool + column % pool
        total += tl.load(of_leaf + offsets, mask=mask & inside & wins, other=0.0).to(tl.float32)
    offsets = (channel * (height * width) + positions).to(tl.int64) * batch + frames
    tl.store(grad_x + offsets, (total * grad_scale).to(grad_x.dtype.element_ty), mask=mask)


@triton.jit(
    do_not_specialize=[
        "kernels",
        "height",
        "width",
        "before",
        "out_height",
        "out_width",
        "batch",
        "number",
        "steps_a_program",
    ]
)
def _slopes_kernel(
    x: tl.tensor,
    candidates: tl.tensor,
    winners: tl.tensor,
    grad_leaves: tl.tensor,
    partial: tl.tensor,
    kernels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    before: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    batch: tl.tensor,
    number: tl.tensor,
    steps_a_program: tl.tensor,
    leaves: tl.constexpr,
    pool: tl.constexpr,
    padded: tl.constexpr,
    block: tl.constexpr,
) -> None:
    count = kernels * leaves
    of_leaf = tl.program_id(0) % count  # kernel * leaves + leaf
    part = tl.program_id(0) // count
    kernel, leaf = of_leaf // leaves, of_leaf % leaves
    size = out_height * out_width * batch
    grads = grad_leaves + (leaf.to(tl.int64) * kernels + kernel) * size
    won_by = winners + kernel.to(tl.int64) * size
    i = tl.arange(0, padded)[:, None]
    place = candidates + of_leaf.to(tl.int64) * number + i
    channel = tl.load(place, mask=i < number, other=0).to(tl.int32)
    dy = tl.load(place + count.to(tl.int64) * number, mask=i < number, other=0).to(tl.int32)
    dx = tl.load(place + 2 * count.to(tl.int64) * number, mask=i < number, other=0).to(tl.int32)
    products = tl.full([padded, block], 0.0, tl.float32)
    for step in range(part * steps_a_program, (part + 1) * steps_a_program):
        outputs = step * block + tl.arange(0, block)[None, :]
        mask = outputs < size
        grad = tl.load(grads + outputs, mask=mask, other=0.0).to(tl.float32)
        won = tl.load(won_by + outputs, mask=mask, other=0).to(tl.int32)
        position = outputs // batch
        row = position // out_width * pool + won // pool - before + dy
        column = position % out_width * pool + won % pool - before + dx
        inside = mask & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        offsets = ((channel * height + row) * width + column).to(tl.int64) * batch + outputs % batch
        products += grad * tl.load(x + offsets, mask=inside, other=0.0).to(tl.float32)
    sums = tl.reduce(products, 1, add)
    i = tl.arange(0, padded)
    tl.store(partial + (part * count + of_leaf).to(tl.int64) * number + i, sums, mask=i < number)
