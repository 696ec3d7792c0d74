"""Which two inputs each neuron of a logic layer sees, or may choose from."""

import torch


def random_connections(in_dim: int, out_dim: int) -> torch.Tensor:
    """Draw int64 [2, out_dim] so that each input is used equally often, up to one; difflogic's `random`.

    Draws from PyTorch's global CPU generator exactly as difflogic does: the same seed gives the same network.
    """
    _check_dims(in_dim, out_dim)
    order = torch.randperm(2 * out_dim) % in_dim
    return torch.randperm(in_dim)[order].reshape(2, out_dim)


def unique_connections(in_dim: int, out_dim: int) -> torch.Tensor:
    """Draw int64 [2, out_dim] so that no two neurons see the same pair, neighbours first; difflogic's `unique`.

    Raises:
        ValueError: if there are fewer pairs than neurons.
    """
    _check_dims(in_dim, out_dim)
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


def candidate_connections(in_dim: int, out_dim: int, candidates: int) -> torch.Tensor:
    """Draw int64 [2, out_dim, candidates]: distinct inputs, among which each of a neuron's two is to be chosen.

    The first candidates are the `random_connections` of the same seed. Every input is a candidate about equally often.

    Raises:
        ValueError: if there are fewer inputs than candidates, or more than all candidates of all neurons.
    """
    _check_dims(in_dim, out_dim, candidates)
    if candidates > in_dim:
        raise ValueError(f"{candidates} candidates cannot be told apart among {in_dim} inputs; use fewer candidates")
    order = torch.randperm(2 * out_dim)
    inputs = torch.randperm(in_dim)
    # The other candidates lie at distinct shifts from the first one's place among the permuted inputs. Shifts are drawn
    # again for each use of the places, so that neurons which share a candidate do not share all.
    uses = -(-2 * out_dim // in_dim)
    shifts = torch.stack([torch.randperm(in_dim - 1)[: candidates - 1] + 1 for _ in range(uses)])
    shifts = torch.nn.functional.pad(shifts, (1, 0))
    if 2 * out_dim < in_dim:
        # Some shifts are such that each input is a candidate at least once; the others stay as they were drawn.
        needed = torch.arange(0, in_dim, 2 * out_dim)
        others = shifts[0][~torch.isin(shifts[0], needed)]
        shifts = torch.cat([needed, others])[None, :candidates]
    places = (order % in_dim)[:, None] + shifts[order // in_dim]
    return inputs[places % in_dim].reshape(2, out_dim, candidates)


def pixel_positions(shape: tuple[int, int, int]) -> torch.Tensor:
    """Return y and x of each bit of frames [C, H, W], float32 [C * H * W, 2]."""
    channels, height, width = shape
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).float().repeat(channels, 1)


def local_connections(positions: torch.Tensor, out_dim: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw pairs of inputs that lie in one window of the image, and use each input about equally often.

    The image is cut into windows, from a random corner, and the inputs in a window are paired at random, until there
    are enough pairs. If a window has an odd number of inputs, one is used twice; a single one waits for the next cut.

    Args:
        positions: float32 [in_dim, 2], y and x of the inputs.
        out_dim: number of neurons, in a random order.
        size: height and width of a window, in pixels.

    Returns:
        int64 [2, out_dim], the inputs of each neuron, and float32 [out_dim, 2], its position: between its inputs.

    Raises:
        ValueError: if there are too few neurons for the inputs, or the windows are too small to hold two.
    """
    _check_dims(len(positions), out_dim)
    pairs: list[torch.Tensor] = []
    found = 0
    while found < out_dim:
        pairs.append(_pairs_in_windows(positions, size)[:, : out_dim - found])
        if not pairs[-1].numel():
            raise ValueError(f"no window of {size} pixels holds two of the {len(positions)} inputs; use larger ones")
        found += pairs[-1].shape[1]
    indices = torch.cat(pairs, 1)[:, torch.randperm(out_dim)]
    return indices, positions[indices].mean(0)


def _pairs_in_windows(positions: torch.Tensor, size: float) -> torch.Tensor:
    """Return the pairs of one cut of the image, int64 [2, pairs], in a random order."""
    row, column = ((positions + size * torch.rand(2)) // size).long().T
    window = row * (column.max() + 1) + column
    order = torch.randperm(len(window))
    order = order[window[order].argsort(stable=True)]  # window by window
    _, counts = window[order].unique_consecutive(return_counts=True)
    size_of, first = counts.repeat_interleave(counts), (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.arange(len(window)) - first
    begins = ((rank % 2 == 0) & (size_of > 1)).nonzero()[:, 0]
    partner = torch.where(rank[begins] + 1 < size_of[begins], begins + 1, begins - 1)
    pairs = order[torch.stack([begins, partner])]
    return pairs[:, torch.randperm(pairs.shape[1])]


def _check_dims(in_dim: int, out_dim: int, candidates: int = 1) -> None:
    if in_dim < 1 or out_dim < 1:
        raise ValueError(f"a logic layer needs inputs and neurons, got {in_dim} and {out_dim}")
    if 2 * candidates * out_dim < in_dim:
        of_many = f" with {candidates} candidates each" if candidates > 1 else ""
        raise ValueError(
            f"{out_dim} neurons cannot use all of {in_dim} inputs, since a neuron has two{of_many}: "
            f"at least {-(-in_dim // (2 * candidates))} are needed"
        )


CONNECTIONS = {"random": random_connections, "unique": unique_connections}
