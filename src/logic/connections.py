"""Which inputs each neuron of a logic layer sees, or may choose from."""

import math
from collections.abc import Callable

import torch

_IN_WORDS = {2: "two", 4: "four", 6: "six"}  # numbers of inputs
_MOST_DRAWS = 1000  # of inputs that must change


def random_connections(in_dim: int, out_dim: int, fan_in: int = 2) -> torch.Tensor:
    """Draw int64 [fan_in, out_dim] so that each input is used equally often, up to one; difflogic's `random`.

    Draws from PyTorch's global CPU generator exactly as difflogic does: the same seed gives the same network. A neuron
    of more than two inputs has different ones, so far as there are enough.
    """
    _check_dims(in_dim, out_dim, fan_in=fan_in)
    order = torch.randperm(fan_in * out_dim) % in_dim
    indices = torch.randperm(in_dim)[order].reshape(fan_in, out_dim)
    return indices if fan_in == 2 or fan_in > in_dim else _exchanged(indices, _repeats)


def unique_connections(in_dim: int, out_dim: int, fan_in: int = 2) -> torch.Tensor:
    """Draw int64 [fan_in, out_dim] so that no two neurons see the same inputs; difflogic's `unique`.

    Pairs are those of neighbours first. Neurons of more inputs use each input equally often, up to one, as far as that
    can be.

    Raises:
        ValueError: if there are fewer sets of inputs than neurons.
    """
    _check_dims(in_dim, out_dim, fan_in=fan_in)
    if fan_in > 2:
        if out_dim > math.comb(in_dim, fan_in):
            raise ValueError(
                f"connections 'unique' need at least as many sets of {fan_in} inputs as neurons, but {in_dim} inputs "
                f"give {math.comb(in_dim, fan_in)} for {out_dim} neurons; use 'random' or fewer neurons"
            )
        indices = _exchanged(random_connections(in_dim, out_dim, fan_in), lambda drawn: _repeats(drawn) | _twins(drawn))
        if _twins(indices).any():
            raise ValueError(
                f"no {out_dim} neurons with different sets of {fan_in} of {in_dim} inputs were found for connections "
                "'unique'; use 'random' or fewer neurons"
            )
        return indices
    if out_dim > in_dim * (in_dim - 1) // 2:
        raise ValueError(
            f"connections 'unique' need at least as many pairs of inputs as neurons, but {in_dim} inputs give "
            f"{in_dim * (in_dim - 1) // 2} pairs for {out_dim} neurons; use 'random' or fewer neurons"
        )
    x = torch.arange(in_dim)
    # Pairs (0, 1), (2, 3), …, then (1, 2), (3, 4), …, then those with distance 2, 3, …
    firsts, seconds = [x[0 : in_dim - 1 : 2], x[1 : in_dim - 1 : 2]], [x[1::2], x[2::2]]
    found = len(firsts[0]) + len(firsts[1])
    distance = 2
    while found < out_dim:
        firsts.append(x[:-distance])
        seconds.append(x[distance:])
        found += in_dim - distance
        distance += 1
    pairs = torch.stack([torch.cat(firsts), torch.cat(seconds)])[:, :out_dim]
    return pairs[:, torch.randperm(out_dim)]


def _exchanged(indices: torch.Tensor, must_change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Exchange inputs between neurons until no neuron must change, so that each input is used as often as before.

    Where this does not succeed in many draws, since there are few inputs, some are left that should have changed.

    Args:
        indices: int64 [fan_in, out_dim].
        must_change: returns bool [fan_in, out_dim] of the inputs to exchange with those of random other neurons.
    """
    found = indices.T.tolist()
    for _ in range(_MOST_DRAWS):
        wrong = must_change(torch.tensor(found).T).nonzero().tolist()
        if not wrong:
            break
        draws = torch.stack([torch.randint(size, (len(wrong),)) for size in indices.shape], 1).tolist()
        for (role, neuron), (other_role, other) in zip(wrong, draws, strict=True):
            own, others = found[neuron], found[other]
            if own[role] not in others and others[other_role] not in own:
                own[role], others[other_role] = others[other_role], own[role]
    return torch.tensor(found).T.contiguous()


def _repeats(indices: torch.Tensor) -> torch.Tensor:
    """Return which inputs [fan_in, out_dim] a neuron has at an earlier place too."""
    same = indices[:, None] == indices[None]
    return torch.stack([same[i, :i].any(0) for i in range(len(indices))])


def _twins(indices: torch.Tensor) -> torch.Tensor:
    """Return the first input [fan_in, out_dim] of neurons whose set of inputs an earlier one has."""
    order = indices.sort(0).values.T
    _, group = order.unique(dim=0, return_inverse=True)
    by_group = group.argsort(stable=True)
    later = torch.zeros(len(group), dtype=torch.bool)
    later[by_group[1:]] = group[by_group[1:]] == group[by_group[:-1]]
    return later & (torch.arange(len(indices)) == 0)[:, None]


def candidate_connections(in_dim: int, out_dim: int, candidates: int, fan_in: int = 2) -> torch.Tensor:
    """Draw int64 [fan_in, out_dim, candidates]: distinct inputs, among which each of a neuron's is to be chosen.

    The first candidates of pairs are the `random_connections` of the same seed. Every input is a candidate about
    equally often.

    Raises:
        ValueError: if there are fewer inputs than candidates, or more than all candidates of all neurons.
    """
    _check_dims(in_dim, out_dim, candidates, fan_in)
    if candidates > in_dim:
        raise ValueError(f"{candidates} candidates cannot be told apart among {in_dim} inputs; use fewer candidates")
    places_of_all = fan_in * out_dim
    order = torch.randperm(places_of_all)
    inputs = torch.randperm(in_dim)
    # The other candidates lie at distinct shifts from the first one's place among the permuted inputs. Shifts are drawn
    # again for each use of the places, so that neurons which share a candidate do not share all.
    uses = -(-places_of_all // in_dim)
    shifts = torch.stack([torch.randperm(in_dim - 1)[: candidates - 1] + 1 for _ in range(uses)])
    shifts = torch.nn.functional.pad(shifts, (1, 0))
    if places_of_all < in_dim:
        # Some shifts are such that each input is a candidate at least once; the others stay as they were drawn.
        needed = torch.arange(0, in_dim, places_of_all)
        others = shifts[0][~torch.isin(shifts[0], needed)]
        shifts = torch.cat([needed, others])[None, :candidates]
    places = (order % in_dim)[:, None] + shifts[order // in_dim]
    return inputs[places % in_dim].reshape(fan_in, out_dim, candidates)


def pixel_positions(shape: tuple[int, int, int]) -> torch.Tensor:
    """Return y and x of each bit of frames [C, H, W], float32 [C * H * W, 2]."""
    channels, height, width = shape
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).float().repeat(channels, 1)


def local_connections(
    positions: torch.Tensor, out_dim: int, size: float, fan_in: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw groups of inputs that lie in one window of the image, and use each input about equally often.

    The image is cut into windows, from a random corner, and the inputs in a window are grouped at random, until there
    are enough groups. If inputs of a window are left over, a last group has others of the window too; a window with too
    few for a group waits for the next cut.

    Args:
        positions: float32 [in_dim, 2], y and x of the inputs.
        out_dim: number of neurons, in a random order.
        size: height and width of a window, in pixels.
        fan_in: number of inputs of a neuron.

    Returns:
        int64 [fan_in, out_dim], the inputs of each neuron, and float32 [out_dim, 2], its position: between its inputs.

    Raises:
        ValueError: if there are too few neurons for the inputs, or the windows are too small to hold a group.
    """
    _check_dims(len(positions), out_dim, fan_in=fan_in)
    groups: list[torch.Tensor] = []
    found = 0
    while found < out_dim:
        groups.append(_groups_in_windows(positions, size, fan_in)[:, : out_dim - found])
        if not groups[-1].numel():
            raise ValueError(
                f"no window of {size} pixels holds {_IN_WORDS[fan_in]} of the {len(positions)} inputs; use larger ones"
            )
        found += groups[-1].shape[1]
    indices = torch.cat(groups, 1)[:, torch.randperm(out_dim)]
    return indices, positions[indices].mean(0)


def _groups_in_windows(positions: torch.Tensor, size: float, fan_in: int) -> torch.Tensor:
    """Return the groups of one cut of the image, int64 [fan_in, groups], in a random order."""
    row, column = ((positions + size * torch.rand(2)) // size).long().T
    window = row * (column.max() + 1) + column
    order = torch.randperm(len(window))
    order = order[window[order].argsort(stable=True)]  # window by window
    _, counts = window[order].unique_consecutive(return_counts=True)
    size_of, first = counts.repeat_interleave(counts), (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.arange(len(window)) - first
    begins = ((rank % fan_in == 0) & (size_of >= fan_in)).nonzero()[:, 0]
    places = torch.arange(fan_in)[:, None]
    beyond = rank[begins] + places - size_of[begins] + 1  # what a window lacks for its last group is before that
    groups = order[begins + torch.where(beyond <= 0, places, -beyond)]
    return groups[:, torch.randperm(groups.shape[1])]


def _check_dims(in_dim: int, out_dim: int, candidates: int = 1, fan_in: int = 2) -> None:
    if in_dim < 1 or out_dim < 1:
        raise ValueError(f"a logic layer needs inputs and neurons, got {in_dim} and {out_dim}")
    if fan_in * candidates * out_dim < in_dim:
        of_many = f" with {candidates} candidates each" if candidates > 1 else ""
        raise ValueError(
            f"{out_dim} neurons cannot use all of {in_dim} inputs, since a neuron has {_IN_WORDS[fan_in]}{of_many}: "
            f"at least {-(-in_dim // (fan_in * candidates))} are needed"
        )


CONNECTIONS = {"random": random_connections, "unique": unique_connections}
