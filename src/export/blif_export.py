"""The export of a network as BLIF, for ABC, VTR, mockturtle and other tools of logic synthesis."""

from src.circuit.netlist import netlist_of
from src.export.blif import to_blif
from src.export.exported import Export, ExportedModel


def export(exported: ExportedModel) -> Export:
    """Return the network of a frame with its counters and the comparison of the classes, as one model."""
    name = f"{exported.name}_classify"
    netlist = netlist_of(exported.circuit)
    about = [
        *exported.description.lines(exported.circuit),
        "frame: the bits of a frame. count0, count1 and so on: the class counts. best_class: the first of the largest.",
    ]
    comments = "".join(f"# {line}\n" for line in about)
    return Export({f"{name}.blif": comments + to_blif(netlist, name)}, exported.size)
