"""The names in an exported circuit, and the text by which it describes itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from src.circuit.circuit import Circuit


@dataclass(frozen=True)
class Description:
    """The names in an export.

    Attributes:
        name: name of files, functions and modules; an `identifier`.
        frame_shape: (P, H, W); bit (p * H + y) * W + x of a frame is pixel x, y of polarity p.
        class_names: in the order of the counts.
        channels: what each of the P channels holds, see `channel_names`; () if they are the polarities.
        source: what was exported, see `mark_of`; "" if the files need not say it.
    """

    name: str
    frame_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    channels: tuple[str, ...] = ()
    source: str = ""

    def lines(self, circuit: Circuit) -> list[str]:
        """Return lines with what a reader of the file must know."""
        channels, height, width = self.frame_shape
        what = "channels" if self.channels else "polarities"
        return [
            f"{self.name}: a network of {len(circuit.gates)} logic gates that classifies binary event frames,",
            f"[{channels} {what}, {height} rows, {width} columns] in C order: pixel (p, y, x) is bit "
            f"(p * {height} + y) * {width} + x of a frame.",
            *(f"Channel {number}: {channel}." for number, channel in enumerate(self.channels)),
            f"A class's score is its count divided by {circuit.tau!r}; a frame's class is the first of the largest.",
            f"Written by {mark_of(self.source)}; write it again instead of changing it.",
        ]


def channel_names(stack: int, polarities: int, thresholds: Sequence[int] = ()) -> tuple[str, ...]:
    """Say what each channel of stacked or thermometer-encoded frames holds; frame 0 is the newest, -1 one before."""
    return tuple(
        f"frame {frame}, polarity {polarity}{bit}"
        for frame in range(1 - stack, 1)
        for polarity in range(polarities)
        for bit in ([f", count > {threshold}" for threshold in thresholds] or [""])
    )


def identifier(name: str) -> str:
    """Turn a job id into a name that C and Verilog can use: letters, digits and _, beginning with a letter."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return name if name[0].isalpha() else f"net_{name}"


def mark_of(source: str) -> str:
    """Return the words of an exported file that name what was exported: a job id or the name of a model file."""
    of = f" of <{re.sub(r'[^A-Za-z0-9._-]', '_', source)}>" if source else ""
    return f"DiffLogic Tonic's export{of}"


def source_in(content: bytes) -> str | None:
    """Return the source that an exported file names by `mark_of`; None if there is none."""
    found = re.search(rb"DiffLogic Tonic's export of <([A-Za-z0-9._-]*)>", content)
    return found[1].decode() if found else None
