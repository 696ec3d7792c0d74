"""A circuit as text for other tools: C, Verilog, JSON; and the size that Yosys gives it."""

from src.export.c99 import to_c
from src.export.circuit_json import from_json, to_json
from src.export.description import Description, channel_names, identifier, mark_of, source_in
from src.export.verilog import to_verilog
from src.export.yosys import estimate_luts, warn_if_too_large

__all__ = [
    "Description",
    "channel_names",
    "estimate_luts",
    "from_json",
    "identifier",
    "mark_of",
    "source_in",
    "to_c",
    "to_json",
    "to_verilog",
    "warn_if_too_large",
]
