"""The network in pipeline stages, and the module that adds up votes: NAME_network and NAME_vote."""

import numpy as np
from numpy.typing import NDArray

from src.circuit.netlist import Netlist
from src.circuit.schedule import node_levels
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.rtl.lists import unused_wire, wrapped
from src.export.verilog import EXPRESSIONS


def network_module(name: str, netlist: Netlist, levels_per_stage: int) -> tuple[str, int]:
    """Return NAME_network, which takes a frame in each cycle, and its number of stages.

    A stage holds gates of `levels_per_stage` levels, and a register for each value that a later stage reads.
    """
    num_inputs = netlist.num_inputs
    gates = list(zip(netlist.gates.tolist(), netlist.first.tolist(), netlist.second.tolist(), strict=True))
    outputs = [node for bus in netlist.buses.values() for node in bus if node >= 0]
    is_read = _read_nodes(num_inputs, gates, outputs)
    levels = node_levels(num_inputs, netlist.first, netlist.second)
    stages = np.maximum(levels - 1, 0) // levels_per_stage
    num_stages = int(stages[outputs].max(initial=0)) + 1
    last_read = stages.copy()  # the last stage that reads a node
    for g, (gate, a, b) in enumerate(gates):
        if is_read[num_inputs + g]:
            for node in _inputs(gate, a, b):
                last_read[node] = max(last_read[node], stages[num_inputs + g])
    last_read[outputs] = num_stages
    lines: list[str] = []
    updates: list[list[str]] = [[] for _ in range(num_stages)]

    def value(node: int, stage: int) -> str:
        """Return the name of a node's value in a stage."""
        if node < 0:
            return f"1'b{node + 2}"
        if stage == stages[node]:
            return f"sample[{node}]" if node < num_inputs else f"g{node - num_inputs}"
        return f"n{node}_{stage}"

    for g, (gate, a, b) in enumerate(gates):
        if not is_read[num_inputs + g]:
            continue
        stage = int(stages[num_inputs + g])
        expression = EXPRESSIONS[gate].format(a=value(a, stage), b=value(b, stage))
        lines.append(f"    wire g{g} = {expression};")
    declarations = []
    for node in np.flatnonzero(is_read).tolist():
        for stage in range(int(stages[node]) + 1, int(last_read[node]) + 1):
            declarations.append(f"    reg n{node}_{stage};")
            updates[stage - 1].append(f"            n{node}_{stage} <= {value(node, stage - 1)};")
    ports, assigns = [], []
    for bus, nodes in netlist.buses.items():
        ports.append(f"    output wire [{len(nodes) - 1}:0] {bus}")
        bits = wrapped(value(node, num_stages) for node in reversed(nodes))
        assigns.append(f"    assign {bus} = {{\n{bits}\n    }};")
    blocks = [
        "\n".join([f"        if (frame_at[{stage}]) begin", *lines_of_stage, "        end"])
        for stage, lines_of_stage in enumerate(updates)
    ]
    unread = unused_wire(f"sample[{node}]" for node in range(num_inputs) if not is_read[node])
    text = f"""\
// {len(lines)} gates, those of the class counts and of the best class included, in {num_stages} stages of up to
// {levels_per_stage} gates in a row. Takes a frame in each cycle and gives its counts {num_stages} cycles later.
module {name}_network (
    input wire clk,
    input wire [{num_stages - 1}:0] frame_at,  // bit s: stage s has a frame; other stages keep what they have
    input wire [{num_inputs - 1}:0] sample,
{("," + chr(10)).join(ports)}
);
{chr(10).join(declarations)}
{chr(10).join(lines)}
    always @(posedge clk) begin
{chr(10).join(blocks)}
    end
{chr(10).join(assigns)}
{unread}endmodule
"""
    return text, num_stages


def _inputs(gate: int, a: int, b: int) -> list[int]:
    """Return the inputs that a gate does not ignore."""
    return [node for letter, node in (("a", a), ("b", b)) if f"{{{letter}}}" in EXPRESSIONS[gate]]


def _read_nodes(num_inputs: int, gates: list[tuple[int, int, int]], outputs: list[int]) -> NDArray[np.bool_]:
    """Return which nodes the outputs depend on."""
    is_read = np.zeros(num_inputs + len(gates), bool)
    is_read[outputs] = True
    for g in range(len(gates) - 1, -1, -1):
        if is_read[num_inputs + g]:
            is_read[_inputs(*gates[g])] = True
    return is_read


def vote_module(name: str, num_classes: int, count_width: int, vote_bits: int = VOTE_BITS) -> str:
    """Return NAME_vote: adds up the class counts of a recording's frames, and finds the first of the largest sums.

    A sum has `vote_bits` bits more than a class count.
    """
    width, class_bits = count_width + vote_bits, bits_for(num_classes - 1)
    full = wrapped((f"&sums[{width * (c + 1) - 1}:{width * c + count_width}]" for c in range(num_classes)), " |")
    return f"""\
// Adds up the class counts of the frames of a recording. {num_classes + 1} cycles after its end, its class is the first
// of the largest sums, which are compared one per cycle. Frames are left out, which recording_overflow tells until the
// recording has ended, as soon as one more could be too much for one of the sums.
module {name}_vote (
    input wire clk,
    input wire rst,
    input wire frame_valid,
    input wire [{num_classes * count_width - 1}:0] counts,
    input wire ends,
    output reg recording_valid,
    output reg [{class_bits - 1}:0] recording_class,
    output wire [{num_classes * width - 1}:0] recording_counts,
    output reg recording_overflow
);
    reg [{num_classes * width - 1}:0] sums;  // after the end, rotated by one class per cycle
    reg [{width - 1}:0] most;
    reg [{class_bits}:0] at;  // the class that is compared in this cycle; {num_classes}: none
    // The bits of a sum that a class count does not have are all 1.
    wire full =
{full};
    assign recording_counts = sums;
    integer c;
    always @(posedge clk) begin
        recording_valid <= 1'b0;
        if (frame_valid && full) recording_overflow <= 1'b1;
        if (frame_valid && !full) begin
            for (c = 0; c < {num_classes}; c = c + 1)
                sums[{width} * c +: {width}] <=
                    sums[{width} * c +: {width}] + {{{vote_bits}'d0, counts[{count_width} * c +: {count_width}]}};
        end
        if (ends) at <= {class_bits + 1}'d0;
        if (at != {class_bits + 1}'d{num_classes}) begin
            sums <= {{sums[{width - 1}:0], sums[{num_classes * width - 1}:{width}]}};
            if (at == {class_bits + 1}'d0 || sums[{width - 1}:0] > most) begin
                most <= sums[{width - 1}:0];
                recording_class <= at[{class_bits - 1}:0];
            end
            at <= at + {class_bits + 1}'d1;
            recording_valid <= at == {class_bits + 1}'d{num_classes - 1};
        end
        if (rst || recording_valid) begin
            sums <= {num_classes * width}'d0;
            recording_overflow <= 1'b0;
        end
        if (rst) begin
            at <= {class_bits + 1}'d{num_classes};
            recording_valid <= 1'b0;
        end
    end
endmodule
"""
