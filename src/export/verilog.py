"""Circuit -> Verilog-2001: a combinational module and a test bench with frames."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.export.description import Description, mark_of
from src.export.exported import Export, ExportedModel
from src.export.synthesis import registered_circuit

# Expressions of the gates, in the order of `src.logic.gates`.
EXPRESSIONS = (
    "1'b0",
    "{a} & {b}",
    "{a} & ~{b}",
    "{a}",
    "~{a} & {b}",
    "{b}",
    "{a} ^ {b}",
    "{a} | {b}",
    "~({a} | {b})",
    "~({a} ^ {b})",
    "~{b}",
    "{a} | ~{b}",
    "~{a}",
    "~{a} | {b}",
    "~({a} & {b})",
    "1'b1",
)

# A sum of six bits takes three LUTs of six inputs on an FPGA, so trees of such sums are smaller than trees of adders.
_FUNCTIONS = """
    function [2:0] ones6(input a, input b, input c, input d, input e, input f);
        ones6 = {2'd0, a} + {2'd0, b} + {2'd0, c} + {2'd0, d} + {2'd0, e} + {2'd0, f};
    endfunction

    function [1:0] ones3(input a, input b, input c);
        ones3 = {1'd0, a} + {1'd0, b} + {1'd0, c};
    endfunction
"""


def export(exported: ExportedModel) -> Export:
    """Return the Verilog files of a model's circuit."""
    circuit, examples = exported.circuit, exported.examples
    files = to_verilog(circuit, exported.description, examples.frames, examples.counts, examples.what)
    what = f"{exported.size}, to be tested with {examples.what}"
    return Export({**files}, what, design=lambda family: registered_circuit(circuit, exported.name, family))


def to_verilog(
    circuit: Circuit, description: Description, frames: NDArray[np.uint8], counts: NDArray[np.int32], frames_are: str
) -> dict[str, str]:
    """Return the module NAME_classify, its test bench, and the frames and outputs that the bench reads, by file name.

    The arguments are those of `to_c`.
    """
    module = f"{description.name}_classify"
    return {
        f"{module}.v": _module(circuit, description),
        f"{module}_test.v": _test_bench(circuit, description, len(frames), frames_are),
        f"{module}_frames.hex": _hex_lines(_frame_numbers(frames), circuit.num_inputs),
        f"{module}_expected.hex": _hex_lines(_output_numbers(circuit, counts), _output_width(circuit)),
    }


def count_width(circuit: Circuit) -> int:
    """Return the number of bits of a class count."""
    return max(int((np.diff(circuit.starts) + circuit.offsets).max()).bit_length(), 1)


def class_width(circuit: Circuit) -> int:
    """Return the number of bits of a class's number."""
    return max((circuit.num_classes - 1).bit_length(), 1)


def _output_width(circuit: Circuit) -> int:
    return class_width(circuit) + circuit.num_classes * count_width(circuit)


def _module(circuit: Circuit, description: Description) -> str:
    width, classes = count_width(circuit), circuit.num_classes
    names = [f"frame[{i}]" for i in range(circuit.num_inputs)] + [f"g{g}" for g in range(len(circuit.gates))]
    body, unread = _gates(circuit, names)
    for c in range(classes):
        outputs = [names[node] for node in circuit.outputs[circuit.starts[c] : circuit.starts[c + 1]].tolist()]
        lines, zeros = _adder_tree(f"count{c}", outputs, int(circuit.offsets[c]), width)
        body += lines
        unread += zeros
    body.append(f"    assign counts = {{{', '.join(f'count{c}' for c in reversed(range(classes)))}}};")
    body += _best_class(classes, width, class_width(circuit))
    if unread:  # linters want a reader of everything
        body.append(f"    wire _unused = &{{1'b0, {', '.join(unread)}}};")
    head = description.lines(circuit)
    head += [f"Class {c}: {class_name!a}." for c, class_name in enumerate(description.class_names)]
    head += [
        f"Combinational. Class c's count is counts[{width} * c +: {width}]; best_class is the first of the largest.",
        "Leave open what you do not need: synthesis removes what only it depends on.",
    ]
    return f"""\
// {f"{chr(10)}// ".join(head)}
module {description.name}_classify (
    input wire [{circuit.num_inputs - 1}:0] frame,
    output wire [{classes * width - 1}:0] counts,
    output wire [{class_width(circuit) - 1}:0] best_class
);
{_FUNCTIONS}
{chr(10).join(body)}
endmodule
"""


def _gates(circuit: Circuit, names: list[str]) -> tuple[list[str], list[str]]:
    """Return lines that declare one wire per gate, and the nodes that nothing reads."""
    lines = []
    read = np.zeros(len(names), bool)
    read[circuit.outputs] = True
    gates = zip(circuit.gates.tolist(), circuit.first.tolist(), circuit.second.tolist(), strict=True)
    for g, (gate, a, b) in enumerate(gates):
        expression = EXPRESSIONS[gate]
        lines.append(f"    wire g{g} = {expression.format(a=names[a], b=names[b])};")
        read[a] |= "{a}" in expression
        read[b] |= "{b}" in expression
    return lines, [names[node] for node in np.flatnonzero(~read).tolist()]


def _adder_tree(name: str, bits: list[str], offset: int, width: int) -> tuple[list[str], list[str]]:
    """Return lines that declare `name`, the number of bits that are 1 plus the offset; and carries that stay 0."""
    lines: list[str] = []
    planes = [deque(bits)] + [deque[str]() for _ in range(width + 1)]  # bits of weight 1, 2, 4 and so on
    for p in range(width):
        if offset >> p & 1:
            planes[p].append("1'b1")
    for p, plane in enumerate(planes[:width]):
        while len(plane) > 1:
            size = 6 if len(plane) > 3 else 3
            taken = [plane.popleft() for _ in range(min(size, len(plane)))]
            total = f"{name}_{len(lines)}"
            highest = size.bit_length() - 1
            taken += ["1'b0"] * (size - len(taken))
            lines.append(f"    wire [{highest}:0] {total} = ones{size}({', '.join(taken)});")
            for bit in range(highest + 1):
                planes[p + bit].append(f"{total}[{bit}]")
    digits = [plane[0] if plane else "1'b0" for plane in planes[:width]]
    lines.append(f"    wire [{width - 1}:0] {name} = {{{', '.join(reversed(digits))}}};")
    return lines, [bit for plane in planes[width:] for bit in plane]


def _best_class(classes: int, width: int, number_width: int) -> list[str]:
    """Return lines that assign best_class by a knock-out tournament; a later class wins only with a larger count."""
    lines: list[str] = []
    players = [(f"count{c}", f"{number_width}'d{c}") for c in range(classes)]
    while len(players) > 1:
        winners: list[tuple[str, str]] = []
        for (count, number), (later_count, later_number) in zip(players[::2], players[1::2], strict=False):
            m = classes - len(players) + len(winners)
            lines.append(f"    wire later{m} = {later_count} > {count};")
            lines.append(f"    wire [{number_width - 1}:0] class{m} = later{m} ? {later_number} : {number};")
            if len(players) > 2:
                lines.append(f"    wire [{width - 1}:0] most{m} = later{m} ? {later_count} : {count};")
            winners.append((f"most{m}", f"class{m}"))
        players = winners + players[2 * len(winners) :]
    lines.append(f"    assign best_class = {players[0][1]};")
    return lines


def _frame_numbers(frames: NDArray[np.uint8]) -> list[int]:
    return [int.from_bytes(frame.tobytes(), "little") for frame in frames]


def _output_numbers(circuit: Circuit, counts: NDArray[np.int32]) -> list[int]:
    """Return the value of {best_class, counts} that the module must give for each frame."""
    width = count_width(circuit)
    numbers = []
    for row in counts.tolist():
        number = row.index(max(row)) << circuit.num_classes * width
        for c, count in enumerate(row):
            number |= count << c * width
        numbers.append(number)
    return numbers


def _hex_lines(numbers: list[int], bits: int) -> str:
    digits = -(-bits // 4)
    return "".join(f"{number:0{digits}x}\n" for number in numbers)


def _test_bench(circuit: Circuit, description: Description, num_frames: int, frames_are: str) -> str:
    module = f"{description.name}_classify"
    outputs = _output_width(circuit)
    return f"""\
// Test bench of {module}: {frames_are}. Run it in this folder; it writes what comes out, one line per frame, to
// {module}_outputs.hex, which is to be equal to {module}_expected.hex.
// Written by {mark_of(description.source)}.
module {module}_test;
    reg [{circuit.num_inputs - 1}:0] frames [0:{num_frames - 1}];
    reg [{outputs - 1}:0] expected [0:{num_frames - 1}];
    reg [{circuit.num_inputs - 1}:0] frame;
    wire [{circuit.num_classes * count_width(circuit) - 1}:0] counts;
    wire [{class_width(circuit) - 1}:0] best_class;
    integer i, right, file;

    {module} circuit (.frame(frame), .counts(counts), .best_class(best_class));

    initial begin
        $readmemh("{module}_frames.hex", frames);
        $readmemh("{module}_expected.hex", expected);
        file = $fopen("{module}_outputs.hex");
        right = 0;
        for (i = 0; i < {num_frames}; i = i + 1) begin
            frame = frames[i];
            #1;
            $fdisplay(file, "%h", {{best_class, counts}});
            if (^expected[i] === 1'bx) $display("no expected value for frame %0d: run this in the files' folder", i);
            else if ({{best_class, counts}} === expected[i]) right = right + 1;
        end
        $display("{description.name}: %0d of {num_frames} frames have the expected counts and class", right);
        $finish;
    end
endmodule
"""
