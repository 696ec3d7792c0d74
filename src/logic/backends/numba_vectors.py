"""Vectors of lanes as LLVM writes them, for kernels that neither numba nor LLVM vectorises well enough by itself."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

LANES = 16  # frames of a chunk: a cache line of float32
FLOAT, INT, BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(8)
_SIZES = {FLOAT: 4, INT: 4, BYTE: 1}  # bytes

Length = tuple[int, ...]


def length(number: int) -> Length:
    """Return a tuple whose length stands for a number. Its type holds the length, so numba compiles for that number.

    The tuple is longer by one than the number, since numba's parallel loops take no empty tuples.
    """
    return (0,) * (number + 1)


llvm_intrinsic: Any = intrinsic  # whose type takes the typing context for an argument of the call


@cached_njit(nogil=True)
def zero_lanes(vectors: int) -> NDArray[np.float32]:
    """Return zeros [vectors * lanes] that begin with a line of the cache, so that no vector takes two lines."""
    memory = np.zeros((vectors + 1) * LANES, np.float32)
    first = -memory.ctypes.data // memory.itemsize % LANES
    return memory[first : first + vectors * LANES]


class Vectors:
    """Instructions on vectors of lanes."""

    def __init__(self, context: Any, builder: ir.IRBuilder) -> None:
        self.context, self.builder = context, builder
        with builder.goto_entry_block():
            self._align_stack()

    def unpack(self, signature: Any, arguments: list[ir.Value]) -> list[ir.Value]:
        """Return the arguments; for a contiguous array, the address of its first number."""
        return [
            make_array(kind)(self.context, self.builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments, strict=True)
        ]

    def _align_stack(self) -> None:
        """Let the function's stack begin with a line of the cache, so that no spilled vector takes two lines.

        LLVM decides on the alignment before it knows that it spills vectors, by the variables that it knows of by then.
        """
        variable = self.builder.alloca(BYTE)
        variable.align = _SIZES[FLOAT] * LANES
        kept = ir.FunctionType(ir.VoidType(), [variable.type])
        self.builder.asm(kept, "", "r", [variable], side_effect=True)

    def load(self, pointer: ir.Value, index: ir.Value, element: ir.Type = FLOAT) -> ir.Value:
        """Load the lanes from a number on; they are aligned like the number."""
        address = self.builder.gep(pointer, [index])
        return self.builder.load(self.builder.bitcast(address, vector(element).as_pointer()), align=_SIZES[element])

    def store(self, value: ir.Value, pointer: ir.Value, index: ir.Value) -> None:
        """Store the lanes from a number on."""
        address = self.builder.bitcast(self.builder.gep(pointer, [index]), value.type.as_pointer())
        self.builder.store(value, address, align=_SIZES[value.type.element])

    def add(self, value: ir.Value, pointer: ir.Value, index: ir.Value) -> None:
        """Add the lanes to those from a number on."""
        self.store(self.builder.fadd(self.load(pointer, index), value), pointer, index)

    def reloaded(self, pointer: ir.Value) -> ir.Value:
        """Return the same address, unknown to LLVM: what it loads from there again need not stay in a register."""
        same = ir.FunctionType(pointer.type, [pointer.type])
        return self.builder.asm(same, "", "=r,0", [pointer], side_effect=True)

    def prefetch(self, pointer: ir.Value) -> None:
        """Fetch the cache line of an address that will soon be read or written; it need not exist."""
        address = self.builder.bitcast(pointer, BYTE.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, INT, INT, INT])
        prefetch = get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        self.builder.call(prefetch, [address, INT(0), INT(3), INT(1)])  # to read, to keep, data

    def everywhere(self, scalar: ir.Value) -> ir.Value:
        """Return a vector with a number in each lane."""
        first = self.builder.insert_element(ir.Constant(vector(scalar.type), ir.Undefined), scalar, index_of(0))
        return self.builder.shuffle_vector(first, first, ir.Constant(vector(INT), [0] * LANES))

    def constant(self, number: float, element: ir.Type = FLOAT) -> ir.Value:
        """Return a vector with a constant in each lane."""
        return ir.Constant(vector(element), [number] * LANES)

    def call(self, name: str, *values: ir.Value) -> ir.Value:
        """Call one of LLVM's own functions."""
        function = ir.FunctionType(values[0].type, [value.type for value in values])
        name = f"llvm.{name}.v{LANES}f32"
        return self.builder.call(get_or_insert_function(self.builder.module, function, name), values)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Return ab + c, rounded once on any processor."""
        return self.call("fma", a, b, c)

    def exp(self, x: ir.Value) -> ir.Value:
        """Return exp of numbers from -87 to 0 to float32 precision, by Cephes' expf, with nothing rounded together."""
        b = self.builder
        k = self.call("floor", b.fadd(b.fmul(x, self.constant(1.44269504088896341)), self.constant(0.5)))
        r = b.fsub(x, b.fmul(k, self.constant(0.693359375)))  # the two constants add up to ln 2
        r = b.fsub(r, b.fmul(k, self.constant(-2.12194440e-4)))
        p = self.constant(1.9875691500e-4)
        for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            p = b.fadd(b.fmul(p, r), self.constant(c))
        exponent = b.add(b.fptosi(k, vector(INT)), self.constant(127, INT))
        power = b.bitcast(b.shl(exponent, self.constant(23, INT)), vector(FLOAT))
        return b.fmul(b.fadd(b.fadd(b.fmul(b.fmul(p, r), r), r), self.constant(1)), power)

    def sigmoid(self, x: ir.Value) -> ir.Value:
        """Return the sigmoid to float32 precision, by Cephes' expf."""
        b, zero, one = self.builder, self.constant(0), self.constant(1)
        low = b.fneg(self.call("fabs", x))
        t = b.select(b.fcmp_ordered(">", low, self.constant(-87)), low, self.constant(-87))
        k = self.call("floor", self.multiply_add(t, self.constant(1.44269504088896341), self.constant(0.5)))
        r = b.fsub(t, b.fmul(k, self.constant(0.693359375)))  # the two constants add up to ln 2
        r = b.fsub(r, b.fmul(k, self.constant(-2.12194440e-4)))
        p = self.constant(1.9875691500e-4)
        for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            p = self.multiply_add(p, r, self.constant(c))
        exponent = b.add(b.fptosi(k, vector(INT)), self.constant(127, INT))
        power = b.bitcast(b.shl(exponent, self.constant(23, INT)), vector(FLOAT))
        small = b.fmul(b.fadd(self.multiply_add(b.fmul(p, r), r, r), one), power)  # exp(-|x|)
        y = b.fdiv(b.select(b.fcmp_ordered(">=", x, zero), one, small), b.fadd(one, small))
        return b.select(b.fcmp_ordered("ord", x, x), y, x)  # what is not a number must be seen

    def folded(self, a: ir.Value, b: ir.Value, block: int) -> ir.Value:
        """Add each block's first half to its second half, in two vectors of blocks with `block` lanes each."""
        first = [lane for lane in range(2 * LANES) if lane % block < block // 2]
        halves = (ir.Constant(vector(INT), [lane + more for lane in first]) for more in (0, block // 2))
        return self.builder.fadd(*(self.builder.shuffle_vector(a, b, half) for half in halves))

    def lane_sums(self, vectors: list[ir.Value]) -> ir.Value:
        """Return a vector whose first lanes are the sums of the lanes of 1, 2, 4, 8 or 16 vectors, in their order."""
        block = LANES
        while block > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True) if len(vectors) > 1 else [(vectors[0], vectors[0])]
            vectors = [self.folded(a, b, block) for a, b in pairs]
            block //= 2
        return vectors[0]

    def interleaved(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """Return the lanes of 2, 4, 8 or 16 vectors in turns: lane 0 of all vectors, lane 1 of all, and so on.

        With 16 vectors, this is the transposed matrix.
        """
        half = LANES // 2
        masks = [[place for i in range(half) for place in (at + i, at + i + LANES)] for at in (0, half)]
        constants = [ir.Constant(vector(INT), mask) for mask in masks]
        for _ in range(len(vectors).bit_length() - 1):
            pairs = list(zip(vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :], strict=True))
            vectors = [self.builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in constants]
        return vectors


def vector(element: ir.Type) -> ir.VectorType:
    """Return the type of a vector of lanes."""
    return ir.VectorType(element, LANES)


def index_of(number: int) -> ir.Value:
    """Return a constant index."""
    return ir.Constant(ir.IntType(64), number)
