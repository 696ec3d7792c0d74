"""GPUs and memory that a training needs are checked before it begins."""

import pytest
import torch

from src.command_line import RunError, UserError
from src.config import DataLoader, Train
from src.training import device
from src.training.device import explain_memory_errors, require_gpus, require_memory


def test_fewer_gpus_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes on a machine with 1 CUDA device"):
        require_gpus(Train(device="cuda"), processes=2)


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 0), ("cuda", 2), ("cpu", 1)])
def test_a_gpu_for_each_process_or_none_is_enough(monkeypatch, device, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    require_gpus(Train(device=device), processes=2)


@pytest.mark.parametrize(("processes", "warned"), [(2, False), (3, True)])
def test_more_processes_than_cores_are_warned_of(monkeypatch, caplog, processes, warned):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    require_gpus(Train(device="cpu"), processes=processes)
    assert ("--nproc 3: the processes share 2 cores" in caplog.text) == warned


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("parameters", "activations", "told"),
    [
        ({"model.a": 60, "model.b": 5}, 0, r"model\.a is too large: .* at least 1\.0 KiB .* has 1000 B; lower it"),
        ({"model.a": 50}, 30, r"train\.dataloader\.batch_size = 64 is too large: .* at least 1\.4 KiB"),
        ({"model.a": 50}, 20, None),
    ],
)
def test_a_training_that_cannot_fit_is_refused_with_the_option_to_lower(monkeypatch, parameters, activations, told):
    monkeypatch.setattr(device, "most_memory", lambda where: (1000, "this machine has {}"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    options = Train(dataloader=DataLoader(batch_size=64))
    if told is None:
        require_memory(options, CPU, parameters, activations, frames=4)
        return
    with pytest.raises(UserError, match=told):
        require_memory(options, CPU, parameters, activations, frames=9)


def test_the_least_of_all_limits_counts(monkeypatch):
    monkeypatch.setattr(device, "_cgroup_limits", lambda: iter([1 << 62, 5 << 20]))
    assert device.most_memory(CPU) == (5 << 20, "this job or container may have {}")
    monkeypatch.setattr("resource.getrlimit", lambda which: (1 << 20, 1 << 30))
    assert device.most_memory(CPU) == (1 << 20, "this process may have {} (ulimit -v)")


def test_a_limit_of_memory_may_be_that_of_an_outer_control_group(monkeypatch, tmp_path):
    for folder, limit in (("job", "4096"), ("job/step", "max")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "memory.max").write_text(limit + "\n")
    monkeypatch.setattr(device, "_CGROUPS", tmp_path)
    monkeypatch.setattr(device, "_OWN_CGROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("0::/job/step\n")
    assert list(device._cgroup_limits()) == [4096]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 5700 bytes. Error code 12"),
    ],
)
def test_memory_that_is_out_is_one_line_that_says_what_to_lower(error):
    with (
        pytest.raises(RunError, match=r"out of memory.*: lower train\.dataloader\.batch_size"),
        explain_memory_errors(),
    ):
        raise error


def test_other_errors_are_left_as_they_are():
    with pytest.raises(RuntimeError, match="shapes"), explain_memory_errors():
        raise RuntimeError("shapes do not fit")
