"""The network in pipeline stages, and the module that adds up votes: NAME_network and NAME_vote."""

import numpy as np

from src.circuit.luts import lut_cover
from src.circuit.netlist import Netlist
from src.export.rtl.bits import VOTE_BITS, bits_for
from src.export.rtl.lists import unused_wire, wrapped
from src.export.verilog import EXPRESSIONS

# In a vector. Simulators and yosys take a step per assignment, so registers are vectors; but Icarus Verilog copies a
# whole vector for each of its bits that is read.
MOST_REGISTERS = 1000
LEVELS_OF_TRAINED = 2  # what a LUT of trained gates counts for: it reads any others, so its wires are long


def network_module(name: str, netlist: Netlist, levels_per_stage: int) -> tuple[str, int]:
    """Return NAME_network, which takes a frame in each cycle, and its number of stages.

    A stage has LUTs of `levels_per_stage` levels, of which those of trained gates count twice, or a single LUT that
    counts for more. Behind it is a register for each value that a later stage reads. Registers lie where the LUTs of a
    cover begin, so that no gates are divided that synthesis would put into one LUT. A gate that is within LUTs of
    several stages is there in each.
    """
    pipeline = _Pipeline(netlist, levels_per_stage)
    for root in pipeline.roots:
        pipeline.add(root, int(pipeline.stages[root]))
    num_stages, num_inputs = pipeline.num_stages, netlist.num_inputs
    ports, assigns = [], []
    for bus, nodes in netlist.buses.items():
        ports.append(f"    output wire [{len(nodes) - 1}:0] {bus}")
        bits = wrapped(pipeline.value(node, num_stages) for node in reversed(nodes))
        assigns.append(f"    assign {bus} = {{\n{bits}\n    }};")
    registers = [
        _registers(stage, number, sources[first : first + MOST_REGISTERS])
        for stage, sources in enumerate(pipeline.held)
        for number, first in enumerate(range(0, len(sources), MOST_REGISTERS))
    ]
    unread = unused_wire(
        [f"sample[{node}]" for node in range(num_inputs) if node not in pipeline.read]
        + [f"frame_at[{stage}]" for stage, sources in enumerate(pipeline.held) if not sources]
    )
    luts = len(pipeline.roots)
    text = f"""\
// {len(netlist.gates)} gates, those of the class counts and of the best class included: about {luts} LUTs of six
// inputs, in {num_stages} stages (--levels-per-stage {levels_per_stage}; a LUT of trained gates counts twice). Takes a
// frame in each cycle and gives its counts {num_stages} cycles later.
module {name}_network (
    input wire clk,
    input wire [{num_stages - 1}:0] frame_at,  // bit s: stage s has a frame; other stages keep what they have
    input wire [{num_inputs - 1}:0] sample,
{("," + chr(10)).join(ports)}
);
{chr(10).join(declaration for declaration, _ in registers)}
{chr(10).join(pipeline.lines)}
{chr(10).join(update for _, update in registers)}
{chr(10).join(assigns)}
{unread}endmodule
"""
    return text, num_stages


def _next(latest: tuple[int, int], weight: int, levels_per_stage: int) -> tuple[int, int]:
    """Return the stage of a LUT, and its level there, from those of the latest of its leaves."""
    stage, level = latest
    if level == 0 or level + weight <= levels_per_stage:
        return stage, level + weight
    return stage + 1, weight


def _registers(stage: int, number: int, sources: list[str]) -> tuple[str, str]:
    """Return the declaration of a vector of the registers behind a stage, and what writes it."""
    name, bits = f"held{stage}_{number}", wrapped(reversed(sources))
    update = f"    always @(posedge clk) if (frame_at[{stage}]) {name} <= {{\n{bits}\n    }};"
    return f"    reg [{len(sources) - 1}:0] {name};", update


class _Pipeline:
    """The gates of a netlist in stages, as lines of Verilog.

    Attributes:
        roots: the nodes that LUTs compute, ascending.
        stages: the stage of each root, 0 for inputs, and -1 for gates that are within LUTs only.
        num_stages: their number, at least 1.
        read: the inputs that a gate, a register or an output reads.
        held: the names of the values that registers behind each stage hold.
        lines: a wire for each gate, in an order in which the inputs of a gate come before it.
    """

    def __init__(self, netlist: Netlist, levels_per_stage: int) -> None:
        cover = lut_cover(netlist)
        self.roots = cover.roots.tolist()
        self.stages = np.full(netlist.num_inputs + len(netlist.gates), -1)
        self.stages[: netlist.num_inputs] = 0
        levels = dict.fromkeys(range(netlist.num_inputs), (0, 0))  # the stage of each root, and its level there
        for root, leaves in zip(self.roots, cover.leaves, strict=True):
            is_trained = root < netlist.num_inputs + netlist.num_trained
            levels[root] = _next(
                max(levels[leaf] for leaf in leaves), LEVELS_OF_TRAINED if is_trained else 1, levels_per_stage
            )
            self.stages[root] = levels[root][0]
        self.num_stages = int(self.stages[self.roots].max(initial=0)) + 1
        self.read: set[int] = set()
        self.held: list[list[str]] = [[] for _ in range(self.num_stages)]
        self.lines: list[str] = []
        self._gates = list(zip(netlist.gates.tolist(), netlist.first.tolist(), netlist.second.tolist(), strict=True))
        self._num_inputs = netlist.num_inputs
        # Names of registers, and of gates that are within LUTs, by node and stage.
        self._names: dict[tuple[int, int], str] = {}

    def add(self, node: int, stage: int) -> str:
        """Add the wire of a gate in a stage, and of those that it needs there; return its name."""
        gate, a, b = self._gates[node - self._num_inputs]
        expression = EXPRESSIONS[gate]
        operands = {
            letter: self.value(operand, stage)
            for letter, operand in (("a", a), ("b", b))
            if f"{{{letter}}}" in expression
        }
        own = "" if self.stages[node] == stage else f"_{stage}"
        wire = f"g{node - self._num_inputs}{own}"
        self.lines.append(f"    wire {wire} = {expression.format(**operands)};")
        return wire

    def value(self, node: int, stage: int) -> str:
        """Return the name of a node's value in a stage."""
        if node < 0:
            return f"1'b{node + 2}"
        if self.stages[node] == stage:
            if node >= self._num_inputs:
                return f"g{node - self._num_inputs}"
            self.read.add(node)
            return f"sample[{node}]"
        if (node, stage) not in self._names:
            is_held = 0 <= self.stages[node] < stage
            self._names[node, stage] = self._hold(node, stage - 1) if is_held else self.add(node, stage)
        return self._names[node, stage]

    def _hold(self, node: int, stage: int) -> str:
        """Add a register behind a stage; return its name."""
        held = self.held[stage]
        number, bit = divmod(len(held), MOST_REGISTERS)
        held.append(self.value(node, stage))
        return f"held{stage}_{number}[{bit}]"


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
