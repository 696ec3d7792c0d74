"""Netlist -> BLIF, the Berkeley Logic Interchange Format, which synthesis tools read much faster than Verilog.

ABC, VTR and mockturtle read it too.
"""

from src.circuit.netlist import Netlist


def to_blif(netlist: Netlist, name: str) -> str:
    """Return a netlist as a model of this name, whose ports are `frame` and the netlist's buses, in BLIF.

    Yosys makes ports of several bits of it by `read_blif -wideports`.
    """
    names = [f"frame[{i}]" for i in range(netlist.num_inputs)] + [f"g{g}" for g in range(len(netlist.gates))]
    names += ["zero", "one"]  # the nodes -2 and -1
    ports = {f"{bus}[{i}]": node for bus, nodes in netlist.buses.items() for i, node in enumerate(nodes)}
    lines = [f".model {name}", f".inputs {' '.join(names[: netlist.num_inputs])}", f".outputs {' '.join(ports)}"]
    lines += [".names zero", ".names one", "1"]
    gates = zip(netlist.gates.tolist(), netlist.first.tolist(), netlist.second.tolist(), strict=True)
    for g, (gate, a, b) in enumerate(gates):
        lines.append(f".names {names[a]} {names[b]} g{g}" if a != b else f".names {names[a]} g{g}")
        lines += _rows(gate) if a != b else _rows_of_one(gate)
    for port, node in ports.items():
        lines += [f".names {names[node]} {port}", "1 1"]
    return "\n".join([*lines, ".end", ""])


def _rows(gate: int) -> list[str]:
    """Return the rows of a gate's truth table whose output is 1: those of a and b, and a 1."""
    return [f"{row >> 1}{row & 1} 1" for row in range(4) if gate >> 3 - row & 1]


def _rows_of_one(gate: int) -> list[str]:
    return [f"{bit} 1" for bit in (0, 1) if gate >> 3 - 3 * bit & 1]
