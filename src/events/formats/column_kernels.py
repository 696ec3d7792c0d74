"""The kernels of tables: integer columns to the arrays of `Events` in one pass, with what a check of them needs."""

import functools
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

# Places in the summary of `copy_columns`.
MOST_X, MOST_Y, MOST_T, MOST_P, HAS_P_MINUS, HAS_P_ZERO, NUM_BACK = range(7)
LATEST = 10**17  # microseconds; a timestamp behind the year 5000 is a mistake, such as nanoseconds
# What is added before numbers are compared as unsigned ones, so that -SHIFT becomes 0, and what is below it very large.
SHIFT_T, SHIFT_P = LATEST - 1, 1

ROW_BYTES, WORD_BYTES = 16, 8  # of rows that `copy_packed` takes, and of their two words
_SOME = 1 << 10  # rows that it takes apart at once, which stay in the fastest cache


def can_copy(columns: tuple[NDArray[Any], ...]) -> bool:
    """Return whether `copy_columns` takes these columns: integers of up to 8 bytes that an int64 holds."""
    return all(
        column.dtype.kind in "iu" and column.dtype != np.uint64 and column.dtype.isnative and column.flags.aligned
        for column in columns
    )


class Packed(NamedTuple):
    """Rows of 16 bytes, as those of Metavision: a timestamp of 8 bytes, and x, y and p in the other 8.

    Attributes:
        words: the rows, uint64 [N, 2].
        t_word: which word the timestamp is.
        bits: of x, y and p each: the place in the other word and the number of bits, uint64 [3, 2].
        p_sign: the highest bit of polarities that have a sign; 0 for others.
    """

    words: NDArray[np.uint64]
    t_word: int
    bits: NDArray[np.uint64]
    p_sign: np.uint64


def packed(rows: NDArray[Any], names: tuple[str, ...]) -> Packed | None:
    """Return rows [N], whose fields x, y, t and p have these names; None if `copy_packed` does not take them."""
    places = _places(rows.dtype, names)
    if places is None or not rows.flags.c_contiguous:
        return None
    words = rows.view(np.uint64).reshape(-1, 2)
    words = words if words.flags.aligned else words.copy()
    words.flags.writeable = False  # the kernel is compiled for this kind of array only
    return Packed(words, *places)


@functools.lru_cache(maxsize=8)
def _places(dtype: np.dtype[Any], names: tuple[str, ...]) -> tuple[int, NDArray[np.uint64], np.uint64] | None:
    if dtype.fields is None or dtype.itemsize != ROW_BYTES or sys.byteorder != "little":
        return None
    fields = [dtype.fields[name][:2] for name in names]
    (x_type, _), (y_type, _), (t_type, t_at), (p_type, _) = fields
    others = [fields[0], fields[1], fields[3]]
    if t_type != np.int64 or t_at % WORD_BYTES or x_type.kind != "u" or y_type.kind != "u" or p_type.kind not in "iu":
        return None
    if any(kind.itemsize > 2 or not kind.isnative or at // WORD_BYTES == t_at // WORD_BYTES for kind, at in others):
        return None
    bits = np.array([(8 * (at % WORD_BYTES), 8 * kind.itemsize) for kind, at in others], np.uint64)
    if bits.sum(axis=1).max() > 8 * WORD_BYTES:
        return None
    sign = 1 << 8 * p_type.itemsize - 1 if p_type.kind == "i" else 0
    return t_at // WORD_BYTES, bits, np.uint64(sign)


@cached_njit(nogil=True)
def copy_packed(
    words: NDArray[np.uint64],
    t_word: int,
    bits: NDArray[np.uint64],
    p_sign: np.uint64,
    new_x: NDArray[np.uint16],
    new_y: NDArray[np.uint16],
    new_t: NDArray[np.int64],
    new_p: NDArray[np.uint8],
) -> NDArray[np.uint64]:
    """Do what `copy_columns` does with packed rows, in half of its time, since they are read word by word."""
    one = np.uint64(1)
    x_at, y_at, p_at = bits[0, 0], bits[1, 0], bits[2, 0]
    x_mask, y_mask, p_mask = (one << bits[0, 1]) - one, (one << bits[1, 1]) - one, (one << bits[2, 1]) - one
    summary = np.zeros(7, np.uint64)
    before: Any = np.iinfo(np.int64).min
    x, y, p = np.empty(_SOME, np.uint16), np.empty(_SOME, np.uint16), np.empty(_SOME, np.int32)
    t = np.empty(_SOME, np.int64)
    for begin in range(0, len(words), _SOME):
        n = min(_SOME, len(words) - begin)
        some = words[begin : begin + n]
        for i in range(n):
            t[i] = np.int64(some[i, t_word])
            word = some[i, 1 - t_word]
            x[i], y[i] = (word >> x_at) & x_mask, (word >> y_at) & y_mask
            p[i] = np.int64(((word >> p_at) & p_mask) ^ p_sign) - np.int64(p_sign)
        new = new_x[begin : begin + n], new_y[begin : begin + n], new_t[begin : begin + n], new_p[begin : begin + n]
        _copy(x[:n], y[:n], t[:n], p[:n], *new, summary, before)
        before = t[n - 1]
    return summary


@cached_njit(nogil=True)
def copy_columns(
    x: NDArray[Any],
    y: NDArray[Any],
    t: NDArray[Any],
    p: NDArray[Any],
    new_x: NDArray[np.uint16],
    new_y: NDArray[np.uint16],
    new_t: NDArray[np.int64],
    new_p: NDArray[np.uint8],
) -> NDArray[np.uint64]:
    """Write the columns [N] to the new ones; return what tells whether they fit, uint64 [7].

    What does not fit is cut to the lowest bits, and a polarity is 1 or not. Numbers are compared as unsigned ones, so
    that one comparison finds those that are too large and those that are negative: MOST_X and MOST_Y are the largest
    coordinates, MOST_T the largest timestamp plus SHIFT_T, MOST_P the largest polarity plus SHIFT_P.
    """
    summary = np.zeros(7, np.uint64)
    _copy(x, y, t, p, new_x, new_y, new_t, new_p, summary, np.iinfo(np.int64).min)
    return summary


@cached_njit(nogil=True)
def _copy(
    x: NDArray[Any],
    y: NDArray[Any],
    t: NDArray[Any],
    p: NDArray[Any],
    new_x: NDArray[np.uint16],
    new_y: NDArray[np.uint16],
    new_t: NDArray[np.int64],
    new_p: NDArray[np.uint8],
    summary: NDArray[np.uint64],
    before: Any,
) -> None:
    """Write rows to the new columns, and what `copy_columns` returns to `summary`; `before` is the timestamp before."""
    most_x = most_y = most_t = most_p = num_back = np.uint64(0)
    has_minus: Any = False
    has_zero: Any = False
    for i in range(len(t)):
        xi, yi, ti, pi = np.int64(x[i]), np.int64(y[i]), np.int64(t[i]), np.int64(p[i])
        most_x, most_y = max(most_x, np.uint64(xi)), max(most_y, np.uint64(yi))
        most_t, most_p = max(most_t, np.uint64(ti + SHIFT_T)), max(most_p, np.uint64(pi + SHIFT_P))
        has_minus |= pi < 0
        has_zero |= pi == 0
        num_back += np.uint64(ti < before)
        before = ti
        new_x[i], new_y[i], new_t[i], new_p[i] = xi, yi, ti, pi == 1
    summary[MOST_X], summary[MOST_Y] = max(summary[MOST_X], most_x), max(summary[MOST_Y], most_y)
    summary[MOST_T], summary[MOST_P] = max(summary[MOST_T], most_t), max(summary[MOST_P], most_p)
    summary[HAS_P_MINUS] |= np.uint64(has_minus)
    summary[HAS_P_ZERO] |= np.uint64(has_zero)
    summary[NUM_BACK] += num_back
