"""Which two inputs each neuron of a logic layer sees."""

import torch


def random_connections(in_dim: int, out_dim: int) -> torch.Tensor:
    """int64 [2, out_dim]: inputs drawn so that each is used equally often, up to one; difflogic's `random`.

    Draws from PyTorch's global CPU generator exactly as difflogic does: the same seed gives the same network.
    """
    _check_dims(in_dim, out_dim)
    order = torch.randperm(2 * out_dim) % in_dim
    return torch.randperm(in_dim)[order].reshape(2, out_dim)


def unique_connections(in_dim: int, out_dim: int) -> torch.Tensor:
    """int64 [2, out_dim]: no two neurons see the same pair; neighbouring inputs first; difflogic's `unique`.

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


def _check_dims(in_dim: int, out_dim: int) -> None:
    if in_dim < 1 or out_dim < 1:
        raise ValueError(f"a logic layer needs inputs and neurons, got {in_dim} and {out_dim}")
    if 2 * out_dim < in_dim:
        raise ValueError(
            f"{out_dim} neurons cannot use all of {in_dim} inputs, since a neuron has two: "
            f"at least {-(-in_dim // 2)} are needed"
        )


CONNECTIONS = {"random": random_connections, "unique": unique_connections}
