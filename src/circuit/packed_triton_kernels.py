"""Triton kernels that run circuits on NVIDIA GPUs, on rows of words: one row per node, one bit per frame.

All of them are bound by memory bandwidth, and deterministic. With TRITON_INTERPRET=1 at import, they run on CPU
tensors; see src/triton_common.py.
"""

from functools import lru_cache

import torch
import triton
import triton.language as tl

from src.triton_common import MIN_PROGRAMS, WARP, tile_offsets

WARPS = 4  # per program
# What a program transposes: whole sectors of 32 bytes on either side.
TRANSPOSED_BYTES = 32
TRANSPOSED_WORDS = 8
# A program counts the outputs of one class, one frame per thread; this many loads of a thread are under way at a time.
COUNTED_FRAMES = WARPS * WARP
COUNTED_TOGETHER = 16


def evaluate_packed(
    bits: torch.Tensor, gates: torch.Tensor, indices: torch.Tensor, result: torch.Tensor | None = None
) -> torch.Tensor:
    """Compute gates on words of 64 frames; bits beyond the end of a batch are whatever the gate makes of its inputs.

    Least traffic: 24 bytes per gate and word (two words read, one written), and 17 bytes of connections and gate per
    tile of words.

    Args:
        bits: int64 [in_dim, words].
        gates: uint8 [out_dim], in the order of `src.logic.gates`.
        indices: int64 [2, out_dim].
        result: contiguous int64 [out_dim, words] to write to, such as rows of `bits` that `indices` does not name.

    Returns:
        `result`, or a new tensor like it.
    """
    bits = bits.contiguous()
    out_dim, words = indices.shape[1], bits.shape[1]
    if result is None:
        result = torch.empty(out_dim, words, dtype=torch.int64, device=bits.device)
    rows, columns, vector, warps = _tile(out_dim, words)
    blocks = triton.cdiv(out_dim, rows)
    with torch.cuda.device_of(bits):
        _evaluate_kernel[(blocks * triton.cdiv(words, columns),)](
            bits,
            gates,
            indices,
            result,
            out_dim,
            words // vector,
            blocks,
            rows,
            columns,
            vector,
            num_warps=warps,
        )
    return result


def transpose_frames(packed: torch.Tensor, num_bits: int, result: torch.Tensor) -> None:
    """Transpose packed frames into rows: bit f % 64 of word [i, f // 64] is bit i of frame f.

    Least traffic: 1/8 byte read and 1/8 byte written per bit and frame.

    Args:
        packed: contiguous uint8 [batch, ceil(num_bits / 8)], in little-endian bit order.
        num_bits: bits per frame.
        result: contiguous int64 [at least num_bits, words], whose first num_bits rows are written; words is at least
            ceil(batch / 64), and bits beyond the last frame become 0.
    """
    batch, num_bytes = packed.shape
    words = result.shape[1]
    blocks = triton.cdiv(num_bytes, TRANSPOSED_BYTES)
    with torch.cuda.device_of(packed):
        _transpose_kernel[(blocks * triton.cdiv(words, TRANSPOSED_WORDS),)](
            packed,
            result,
            batch,
            num_bits,
            num_bytes,
            words,
            blocks,
            TRANSPOSED_BYTES,
            TRANSPOSED_WORDS,
            num_warps=WARPS,
        )


def count_packed(
    bits: torch.Tensor, outputs: torch.Tensor, starts: torch.Tensor, offsets: torch.Tensor, batch: int
) -> torch.Tensor:
    """Count, for each frame and class, the rows of the class that have the frame's bit set; add the class's offset.

    Least traffic: 1/8 byte read per output and frame, and 4 bytes written per class and frame. The 32 frames of a warp
    share the word that they read.

    Args:
        bits: contiguous int64 [rows, words], 64 frames per word.
        outputs: int32 [outputs], rows; those of class 0 first.
        starts: int32 [classes + 1]; class c counts outputs[starts[c] : starts[c + 1]].
        offsets: int32 [classes].
        batch: frames, at most 64 * words.

    Returns:
        int32 [batch, classes].
    """
    classes = len(offsets)
    counts = torch.empty(batch, classes, dtype=torch.int32, device=bits.device)
    halves = bits.view(torch.int32)  # little-endian: of 64 frames the first 32 first; 32-bit shifts are quicker
    with torch.cuda.device_of(bits):
        _count_kernel[(classes * triton.cdiv(batch, COUNTED_FRAMES),)](
            halves,
            outputs,
            starts,
            offsets,
            counts,
            batch,
            halves.shape[1],
            classes,
            COUNTED_FRAMES,
            COUNTED_TOGETHER,
            num_warps=WARPS,
        )
    return counts


@lru_cache(maxsize=256)
def _tile(gates: int, words: int) -> tuple[int, int, int, int]:
    """Return the gates and words that a program handles, the words of an access, and the number of warps."""
    vector = min(words & -words, 2)  # 16 bytes, the widest access; it divides a row, so that each row begins aligned
    columns = min(triton.next_power_of_2(words), WARP * vector)
    rows = WARPS * WARP * 2 * vector // columns  # two accesses per thread
    while rows > 1 and triton.cdiv(gates, rows) * triton.cdiv(words, columns) < MIN_PROGRAMS:
        rows //= 2
    return rows, columns, vector, min(WARPS, max(1, rows * columns // (WARP * vector)))


@triton.jit(do_not_specialize=["out_dim", "num_vectors", "neuron_blocks"])
def _evaluate_kernel(
    bits: tl.tensor,
    gates: tl.tensor,
    indices: tl.tensor,
    result: tl.tensor,
    out_dim: tl.tensor,
    num_vectors: tl.tensor,
    neuron_blocks: tl.tensor,
    block_neurons: tl.constexpr,
    block_words: tl.constexpr,
    vector: tl.constexpr,
) -> None:
    words = num_vectors * vector
    program = tl.program_id(0)
    neurons = (program % neuron_blocks) * block_neurons + tl.arange(0, block_neurons)
    columns = (program // neuron_blocks) * block_words + tl.arange(0, block_words)
    in_layer = neurons < out_dim
    mask = in_layer[:, None] & (columns < words)[None, :]

    first = tl.load(indices + neurons, mask=in_layer, other=0)
    second = tl.load(indices + out_dim + neurons, mask=in_layer, other=0)
    a = tl.load(bits + tile_offsets(first, words, columns), mask=mask, other=0)
    b = tl.load(bits + tile_offsets(second, words, columns), mask=mask, other=0)
    gate = tl.load(gates + neurons, mask=in_layer, other=0).to(tl.int64)
    # The bilinear form over GF(2), where + is xor: its coefficients from the truth table, as masks of 64 equal bits.
    f00 = -(gate >> 3 & 1)
    f01 = -(gate >> 2 & 1)
    f10 = -(gate >> 1 & 1)
    f11 = -(gate & 1)
    c1 = f00 ^ f10
    c2 = f00 ^ f01
    c3 = c1 ^ f01 ^ f11
    value = f00[:, None] ^ (c1[:, None] & a) ^ ((c2[:, None] ^ (c3[:, None] & a)) & b)
    tl.store(result + tile_offsets(neurons, words, columns), value, mask=mask)


@triton.jit
def _swap(x: tl.tensor, distance: tl.constexpr, mask: tl.constexpr) -> tl.tensor:
    change = (x ^ (x >> distance)) & mask
    return x ^ change ^ (change << distance)


@triton.jit
def _store_words(
    result: tl.tensor, num_bits: tl.tensor, words: tl.tensor, rows: tl.tensor, columns: tl.tensor, value: tl.tensor
) -> None:
    mask = (rows < num_bits)[:, None] & (columns < words)[None, :]
    tl.store(result + tile_offsets(rows, words, columns), value, mask=mask)


@triton.jit(do_not_specialize=["batch", "num_bits", "num_bytes", "words", "byte_blocks"])
def _transpose_kernel(
    packed: tl.tensor,
    result: tl.tensor,
    batch: tl.tensor,
    num_bits: tl.tensor,
    num_bytes: tl.tensor,
    words: tl.tensor,
    byte_blocks: tl.tensor,
    block_bytes: tl.constexpr,
    block_words: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    places = (program % byte_blocks) * block_bytes + tl.arange(0, block_bytes)
    columns = (program // byte_blocks) * block_words + tl.arange(0, block_words)
    # Read along the bytes of a frame, written along the words: Triton exchanges the tile in shared memory between.
    word0 = tl.full([block_bytes, block_words], 0, tl.int64)
    word1 = word0
    word2 = word0
    word3 = word0
    word4 = word0
    word5 = word0
    word6 = word0
    word7 = word0
    for group in range(8):
        # Eight frames' bytes as an 8 x 8 square of bits, transposed: byte i then holds bit i of the eight frames.
        square = tl.full([block_bytes, block_words], 0, tl.int64)
        for i in tl.static_range(8):
            frames = columns.to(tl.int64) * 64 + (group * 8 + i)
            byte = tl.load(
                packed + (frames[None, :] * num_bytes + places[:, None]),
                mask=(places < num_bytes)[:, None] & (frames < batch)[None, :],
                other=0,
            )
            square |= byte.to(tl.int64) << (8 * i)
        square = _swap(square, 7, 0x00AA00AA00AA00AA)
        square = _swap(square, 14, 0x0000CCCC0000CCCC)
        square = _swap(square, 28, 0x00000000F0F0F0F0)
        shift = group * 8
        word0 |= (square >> 0 & 255) << shift
        word1 |= (square >> 8 & 255) << shift
        word2 |= (square >> 16 & 255) << shift
        word3 |= (square >> 24 & 255) << shift
        word4 |= (square >> 32 & 255) << shift
        word5 |= (square >> 40 & 255) << shift
        word6 |= (square >> 48 & 255) << shift
        word7 |= (square >> 56 & 255) << shift
    _store_words(result, num_bits, words, places * 8 + 0, columns, word0)
    _store_words(result, num_bits, words, places * 8 + 1, columns, word1)
    _store_words(result, num_bits, words, places * 8 + 2, columns, word2)
    _store_words(result, num_bits, words, places * 8 + 3, columns, word3)
    _store_words(result, num_bits, words, places * 8 + 4, columns, word4)
    _store_words(result, num_bits, words, places * 8 + 5, columns, word5)
    _store_words(result, num_bits, words, places * 8 + 6, columns, word6)
    _store_words(result, num_bits, words, places * 8 + 7, columns, word7)


@triton.jit(do_not_specialize=["batch", "halves", "classes"])
def _count_kernel(
    bits: tl.tensor,
    outputs: tl.tensor,
    starts: tl.tensor,
    offsets: tl.tensor,
    counts: tl.tensor,
    batch: tl.tensor,
    halves: tl.tensor,
    classes: tl.tensor,
    block_frames: tl.constexpr,
    together: tl.constexpr,
) -> None:
    program = tl.program_id(0)
    label = program % classes
    frames = (program // classes) * block_frames + tl.arange(0, block_frames)
    in_batch = frames < batch
    half, bit = frames // 32, frames % 32
    start = tl.load(starts + label)
    end = tl.load(starts + label + 1)
    count = tl.full([block_frames], 0, tl.int32) + tl.load(offsets + label)
    for first in range(start, end, together):
        for i in tl.static_range(together):
            used = first + i < end
            row = tl.load(outputs + first + i, mask=used, other=0)
            word = tl.load(bits + (row.to(tl.int64) * halves + half), mask=used & in_batch, other=0)
            count += word >> bit & 1
    tl.store(counts + (frames.to(tl.int64) * classes + label), count, mask=in_batch)
