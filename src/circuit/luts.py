"""How many LUTs a netlist takes: a cover of its gates by tables of up to six inputs, found without any tool.

This is technology mapping by priority cuts (Mishchenko et al. 2007, ABC's `if`). A cut of a node is a set of nodes, its
leaves, that decide its value; a LUT computes a node from the leaves of one of its cuts. For each node, a few cuts are
made of those of its two inputs. One pass finds the least depth; then the number of LUTs is reduced while the depth is
kept.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.circuit.circuit import Circuit
from src.circuit.netlist import Netlist, netlist_of
from src.kernel_cache import cached_njit

LUT_INPUTS = 6
_CUTS = 8  # per node, as in ABC
_FLOW_PASSES, _EXACT_PASSES = 2, 2
_FAR = np.int32(1 << 30)  # a required depth that limits nothing

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


class LutCover(NamedTuple):
    """The LUTs that compute a netlist.

    Attributes:
        roots: int32 [LUTs], the node that each computes, ascending.
        leaves: for each, the nodes that it reads.
        depth: LUTs on the longest way from an input to an output.
    """

    roots: NDArray[np.int32]
    leaves: list[list[int]]
    depth: int


def lut_cover(netlist: Netlist, lut_inputs: int = LUT_INPUTS) -> LutCover:
    """Return LUTs of `lut_inputs` inputs, at most six, that compute all buses of a netlist."""
    nodes = netlist.num_inputs + len(netlist.gates)
    first, second = netlist.first.astype(np.int32), netlist.second.astype(np.int32)
    outputs = np.array(sorted({node for bus in netlist.buses.values() for node in bus if node >= 0}), np.int32)
    state = _State(
        cuts=np.zeros((nodes, _CUTS, lut_inputs), np.int32),
        sizes=np.zeros((nodes, _CUTS), np.int32),
        depths=np.zeros(nodes, np.int32),
        flows=np.zeros(nodes, np.float32),
        references=_fanouts(first, second, outputs, nodes).astype(np.float32),
        required=np.full(nodes, _FAR, np.int32),
    )
    uses = np.zeros(nodes, np.int32)
    for number in range(1 + _FLOW_PASSES):
        _choose(netlist.num_inputs, first, second, number == 0, *state)
        _require(netlist.num_inputs, outputs, uses, *state)
    for _ in range(_EXACT_PASSES):
        _reduce(netlist.num_inputs, uses, *state)
        _require(netlist.num_inputs, outputs, uses, *state)
    roots = np.flatnonzero(uses[netlist.num_inputs :]) + netlist.num_inputs
    leaves = [
        cut[:size] for cut, size in zip(state.cuts[roots, 0].tolist(), state.sizes[roots, 0].tolist(), strict=True)
    ]
    return LutCover(roots.astype(np.int32), leaves, int(state.depths[outputs].max(initial=0)))


class _State(NamedTuple):
    """What the passes know about each node.

    Attributes:
        cuts: leaves of each cut, ascending, [nodes, _CUTS, inputs of a LUT]; the first cut is the one that is chosen.
        sizes: leaves of each cut, [nodes, _CUTS]; 0: there is no such cut.
        depths: LUTs on the longest way to the node.
        flows: LUTs for the node and all before it, each divided among those that use it.
        references: about how many LUTs will use the node.
        required: the depth that it may have.
    """

    cuts: NDArray[np.int32]
    sizes: NDArray[np.int32]
    depths: Ints
    flows: Floats
    references: Floats
    required: Ints


class CircuitSize(NamedTuple):
    """What a circuit takes, with the counters and the comparison of the classes.

    Attributes:
        gates: of the circuit alone.
        luts: LUTs of six inputs, estimated.
        depth: LUTs on the longest way from an input to the class.
    """

    gates: int
    luts: int
    depth: int


def circuit_size(simplified: Circuit) -> CircuitSize:
    """Return what a simplified circuit takes, without any tool."""
    cover = lut_cover(netlist_of(simplified, counter_inputs=LUT_INPUTS))
    return CircuitSize(len(simplified.gates), len(cover.roots), cover.depth)


def _fanouts(first: Ints, second: Ints, outputs: Ints, nodes: int) -> NDArray[np.int64]:
    own_second = second[second != first]
    return np.bincount(np.concatenate([first, own_second, outputs]), minlength=nodes)


@cached_njit(nogil=True)
def _merged(a: Ints, size_a: int, b: Ints, size_b: int, out: Ints) -> int:
    """Write the union of two ascending lists; return its size, or 0 if it has more than `out` holds."""
    i, j, size = 0, 0, 0
    while i < size_a or j < size_b:
        if size == len(out):
            return 0
        if j == size_b or (i < size_a and a[i] < b[j]):
            out[size] = a[i]
            i += 1
        elif i == size_a or b[j] < a[i]:
            out[size] = b[j]
            j += 1
        else:
            out[size] = a[i]
            i += 1
            j += 1
        size += 1
    return size


@cached_njit(nogil=True)
def _choose(
    num_inputs: int,
    first: Ints,
    second: Ints,
    by_depth: bool,
    cuts: Any,
    sizes: Any,
    depths: Ints,
    flows: Floats,
    references: Floats,
    required: Ints,
) -> None:
    """Make the cuts of all nodes, the best ones first: by depth, or by flow within the required depth."""
    inputs = cuts.shape[2]
    found = np.zeros((_CUTS + 1, inputs), np.int32)
    found_size = np.zeros(_CUTS + 1, np.int32)
    found_depth = np.zeros(_CUTS + 1, np.int32)
    found_flow = np.zeros(_CUTS + 1, np.float32)
    trial, own_a, own_b = np.zeros(inputs, np.int32), np.zeros(inputs, np.int32), np.zeros(inputs, np.int32)
    for g in range(len(first)):
        node = num_inputs + g
        a, b = first[g], second[g]
        own_a[0], own_b[0] = a, b
        count = 0
        # The cut of the pass before is tried first, since it always keeps within the required depth.
        for i in range(-2, _CUTS):
            if i == -2:
                if sizes[node, 0] == 0:
                    continue
            elif i >= 0 and (a < num_inputs or sizes[a, i] == 0):
                break
            for j in range(-1, _CUTS):
                if j >= 0 and (b < num_inputs or sizes[b, j] == 0):
                    break
                if i == -2:
                    size = sizes[node, 0]
                    trial[:] = cuts[node, 0]
                else:
                    size = _merged(
                        own_a if i < 0 else cuts[a, i],
                        1 if i < 0 else sizes[a, i],
                        own_b if j < 0 else cuts[b, j],
                        1 if j < 0 else sizes[b, j],
                        trial,
                    )
                if size > 0:
                    depth, flow = np.int32(0), np.float32(1)
                    for k in range(size):
                        depth = max(depth, depths[trial[k]])
                        flow += flows[trial[k]]
                    depth += 1
                    if depth <= required[node]:
                        count = _insert(
                            trial, size, depth, flow, by_depth, count, found, found_size, found_depth, found_flow
                        )
                if i == -2:
                    break
        for i in range(_CUTS):
            sizes[node, i] = found_size[i] if i < count else 0
            if i < count:
                cuts[node, i] = found[i]
        depths[node] = found_depth[0]
        flows[node] = found_flow[0] / max(references[node], np.float32(1))


@cached_njit(nogil=True)
def _insert(
    cut: Ints,
    size: int,
    depth: int,
    flow: float,
    by_depth: bool,
    count: int,
    found: Any,
    found_size: Ints,
    found_depth: Ints,
    found_flow: Floats,
) -> int:
    """Insert a cut among those found, of which the best are first; return their number, at most _CUTS."""
    for i in range(count):
        if found_size[i] == size:
            same = True
            for k in range(size):
                if found[i, k] != cut[k]:
                    same = False
                    break
            if same:
                return count
    place = count
    while place > 0:
        before = place - 1
        if by_depth:
            better = depth < found_depth[before] or (
                depth == found_depth[before]
                and (flow < found_flow[before] or (flow == found_flow[before] and size < found_size[before]))
            )
        else:
            better = flow < found_flow[before] or (
                flow == found_flow[before]
                and (depth < found_depth[before] or (depth == found_depth[before] and size < found_size[before]))
            )
        if not better:
            break
        found[place] = found[before]
        found_size[place] = found_size[before]
        found_depth[place] = found_depth[before]
        found_flow[place] = found_flow[before]
        place = before
    if place == _CUTS:
        return count
    found[place] = cut
    found_size[place] = size
    found_depth[place] = depth
    found_flow[place] = flow
    return min(count + 1, _CUTS)


@cached_njit(nogil=True)
def _require(
    num_inputs: int,
    outputs: Ints,
    uses: Ints,
    cuts: Any,
    sizes: Any,
    depths: Ints,
    flows: Floats,
    references: Floats,
    required: Ints,
) -> None:
    """Find what the chosen cuts use: `uses` of each node, the depth it may have, and references for the next pass."""
    uses[:] = 0
    required[:] = _FAR
    deepest = np.int32(0)
    for node in outputs:
        deepest = max(deepest, depths[node])
    for node in outputs:
        uses[node] += 1
        required[node] = deepest
    for node in range(len(uses) - 1, num_inputs - 1, -1):
        if uses[node]:
            for k in range(sizes[node, 0]):
                leaf = cuts[node, 0, k]
                uses[leaf] += 1
                required[leaf] = min(required[leaf], required[node] - 1)
    for node in range(len(uses)):
        references[node] = (references[node] + np.float32(2) * uses[node]) / np.float32(3)


@cached_njit(nogil=True)
def _use(node: int, by: int, num_inputs: int, uses: Ints, cuts: Any, sizes: Any, stack: Ints) -> int:
    """Add `by`, 1 or -1, to the uses of a node's leaves, and of what they need; return how many LUTs that concerns."""
    luts, top = 1, 1
    stack[0] = node
    while top > 0:
        top -= 1
        current = stack[top]
        for k in range(sizes[current, 0]):
            leaf = cuts[current, 0, k]
            if by > 0:
                begins = uses[leaf] == 0
                uses[leaf] += 1
            else:
                uses[leaf] -= 1
                begins = uses[leaf] == 0
            if begins and leaf >= num_inputs:
                luts += 1
                stack[top] = leaf
                top += 1
    return luts


@cached_njit(nogil=True)
def _reduce(
    num_inputs: int,
    uses: Ints,
    cuts: Any,
    sizes: Any,
    depths: Ints,
    flows: Floats,
    references: Floats,
    required: Ints,
) -> None:
    """Choose, for each node that is used, the cut that adds the fewest LUTs to all others, in the required depth."""
    stack = np.zeros(len(uses), np.int32)
    kept = np.zeros(cuts.shape[2], np.int32)
    for node in range(num_inputs, len(uses)):
        if uses[node]:
            _use(node, -1, num_inputs, uses, cuts, sizes, stack)
            best, best_luts, best_depth = 0, 1 << 30, np.int32(0)
            for i in range(_CUTS):
                if sizes[node, i] == 0:
                    break
                depth = _depth_of(node, i, cuts, sizes, depths)
                if depth <= required[node]:
                    _exchange(node, i, cuts, sizes, kept)
                    luts = _use(node, 1, num_inputs, uses, cuts, sizes, stack)
                    _use(node, -1, num_inputs, uses, cuts, sizes, stack)
                    _exchange(node, i, cuts, sizes, kept)
                    if luts < best_luts or (luts == best_luts and depth < best_depth):
                        best, best_luts, best_depth = i, luts, depth
            _exchange(node, best, cuts, sizes, kept)
            _use(node, 1, num_inputs, uses, cuts, sizes, stack)
        depths[node] = _depth_of(node, 0, cuts, sizes, depths)


@cached_njit(nogil=True)
def _depth_of(node: int, i: int, cuts: Any, sizes: Any, depths: Ints) -> int:
    deepest = 0
    for k in range(sizes[node, i]):
        deepest = max(deepest, int(depths[cuts[node, i, k]]))
    return deepest + 1


@cached_njit(nogil=True)
def _exchange(node: int, i: int, cuts: Any, sizes: Any, kept: Ints) -> None:
    """Exchange the first cut of a node with cut i."""
    size = sizes[node, 0]
    kept[:] = cuts[node, 0]
    cuts[node, 0] = cuts[node, i]
    sizes[node, 0] = sizes[node, i]
    cuts[node, i] = kept
    sizes[node, i] = size
