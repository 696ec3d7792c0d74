"""A toy export target: the kinds of a circuit's gates as text."""

from src.export.exported import Export, ExportedModel


def export(exported: ExportedModel) -> Export:
    """Return one file with a line per kind of gate."""
    lines = [f"{count} {kind}\n" for kind, count in exported.circuit.gate_counts().items()]
    return Export({f"{exported.name}.txt": "".join(lines)}, exported.size)
