"""CudaCircuit: a circuit runs on packed frames on a GPU, in words of 64 frames."""

import numpy as np
import torch
from numpy.typing import NDArray

from src.circuit import packed_triton_kernels as kernels
from src.circuit.circuit import Circuit

# The values of all nodes for one block of frames stay in the L2 cache (50 MiB on an H100), whatever the batch.
BLOCK_BYTES = 32 * 2**20
WORD_MULTIPLE = 16  # so that a row is whole lines of 128 bytes


class CudaCircuit:
    """A circuit made ready for a device; simplify it first, so that there are fewer gates to run.

    Each node has a row of words, one bit per frame: first the inputs, then the gates by level. The gates of a level are
    one launch, which reads rows of lower levels. The least DRAM traffic is to read the packed bits of a frame and to
    write its counts; in the cache, 3/8 byte per gate and frame come on top of `transpose_frames` and `count_packed`.
    """

    def __init__(self, circuit: Circuit, device: torch.device | str = "cuda") -> None:
        """Copy the circuit to the device."""
        self.num_inputs, self.device = circuit.num_inputs, torch.device(device)
        levels = circuit.levels()[circuit.num_inputs :]
        order = np.argsort(levels, kind="stable")
        self.num_rows = circuit.num_inputs + len(order)
        row = np.arange(self.num_rows)
        row[circuit.num_inputs + order] = np.arange(circuit.num_inputs, self.num_rows)
        indices = np.stack([row[circuit.first], row[circuit.second]])[:, order]
        gates = circuit.gates[order]
        # (first row, gates, indices) per level
        self.levels = [
            (circuit.num_inputs + int(gate[0]), self._tensor(gates[gate]), self._tensor(indices[:, gate]))
            for gate in np.split(np.arange(len(order)), np.flatnonzero(np.diff(levels[order])) + 1)
            if len(gate)
        ]
        self.outputs = self._tensor(row[circuit.outputs].astype(np.int32))
        self.starts = self._tensor(circuit.starts.astype(np.int32))
        self.offsets = self._tensor(circuit.offsets.astype(np.int32))

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the class counts of packed frames, int32 [B, classes]; both are on the device."""
        num_bytes = -(-self.num_inputs // 8)
        shape = frames.ndim == 2 and frames.shape[1] == num_bytes
        if not shape or frames.dtype != torch.uint8 or frames.device != self.outputs.device:
            raise ValueError(
                f"expected packed frames, uint8 [B, {num_bytes}] on {self.outputs.device}, got {frames.dtype} "
                f"{list(frames.shape)} on {frames.device}"
            )
        words = max(BLOCK_BYTES // (8 * self.num_rows) // WORD_MULTIPLE, 1) * WORD_MULTIPLE
        blocks = [self._block(block) for block in frames.contiguous().split(64 * words)]
        return torch.cat(blocks)

    def _block(self, frames: torch.Tensor) -> torch.Tensor:
        words = 2 * max(-(-len(frames) // 128), 1)  # even, so that an access is 16 bytes
        rows = torch.empty(self.num_rows, words, dtype=torch.int64, device=self.device)
        kernels.transpose_frames(frames, self.num_inputs, rows)
        for first, gates, indices in self.levels:
            kernels.evaluate_packed(rows, gates, indices, rows[first : first + len(gates)])
        return kernels.count_packed(rows, self.outputs, self.starts, self.offsets, len(frames))
