"""Options that do not suit so many processes are refused."""

import pytest
import torch

from src.config import DataLoader, Train
from src.device import require_processes_fit
from src.helpers import UserError


@pytest.mark.parametrize(
    ("batch_size", "device", "gpus", "message"),
    [
        (3, "cpu", 0, "batch_size = 3 is less than the 4 processes"),
        (4, "cuda:1", 2, "each process takes a GPU of its own; give cuda, or cpu"),
        (4, "cuda", 1, "2 processes on a machine with 1 CUDA device"),
    ],
)
def test_options_that_do_not_suit_two_machines_of_two_processes_are_refused(
    monkeypatch, batch_size, device, gpus, message
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    options = Train(device=device, dataloader=DataLoader(batch_size=batch_size))
    with pytest.raises(UserError, match=message):
        require_processes_fit(options, processes=2, everywhere=4)


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 0), ("cuda", 2), ("cpu", 1)])
def test_others_are_not(monkeypatch, device, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    require_processes_fit(Train(device=device), processes=2, everywhere=4)


def test_parts_of_a_batch_that_are_not_the_processes_are_refused():
    with pytest.raises(UserError, match=r"train\.batch_parts = 2, but 4 processes take a part each"):
        require_processes_fit(Train(device="cpu", batch_parts=2), processes=2, everywhere=4)
    require_processes_fit(Train(device="cpu", batch_parts=4), processes=2, everywhere=4)
    require_processes_fit(Train(device="cpu", batch_parts=2), processes=1, everywhere=1)


@pytest.mark.parametrize(("processes", "warned"), [(2, False), (3, True)])
def test_more_processes_than_cores_are_warned_of(monkeypatch, caplog, processes, warned):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    require_processes_fit(Train(device="cpu"), processes=processes, everywhere=processes)
    assert ("--nproc 3: the processes share 2 cores" in caplog.text) == warned
