"""The sixteen gates of two inputs, and their bilinear form."""

import torch

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


def gate_coefficients(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """The matrix M [16, 4] with gate i (a, b) = M[i] · (1, a, b, ab), whose entries are whole numbers.

    A mixture of gates with probabilities q is then q @ M: four coefficients a neuron stand for sixteen gates.
    """
    rows = []
    for gate in range(16):
        f00, f01, f10, f11 = (gate >> 3 & 1, gate >> 2 & 1, gate >> 1 & 1, gate & 1)
        rows.append([f00, f10 - f00, f01 - f00, f11 - f10 - f01 + f00])
    return torch.tensor(rows, dtype=dtype, device=device)
