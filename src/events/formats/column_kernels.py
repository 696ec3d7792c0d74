"""The kernel of tables: integer columns to the arrays of `Events` in one pass, with what a check of them needs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.kernel_cache import cached_njit

# Places in the summary of `copy_columns`.
MOST_X, MOST_Y, MOST_T, MOST_P, HAS_P_MINUS, HAS_P_ZERO, NUM_BACK = range(7)
LATEST = 10**17  # microseconds; a timestamp behind the year 5000 is a mistake, such as nanoseconds
# What is added before numbers are compared as unsigned ones, so that -SHIFT becomes 0, and what is below it very large.
SHIFT_T, SHIFT_P = LATEST - 1, 1


def can_copy(columns: tuple[NDArray[Any], ...]) -> bool:
    """Return whether `copy_columns` takes these columns: integers of up to 8 bytes that an int64 holds."""
    return all(
        column.dtype.kind in "iu" and column.dtype != np.uint64 and column.dtype.isnative and column.flags.aligned
        for column in columns
    )


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
    most_x = most_y = most_t = most_p = num_back = np.uint64(0)
    has_minus: Any = False
    has_zero: Any = False
    before: Any = np.iinfo(np.int64).min
    for i in range(len(t)):
        xi, yi, ti, pi = np.int64(x[i]), np.int64(y[i]), np.int64(t[i]), np.int64(p[i])
        most_x, most_y = max(most_x, np.uint64(xi)), max(most_y, np.uint64(yi))
        most_t, most_p = max(most_t, np.uint64(ti + SHIFT_T)), max(most_p, np.uint64(pi + SHIFT_P))
        has_minus |= pi < 0
        has_zero |= pi == 0
        num_back += np.uint64(ti < before)
        before = ti
        new_x[i], new_y[i], new_t[i], new_p[i] = xi, yi, ti, pi == 1
    return np.array([most_x, most_y, most_t, most_p, np.uint64(has_minus), np.uint64(has_zero), num_back], np.uint64)
