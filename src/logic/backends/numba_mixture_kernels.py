"""CPU kernels between the weights of two-input gates and the bilinear forms that they mix, compiled at first use."""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from src.kernel_cache import cached_njit
from src.logic.backends.numba_dense_kernels import mix_gate, mixture_gradient
from src.logic.backends.numba_vectors import LANES, Vectors, index_of, llvm_intrinsic

Floats = NDArray[np.float32]


@llvm_intrinsic
def _mix_gates(_: Any, weights: Any, gate: Any, probabilities: Any, forms: Any) -> Any:
    """Compute `mix` for 16 gates from one on, with the bits of `mix_gate`; all arrays are flat."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        v = Vectors(context, builder)
        weights, gate, probabilities, forms = v.unpack(signature, arguments)
        add, subtract, multiply = builder.fadd, builder.fsub, builder.fmul
        rows = [builder.add(builder.mul(gate, index_of(16)), index_of(16 * i)) for i in range(LANES)]
        w = v.interleaved([v.load(weights, row) for row in rows])  # a vector per weight, a lane per gate
        most = w[0]
        for each in w[1:]:
            most = builder.select(builder.fcmp_ordered(">", each, most), each, most)
        least = v.constant(-87)
        below = [subtract(each, most) for each in w]
        q = [v.exp(builder.select(builder.fcmp_ordered("<", each, least), least, each)) for each in below]
        p = [add(q[2 * i], q[2 * i + 1]) for i in range(8)]  # sums by bits of a gate's number, see `mix_gate`
        high = add(add(p[4], p[5]), add(p[6], p[7]))
        scale = builder.fdiv(v.constant(1), add(add(add(p[0], p[1]), add(p[2], p[3])), high))
        f00 = multiply(high, scale)
        f01 = multiply(add(add(p[2], p[3]), add(p[6], p[7])), scale)
        f10 = multiply(add(add(p[1], p[3]), add(p[5], p[7])), scale)
        odd = [add(q[i], q[i + 2]) for i in (1, 5, 9, 13)]
        f11 = multiply(add(add(odd[0], odd[1]), add(odd[2], odd[3])), scale)
        form = [f00, subtract(f10, f00), subtract(f01, f00), add(subtract(subtract(f11, f10), f01), f00)]
        for row, values in zip(rows, v.interleaved([multiply(each, scale) for each in q]), strict=True):
            v.store(values, probabilities, row)
        for i, values in enumerate(v.interleaved(form)):
            v.store(values, forms, builder.add(builder.mul(gate, index_of(4)), index_of(LANES * i)))
        return context.get_dummy_value()

    return types.void(weights, types.int64, probabilities, forms), generate


@cached_njit(nogil=True, parallel=True)
def mix(weights: Floats, probabilities: Floats, forms: Floats) -> None:
    """Write the softmax of weights [gates, 16] to probabilities, and the mixtures' coefficients to forms [gates, 4]."""
    blocks = len(weights) // LANES
    of_weights, of_probabilities, of_forms = weights.reshape(-1), probabilities.reshape(-1), forms.reshape(-1)
    for block in numba.prange(blocks):
        _mix_gates(of_weights, block * LANES, of_probabilities, of_forms)
    for n in range(blocks * LANES, len(weights)):
        c0, c1, c2, c3 = mix_gate(weights[n], probabilities[n])
        forms[n, 0] = c0
        forms[n, 1] = c1
        forms[n, 2] = c2
        forms[n, 3] = c3


@cached_njit(nogil=True, parallel=True)
def weight_gradients(unit_sums: Floats, forms: Floats, probabilities: Floats, grad_weights: Floats) -> None:
    """Add up what units of frames have found, in their order, and go back through the softmax.

    Args:
        unit_sums: [units, gates, 4].
        forms: [gates, 4].
        probabilities: [gates, 16]; of width 0 if the forms are not those of a softmax.
        grad_weights: out, [gates, 16] or [gates, 4].
    """
    for n in numba.prange(len(forms)):
        g0, g1, g2, g3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for unit in range(len(unit_sums)):
            g0 += unit_sums[unit, n, 0]
            g1 += unit_sums[unit, n, 1]
            g2 += unit_sums[unit, n, 2]
            g3 += unit_sums[unit, n, 3]
        mixture_gradient(g0, g1, g2, g3, forms[n], probabilities[n], grad_weights[n])
