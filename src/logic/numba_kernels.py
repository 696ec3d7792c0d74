"""The `numba` implementation of a logic layer: CPU kernels over feature-major activations, compiled at first use.

Every kernel is parallel over neurons or input features, and each of these is computed by one thread in a fixed order:
results do not depend on the number of threads. The inner loops run along the batch, which is contiguous.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from src.logic.gates import gate_coefficients

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_GATES = gate_coefficients().T.contiguous().numpy()  # [4, 16]; numba compiles it in
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)


@numba.njit(cache=True, nogil=True, parallel=True)
def unpack_features(packed: NDArray[np.uint8], features: Floats) -> None:
    """Packed frames [batch, bytes] -> 0 and 1, feature-major [num_bits, batch]: unpacked and transposed in one go."""
    for k in numba.prange((len(features) + 7) // 8):
        column = packed[:, k].copy()
        for bit in range(min(8, len(features) - 8 * k)):
            out = features[8 * k + bit]
            for s in range(len(column)):
                out[s] = np.float32((column[s] >> np.uint8(bit)) & np.uint8(1))


def input_consumers(indices: NDArray[np.int64], in_dim: int) -> tuple[NDArray[np.int64], Ints]:
    """The inverse connection list, by which an input's gradient is gathered instead of scattered.

    Args:
        indices: [2, out_dim].
        in_dim: number of inputs.

    Returns:
        starts: int64 [in_dim + 1].
        consumers: int32 [2 * out_dim]; those of input j are consumers[starts[j] : starts[j + 1]], ascending, each
            2 * neuron + role, where role is 0 if j is the neuron's first input, a, and 1 if it is b.
    """
    flat = indices.T.reshape(-1)  # at 2 * neuron + role
    starts = np.zeros(in_dim + 1, np.int64)
    np.cumsum(np.bincount(flat, minlength=in_dim), out=starts[1:])
    return starts, np.argsort(flat, kind="stable").astype(np.int32)


@numba.njit(inline="always")
def _exp(x: np.float32) -> np.float32:
    """exp of a number from -87 to 0 to float32 precision (Cephes' expf), in operations that vectorise."""
    k = np.floor(x * _LOG2_E + np.float32(0.5))
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    return (p * r * r + r + np.float32(1)) * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def mixture_coefficients(weights: Floats, probabilities: Floats, coefficients: Floats) -> None:
    """Softmax of the weights [out_dim, 16] to `probabilities`, their mixture's form to `coefficients` [out_dim, 4]."""
    for n in numba.prange(len(weights)):
        most = np.float32(-np.inf)
        for i in range(16):
            most = max(most, weights[n, i])
        total = np.float32(0)
        for i in range(16):
            q = _exp(max(weights[n, i] - most, np.float32(-87)))
            probabilities[n, i] = q
            total += q
        scale = np.float32(1) / total
        c0, c1, c2, c3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for i in range(16):
            q = probabilities[n, i] * scale
            probabilities[n, i] = q
            c0 += q * _GATES[0, i]
            c1 += q * _GATES[1, i]
            c2 += q * _GATES[2, i]
            c3 += q * _GATES[3, i]
        coefficients[n, 0] = c0
        coefficients[n, 1] = c1
        coefficients[n, 2] = c2
        coefficients[n, 3] = c3


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def weight_gradient(probabilities: Floats, grad_coefficients: Floats, grad_weights: Floats) -> None:
    """The way back through `mixture_coefficients`: [out_dim, 16], [out_dim, 4] -> [out_dim, 16]."""
    for n in numba.prange(len(probabilities)):
        g0, g1, g2, g3 = (
            grad_coefficients[n, 0],
            grad_coefficients[n, 1],
            grad_coefficients[n, 2],
            grad_coefficients[n, 3],
        )
        mean = np.float32(0)
        for i in range(16):
            g = g0 * _GATES[0, i] + g1 * _GATES[1, i] + g2 * _GATES[2, i] + g3 * _GATES[3, i]
            grad_weights[n, i] = g
            mean += g * probabilities[n, i]
        for i in range(16):
            grad_weights[n, i] = probabilities[n, i] * (grad_weights[n, i] - mean)


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def forward(x: Floats, coefficients: Floats, first: Ints, second: Ints, y: Floats) -> None:
    """y[n] = c0 + c1 a + c2 b + c3 ab, a = x[first[n]], b = x[second[n]]; x [in_dim, batch], y [out_dim, batch].

    Reads two activations and writes one a neuron and frame.
    """
    for n in numba.prange(len(y)):
        a, b, out = x[first[n]], x[second[n]], y[n]
        c0, c1, c2, c3 = coefficients[n, 0], coefficients[n, 1], coefficients[n, 2], coefficients[n, 3]
        for s in range(x.shape[1]):
            out[s] = c0 + c1 * a[s] + (c2 + c3 * a[s]) * b[s]


@numba.njit(inline="always")
def _coefficient_sums(a: Floats, b: Floats, g: Floats, sums: Floats) -> None:
    s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for s in range(len(g)):
        ga = g[s] * a[s]
        s0 += g[s]
        s1 += ga
        s2 += g[s] * b[s]
        s3 += ga * b[s]
    sums[0] = s0
    sums[1] = s1
    sums[2] = s2
    sums[3] = s3


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def backward_coefficients(x: Floats, first: Ints, second: Ints, grad_y: Floats, grad_coefficients: Floats) -> None:
    """Gradient of the coefficients [out_dim, 4] alone, for a layer whose inputs need none."""
    for n in numba.prange(len(grad_y)):
        _coefficient_sums(x[first[n]], x[second[n]], grad_y[n], grad_coefficients[n])


@numba.njit(cache=True, nogil=True, parallel=True, fastmath=True)
def backward(
    x: Floats,
    coefficients: Floats,
    first: Ints,
    second: Ints,
    starts: NDArray[np.int64],
    consumers: Ints,
    grad_y: Floats,
    scale: float,
    grad_x: Floats,
    grad_coefficients: Floats,
) -> None:
    """Both gradients in one pass over the inputs: grad_x [in_dim, batch] and grad_coefficients [out_dim, 4].

    An input's row stays in the first-level cache while the gradients of its consumers pass by: two rows read a
    consumer, of which a neuron is two. `scale` multiplies grad_x.
    """
    factor = np.float32(scale)
    for j in numba.prange(len(x)):
        own, grad = x[j], grad_x[j]
        for s in range(len(own)):
            grad[s] = np.float32(0)
        for e in range(starts[j], starts[j + 1]):
            n = consumers[e] >> 1
            g = grad_y[n]
            c3 = coefficients[n, 3] * factor
            if consumers[e] & 1:
                other = x[first[n]]
                c = coefficients[n, 2] * factor
                for s in range(len(own)):
                    grad[s] += g[s] * (c + c3 * other[s])
            else:
                other = x[second[n]]
                c = coefficients[n, 1] * factor
                s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for s in range(len(own)):
                    grad[s] += g[s] * (c + c3 * other[s])
                    ga = g[s] * own[s]
                    s0 += g[s]
                    s1 += ga
                    s2 += g[s] * other[s]
                    s3 += ga * other[s]
                grad_coefficients[n, 0] = s0
                grad_coefficients[n, 1] = s1
                grad_coefficients[n, 2] = s2
                grad_coefficients[n, 3] = s3
