"""What processes agree on."""

from src.command_line import StopSignals
from src.distributed.group import agree, device_name, from_rank_zero, rank, world_size


def test_one_process_decides_by_itself():
    stop = StopSignals()
    assert agree(stop) == (False, False)
    assert agree(stop, due=True) == (False, True)
    stop.note(15)
    assert agree(stop) == (True, False)
    assert from_rank_zero(lambda: {"a": 1}) == {"a": 1}
    assert (rank(), world_size(), device_name("cuda:1")) == (0, 1, "cuda:1")
