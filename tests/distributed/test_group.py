"""A batch divided among processes is the single process's batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.command_line import StopSignals
from src.config import DataLoader, Train
from src.data import load_batches
from src.distributed import group as distributed
from src.frame_cache.cache import Split

CPU = torch.device("cpu")


def split_of(frames):
    """A split whose frames hold their own numbers."""
    numbers = np.arange(frames)
    return Split(numbers.astype("<u4").view(np.uint8).reshape(frames, 4), numbers, numbers)


def parts_of_rank(monkeypatch, rank, ranks, *arguments, **options):
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "world_size", lambda: ranks)
    return [part for (part,) in distributed.load_parts(*arguments, **options)]


@settings(max_examples=50, deadline=None)
@given(
    frames=st.integers(1, 60),
    ranks=st.integers(1, 5),
    extra=st.integers(0, 9),
    first=st.integers(0, 3),
    seed=st.integers(0, 9),
    workers=st.integers(0, 1),
)
def test_the_parts_of_all_ranks_make_up_each_batch_of_a_single_process(frames, ranks, extra, first, seed, workers):
    options = Train(dataloader=DataLoader(batch_size=ranks + extra, num_workers=workers))
    split, order = split_of(frames), np.random.default_rng(seed).permutation(frames)
    whole = list(load_batches(split, order, options.dataloader, CPU, first))
    with pytest.MonkeyPatch.context() as patch:
        by_rank = [parts_of_rank(patch, rank, ranks, split, order, options, CPU, first) for rank in range(ranks)]
    assert [len(parts) for parts in by_rank] == [len(whole)] * ranks
    for batch, ((packed, labels), *parts) in enumerate(zip(whole, *by_rank, strict=True), start=first):
        assert torch.equal(torch.cat([part.packed[: part.frames] for part in parts]), packed)
        assert torch.equal(torch.cat([part.labels[: part.frames] for part in parts]), labels)
        assert {part.batch_frames for part in parts} == {len(labels)}
        for part in parts:
            place = part.first - batch * options.dataloader.batch_size
            assert torch.equal(labels[place : place + part.frames], part.labels[: part.frames])
        assert max(part.frames for part in parts) - min(part.frames for part in parts) <= 1


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 40), ranks=st.integers(1, 5), batch_size=st.integers(5, 9))
def test_the_weighted_means_of_the_parts_average_to_the_mean_of_the_batch(frames, ranks, batch_size):
    values = torch.arange(frames, dtype=torch.float64) ** 2
    split, order, options = split_of(frames), np.arange(frames), Train(dataloader=DataLoader(batch_size=batch_size))
    with pytest.MonkeyPatch.context() as patch:
        by_rank = []
        for rank in range(ranks):
            parts = parts_of_rank(patch, rank, ranks, split, order, options, CPU)
            by_rank.append([values[part.labels].mean() * part.weight for part in parts])
    for batch, means in zip(values.split(batch_size), zip(*by_rank, strict=True), strict=True):
        torch.testing.assert_close(sum(means) / ranks, batch.mean())


def test_a_rank_without_a_frame_gets_one_that_does_not_count(monkeypatch):
    (part,) = parts_of_rank(
        monkeypatch, 1, 2, split_of(1), np.arange(1), Train(dataloader=DataLoader(batch_size=2)), CPU
    )
    assert len(part.packed) == len(part.labels) == 1
    assert (part.frames, part.batch_frames, part.weight) == (0, 1, 0.0)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 60), parts=st.integers(1, 5), extra=st.integers(0, 9), first=st.integers(0, 3))
def test_a_single_process_takes_the_parts_that_as_many_ranks_have(frames, parts, extra, first):
    options = Train(dataloader=DataLoader(batch_size=parts + extra), batch_parts=parts)
    arguments = (split_of(frames), np.arange(frames)[::-1].copy(), options, CPU, first)
    alone = list(distributed.load_parts(*arguments))
    with pytest.MonkeyPatch.context() as patch:
        by_rank = [parts_of_rank(patch, rank, parts, *arguments) for rank in range(parts)]
    for own, others in zip(alone, zip(*by_rank, strict=True), strict=True):
        for part, other in zip(own, others, strict=True):
            assert torch.equal(part.packed, other.packed)
            assert torch.equal(part.labels, other.labels)
            assert part[2:] == other[2:]


def test_sums_of_gradients_are_described_alike_where_their_bits_are_equal(monkeypatch):
    alone = [distributed.describe_sum(Train(batch_parts=parts)) for parts in (1, 2, 3)]
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    assert distributed.describe_sum(Train()) == distributed.describe_sum(Train(batch_parts=2)) == alone[1]
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    assert len({*alone, distributed.describe_sum(Train())}) == 4


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(0, 60), ranks=st.integers(1, 5), batch_size=st.integers(1, 20))
def test_an_evaluation_s_batches_are_dealt_out_whole(frames, ranks, batch_size):
    order = np.arange(frames)
    batches = [order[begin : begin + batch_size].tolist() for begin in range(0, frames, batch_size)]
    dealt = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: ranks)
        for rank in range(ranks):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            mine, most = distributed.share_of_batches(order, batch_size)
            own = [labels.tolist() for _, labels in load_batches(split_of(60), mine, DataLoader(batch_size), CPU)]
            assert len(own) <= most == -(-len(batches) // ranks)
            dealt += own
    assert sorted(dealt) == batches


def test_one_process_decides_by_itself():
    stop = StopSignals()
    assert distributed.agree(stop) == (False, False)
    assert distributed.agree(stop, due=True) == (False, True)
    stop.note(15)
    assert distributed.agree(stop) == (True, False)
    assert distributed.from_rank_zero(lambda: {"a": 1}) == {"a": 1}
    assert (distributed.rank(), distributed.world_size(), distributed.device_name("cuda:1")) == (0, 1, "cuda:1")
