"""A batch divided among processes is the single process's batch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.config import DataLoader
from src.data import load_batches
from src.distributed.batches import deal_out_batches, load_shares
from src.frame_cache.cache import Split

CPU = torch.device("cpu")


def split_of(frames):
    """A split whose frames hold their own numbers."""
    numbers = np.arange(frames)
    return Split(numbers.astype("<u4").view(np.uint8).reshape(frames, 4), numbers, numbers)


@settings(max_examples=50, deadline=None)
@given(
    frames=st.integers(1, 60),
    processes=st.integers(1, 5),
    extra=st.integers(0, 9),
    first=st.integers(0, 3),
    seed=st.integers(0, 9),
    workers=st.integers(0, 1),
)
def test_the_shares_of_all_processes_make_up_each_batch(frames, processes, extra, first, seed, workers):
    options = DataLoader(batch_size=processes + extra, num_workers=workers)
    split, order = split_of(frames), np.random.default_rng(seed).permutation(frames)
    whole = list(load_batches(split, order, options, CPU, first))
    by_process = [list(load_shares(split, order, options, CPU, first, i, processes)) for i in range(processes)]
    assert [len(shares) for shares in by_process] == [len(whole)] * processes
    for batch, ((packed, labels), *shares) in enumerate(zip(whole, *by_process, strict=True), start=first):
        assert torch.equal(torch.cat([share.packed[: share.frames] for share in shares]), packed)
        assert torch.equal(torch.cat([share.labels[: share.frames] for share in shares]), labels)
        assert {share.batch_frames for share in shares} == {len(labels)}
        for share in shares:
            place = share.first - batch * options.batch_size
            assert torch.equal(labels[place : place + share.frames], share.labels[: share.frames])
        assert max(share.frames for share in shares) - min(share.frames for share in shares) <= 1


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 40), processes=st.integers(1, 5), batch_size=st.integers(5, 9))
def test_the_weighted_means_of_the_shares_average_to_the_mean_of_the_batch(frames, processes, batch_size):
    values = torch.arange(frames, dtype=torch.float64) ** 2
    split, order, options = split_of(frames), np.arange(frames), DataLoader(batch_size=batch_size)
    by_process = []
    for number in range(processes):
        shares = load_shares(split, order, options, CPU, 0, number, processes)
        by_process.append([values[share.labels].mean() * share.weight for share in shares])
    for batch, means in zip(values.split(batch_size), zip(*by_process, strict=True), strict=True):
        torch.testing.assert_close(sum(means) / processes, batch.mean())


def test_a_process_without_a_frame_gets_one_that_does_not_count():
    (share,) = load_shares(split_of(1), np.arange(1), DataLoader(batch_size=2), CPU, number=1, shares=2)
    assert len(share.packed) == len(share.labels) == 1
    assert (share.frames, share.batch_frames, share.weight) == (0, 1, 0.0)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(0, 60), processes=st.integers(1, 5), batch_size=st.integers(1, 20))
def test_an_evaluation_s_batches_are_dealt_out_whole(frames, processes, batch_size):
    order = np.arange(frames)
    batches = [order[begin : begin + batch_size].tolist() for begin in range(0, frames, batch_size)]
    dealt = []
    for number in range(processes):
        mine, most = deal_out_batches(order, batch_size, number, processes)
        own = [labels.tolist() for _, labels in load_batches(split_of(60), mine, DataLoader(batch_size), CPU)]
        assert len(own) <= most == -(-len(batches) // processes)
        dealt += own
    assert sorted(dealt) == batches
