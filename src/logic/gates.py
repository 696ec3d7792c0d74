"""The sixteen gates of two inputs, and their bilinear forms."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

# Gate i in difflogic's order (Petersen et al. 2022, table 1): its output for (a, b) = (0,0), (0,1), (1,0), (1,1) is the
# number i in binary.
GATE_NAMES = (
    "false",
    "a and b",
    "a and not b",
    "a",
    "not a and b",
    "b",
    "a xor b",
    "a or b",
    "a nor b",
    "a xnor b",
    "not b",
    "a or not b",
    "not a",
    "not a or b",
    "a nand b",
    "true",
)
FREE_GATES = tuple(map(GATE_NAMES.index, ("false", "a", "b", "not b", "not a", "true")))  # constants and wires
PASS_THROUGH = GATE_NAMES.index("a")
PLACES = (8, 4, 2, 1)  # a truth table's places: the gates that are 1 for (0,0), (0,1), (1,0) or (1,1) alone

# What a kernel computes from a gate's bilinear form: the form itself, its sigmoid, or whether it is above 0, with the
# gradient of the sigmoid.
FORM, SIGMOID, STEP = 0, 1, 2


def gate_coefficients(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """Return the matrix M [16, 4] with gate i (a, b) = M[i] · (1, a, b, ab); its entries are whole numbers.

    A mixture of gates with probabilities q is then q @ M: four coefficients per neuron stand for sixteen gates.
    """
    rows = []
    for gate in range(16):
        f00, f01, f10, f11 = (gate >> 3 & 1, gate >> 2 & 1, gate >> 1 & 1, gate & 1)
        rows.append([f00, f10 - f00, f01 - f00, f11 - f10 - f01 + f00])
    return torch.tensor(rows, dtype=dtype, device=device)


@functools.cache
def gate_forms(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return `gate_coefficients`, made once per device, since a GPU would wait for the copy in every step."""
    return gate_coefficients(dtype, device)


@functools.cache
def place_forms(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the bilinear forms [4, 4] of PLACES: a truth table times them is the form with its values at the corners.

    Made once per device.
    """
    return gate_coefficients(dtype, device)[list(PLACES)]


def excess_influence(tables: torch.Tensor) -> torch.Tensor:
    """Return how far each gate is from a constant or a wire, [gates], by the probabilities of a 1 at its corners.

    tables is [gates, 2^k]. The influence of an input is the probability that the corners of an edge along it differ, on
    average over all edges. Those of all inputs but the largest are added up and divided by k - 1, so that parity has 1.
    """
    fan_in = tables.shape[1].bit_length() - 1
    influences = []
    for i in range(fan_in):
        zero, one = tables.unflatten(1, (2**i, 2, -1)).unbind(2)
        influences.append((zero * (1 - one) + one * (1 - zero)).mean((1, 2)))
    by_input = torch.stack(influences, 1)
    return (by_input.sum(1) - by_input.max(1).values) / (fan_in - 1)


def inputs_that_matter(tables: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return on how many of its inputs each gate depends, int64 [gates], from truth tables [gates, 2^k]."""
    fan_in = tables.shape[1].bit_length() - 1
    found = np.zeros(len(tables), np.int64)
    for i in range(fan_in):
        zero, one = np.moveaxis(tables.reshape(len(tables), 2**i, 2, -1), 2, 0)
        found += (zero != one).any((1, 2))
    return found
