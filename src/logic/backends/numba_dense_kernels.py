"""The `numba` implementation of a logic layer: CPU kernels over feature-major activations, compiled at first use.

Every kernel is parallel over neurons or input features. One thread computes each of them in a fixed order, so results
do not depend on the number of threads. The inner loops run along the batch, which is contiguous.

No kernel uses fastmath: numba would optimise a kernel that it has just compiled differently from one that it loads from
its cache, and a resumed run must not differ by that. So every operation is rounded as written, on any processor. Sums
over the batch are written as sums in lanes, because one chain of additions could not be vectorised.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.gates import gate_coefficients

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_GATES = gate_coefficients().T.contiguous().numpy()  # [4, 16]; numba compiles it in
_LANES = 16  # partial sums side by side
_UNROLLED = 4  # numbers that are added up before they go to a lane
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)


@cached_njit(nogil=True, parallel=True)
def unpack_features(packed: NDArray[np.uint8], features: Floats) -> None:
    """Unpack frames [batch, bytes] to 0 and 1, feature-major [num_bits, batch], in one pass."""
    for k in numba.prange((len(features) + 7) // 8):
        column = packed[:, k].copy()
        for bit in range(min(8, len(features) - 8 * k)):
            out = features[8 * k + bit]
            for s in range(len(column)):
                out[s] = np.float32((column[s] >> np.uint8(bit)) & np.uint8(1))


@cached_njit(nogil=True)
def input_consumers(indices: NDArray[np.int64], in_dim: int) -> tuple[NDArray[np.int64], Ints]:
    """Return the inverse connection lists, by which an input's gradient is gathered instead of scattered.

    This is a counting sort, quick enough for every step of a layer that learns its connections.

    Args:
        indices: [k, out_dim], the k inputs of each neuron.
        in_dim: number of inputs.

    Returns:
        starts: int64 [in_dim + 1].
        consumers: int32 [k * out_dim]; those of input j are consumers[starts[j] : starts[j + 1]], ascending, each
            k * neuron + role, where role is 0 if j is the neuron's first input, 1 if it is the second, and so on.
    """
    roles = len(indices)
    starts = np.zeros(in_dim + 1, np.int64)
    for role in range(roles):
        for j in indices[role]:
            starts[j + 1] += 1
    starts = np.cumsum(starts)
    ends = starts[:-1].copy()
    consumers = np.empty(indices.size, np.int32)
    for n in range(indices.shape[1]):
        for role in range(roles):
            j = indices[role, n]
            consumers[ends[j]] = roles * n + role
            ends[j] += 1
    return starts, consumers


@numba.njit(inline="always")
def _exp(x: np.float32) -> np.float32:
    """Return exp of a number from -87 to 0 to float32 precision, by Cephes' expf, in operations that vectorise."""
    k = np.floor(x * _LOG2_E + np.float32(0.5))
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * r * r + r + np.float32(1)) * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@numba.njit(inline="always")
def mix_gate(weights: Floats, probabilities: Floats) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Write the softmax of a neuron's weights [16] to `probabilities`; return the mixture's bilinear form."""
    w = weights  # the largest by a tree: one comparison after the other would take as long as all the rest
    low = max(max(max(w[0], w[1]), max(w[2], w[3])), max(max(w[4], w[5]), max(w[6], w[7])))
    most = max(low, max(max(max(w[8], w[9]), max(w[10], w[11])), max(max(w[12], w[13]), max(w[14], w[15]))))
    for i in range(16):
        probabilities[i] = _exp(max(weights[i] - most, np.float32(-87)))
    q = probabilities
    # Sums of the pairs, of their second members, and so on by bits of the gate's number, which is its truth table: the
    # gates with bit 3 give 1 for (0, 0), with bit 2 for (0, 1), with bit 1 for (1, 0), with bit 0 for (1, 1).
    p0, p1, p2, p3 = q[0] + q[1], q[2] + q[3], q[4] + q[5], q[6] + q[7]
    p4, p5, p6, p7 = q[8] + q[9], q[10] + q[11], q[12] + q[13], q[14] + q[15]
    high = (p4 + p5) + (p6 + p7)
    scale = np.float32(1) / (((p0 + p1) + (p2 + p3)) + high)
    f00 = high * scale
    f01 = ((p2 + p3) + (p6 + p7)) * scale
    f10 = ((p1 + p3) + (p5 + p7)) * scale
    f11 = (((q[1] + q[3]) + (q[5] + q[7])) + ((q[9] + q[11]) + (q[13] + q[15]))) * scale
    for i in range(16):
        probabilities[i] *= scale
    return f00, f10 - f00, f01 - f00, f11 - f10 - f01 + f00


@numba.njit(inline="always")
def _weight_gradient(
    a: Floats, b: Floats, g: Floats, coefficients: Floats, probabilities: Floats, grad_weights: Floats, lanes: Floats
) -> None:
    """Write one neuron's grad_weights [16] from its rows a, b and grad_y [batch] and its mixture; `lanes` is for sums.

    If probabilities has length 0, grad_weights [4] is the gradient of the coefficients themselves.
    """
    g0, g1, g2, g3 = _coefficient_gradient(a, b, g, lanes)
    mixture_gradient(g0, g1, g2, g3, coefficients, probabilities, grad_weights)


@numba.njit(inline="always")
def mixture_gradient(
    g0: np.float32,
    g1: np.float32,
    g2: np.float32,
    g3: np.float32,
    coefficients: Floats,
    probabilities: Floats,
    grad_weights: Floats,
) -> None:
    """Write one neuron's grad_weights [16] from the gradient of its coefficients; see `_weight_gradient`."""
    if len(probabilities) == 0:
        grad_weights[0] = g0
        grad_weights[1] = g1
        grad_weights[2] = g2
        grad_weights[3] = g3
    else:
        # The way back through softmax and projection; the mean slope is that of the mixture itself.
        mean = (g0 * coefficients[0] + g1 * coefficients[1]) + (g2 * coefficients[2] + g3 * coefficients[3])
        for i in range(16):
            slope = (g0 * _GATES[0, i] + g1 * _GATES[1, i]) + (g2 * _GATES[2, i] + g3 * _GATES[3, i])
            grad_weights[i] = probabilities[i] * (slope - mean)


@numba.njit(inline="always")
def _coefficient_gradient(
    a: Floats, b: Floats, g: Floats, lanes: Floats
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Return one neuron's sums over the batch of g, ga, gb and gab; `lanes` [4 * _LANES] is for partial sums."""
    lane0, lane1 = lanes[:_LANES], lanes[_LANES : 2 * _LANES]
    lane2, lane3 = lanes[2 * _LANES : 3 * _LANES], lanes[3 * _LANES : 4 * _LANES]
    for i in range(4 * _LANES):
        lanes[i] = np.float32(0)
    block = _LANES * _UNROLLED
    blocks_end = len(g) // block * block
    for start in range(0, blocks_end, block):
        block_a, block_b, block_g = a[start : start + block], b[start : start + block], g[start : start + block]
        for lane in range(_LANES):
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for u in range(_UNROLLED):
                value, other = block_g[u * _LANES + lane], block_b[u * _LANES + lane]
                product = value * block_a[u * _LANES + lane]
                s0 += value
                s1 += product
                s2 += value * other
                s3 += product * other
            lane0[lane] += s0
            lane1[lane] += s1
            lane2[lane] += s2
            lane3[lane] += s3
    for start in range(blocks_end, len(g), _LANES):
        for s in range(start, min(start + _LANES, len(g))):
            product = g[s] * a[s]
            lane0[s - start] += g[s]
            lane1[s - start] += product
            lane2[s - start] += g[s] * b[s]
            lane3[s - start] += product * b[s]
    return _lane_sum(lane0), _lane_sum(lane1), _lane_sum(lane2), _lane_sum(lane3)


@numba.njit(inline="always")
def _before_sigmoid(outputs: Floats, g: Floats, row: Floats) -> Floats:
    """Write the gradient of one neuron's mixture to `row`, from its outputs after the sigmoid and their gradient."""
    for s in range(len(g)):
        row[s] = g[s] * (outputs[s] * (np.float32(1) - outputs[s]))
    return row


@numba.njit(inline="always")
def _lane_sum(lane: Floats) -> np.float32:
    half = _LANES
    while half > 1:
        half //= 2
        for i in range(half):
            lane[i] += lane[i + half]
    return lane[0]


@cached_njit(nogil=True, parallel=True)
def forward_relaxed(
    x: Floats, weights: Floats, first: Ints, second: Ints, probabilities: Floats, coefficients: Floats, y: Floats
) -> None:
    """Compute the whole layer: softmax of the weights [out_dim, 16], its bilinear form, and the mixture of the inputs.

    Args:
        x: activations [in_dim, batch].
        weights: [out_dim, 16].
        first, second: the inputs of each neuron, int32 [out_dim].
        probabilities: out, [out_dim, 16]; the backward needs them.
        coefficients: out, [out_dim, 4]; likewise.
        y: out, [out_dim, batch]. Per neuron and frame, two activations are read and one is written.
    """
    for n in numba.prange(len(y)):
        c0, c1, c2, c3 = mix_gate(weights[n], probabilities[n])
        coefficients[n, 0] = c0
        coefficients[n, 1] = c1
        coefficients[n, 2] = c2
        coefficients[n, 3] = c3
        a, b, out = x[first[n]], x[second[n]], y[n]
        for s in range(x.shape[1]):
            out[s] = c0 + c1 * a[s] + (c2 + c3 * a[s]) * b[s]


@cached_njit(nogil=True, parallel=True)
def forward_relaxed_sums(
    x: Floats,
    weights: Floats,
    first: Ints,
    second: Ints,
    probabilities: Floats,
    coefficients: Floats,
    partial_sums: Floats,
) -> None:
    """Compute `forward_relaxed`, but add up the outputs of equal groups of consecutive neurons, and do not keep them.

    partial_sums is [groups, batch], zeros; their number is the caller's and not that of the threads, so that the order
    of additions is fixed.
    """
    groups = len(partial_sums)
    for group in numba.prange(groups):
        out = partial_sums[group]
        for n in range(len(weights) * group // groups, len(weights) * (group + 1) // groups):
            c0, c1, c2, c3 = mix_gate(weights[n], probabilities[n])
            coefficients[n, 0] = c0
            coefficients[n, 1] = c1
            coefficients[n, 2] = c2
            coefficients[n, 3] = c3
            a, b = x[first[n]], x[second[n]]
            for s in range(x.shape[1]):
                out[s] += c0 + c1 * a[s] + (c2 + c3 * a[s]) * b[s]


@cached_njit(nogil=True, parallel=True)
def forward(x: Floats, coefficients: Floats, first: Ints, second: Ints, y: Floats) -> None:
    """Compute y[n] = c0 + c1 a + c2 b + c3 ab with coefficients [out_dim, 4], such as those of discretised gates."""
    for n in numba.prange(len(y)):
        a, b, out = x[first[n]], x[second[n]], y[n]
        c0, c1, c2, c3 = coefficients[n, 0], coefficients[n, 1], coefficients[n, 2], coefficients[n, 3]
        for s in range(x.shape[1]):
            out[s] = c0 + c1 * a[s] + (c2 + c3 * a[s]) * b[s]


@cached_njit(nogil=True, parallel=True)
def forward_sums(x: Floats, coefficients: Floats, first: Ints, second: Ints, partial_sums: Floats) -> None:
    """Compute `forward`, but add up the outputs as `forward_relaxed_sums` does."""
    groups = len(partial_sums)
    for group in numba.prange(groups):
        out = partial_sums[group]
        for n in range(len(first) * group // groups, len(first) * (group + 1) // groups):
            a, b = x[first[n]], x[second[n]]
            c0, c1, c2, c3 = coefficients[n, 0], coefficients[n, 1], coefficients[n, 2], coefficients[n, 3]
            for s in range(x.shape[1]):
                out[s] += c0 + c1 * a[s] + (c2 + c3 * a[s]) * b[s]


@cached_njit(nogil=True, parallel=True)
def backward_weights(
    x: Floats,
    coefficients: Floats,
    first: Ints,
    second: Ints,
    probabilities: Floats,
    outputs: Floats,
    grad_y: Floats,
    grad_weights: Floats,
) -> None:
    """Compute the gradient of the weights or coefficients alone, for a layer whose inputs need none; see `backward`."""
    group_size = len(first) // len(grad_y)
    for n in numba.prange(len(first)):
        g = grad_y[n // group_size]
        if len(outputs) > 0:
            g = _before_sigmoid(outputs[n], g, np.empty_like(g))
        lanes = np.empty(4 * _LANES, dtype=np.float32)
        _weight_gradient(x[first[n]], x[second[n]], g, coefficients[n], probabilities[n], grad_weights[n], lanes)


@cached_njit(nogil=True, parallel=True)
def backward(
    x: Floats,
    coefficients: Floats,
    first: Ints,
    second: Ints,
    starts: NDArray[np.int64],
    consumers: Ints,
    probabilities: Floats,
    outputs: Floats,
    grad_y: Floats,
    scale: float,
    grad_x: Floats,
    grad_weights: Floats,
) -> None:
    """Compute both gradients in one pass over the inputs: grad_x [in_dim, batch] and grad_weights [out_dim, 16].

    An input's row stays in the first-level cache while the rows of its consumers pass by: two a consumer, of which a
    neuron is two. The neuron's weights are dealt with where the input is its first, from the same rows. `scale`
    multiplies grad_x. With probabilities [out_dim, 0], grad_weights is the coefficients' gradient [out_dim, 4]; of
    length 0, it is left alone. grad_y is [out_dim, batch], or, of a layer whose outputs were added up, [groups, batch].
    Where the sigmoid was taken of the mixture, outputs [out_dim, batch] are what it gave; else they have length 0.
    """
    group_size = len(first) // len(grad_y)
    factor = np.float32(scale)
    for j in numba.prange(len(x)):
        own, grad = x[j], grad_x[j]
        lanes, row = np.empty(4 * _LANES, dtype=np.float32), np.empty_like(own)
        for s in range(len(own)):
            grad[s] = np.float32(0)
        for e in range(starts[j], starts[j + 1]):
            n = consumers[e] >> 1
            role = consumers[e] & 1
            g = grad_y[n // group_size]
            if len(outputs) > 0:
                g = _before_sigmoid(outputs[n], g, row)
            other = x[first[n]] if role else x[second[n]]
            c, c3 = coefficients[n, 1 + role] * factor, coefficients[n, 3] * factor
            for s in range(len(own)):
                grad[s] += g[s] * (c + c3 * other[s])
            if role == 0 and len(grad_weights) > 0:
                _weight_gradient(own, other, g, coefficients[n], probabilities[n], grad_weights[n], lanes)
