"""Checkpoints: exact, checksummed, the last two kept, damage found."""

import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from src import checkpoint
from src.command_line import UserError

CPU = torch.device("cpu")
TREE = {
    "numbers": [1, 2.5, None, True, "text"],
    "nested": {"7": {"exp_avg": torch.randn(3, 4), "step": torch.tensor(5.0)}},
    "list": [torch.arange(6, dtype=torch.uint8), torch.empty(0)],
}


def test_a_tree_comes_back_as_it_was(tmp_path):
    checkpoint.save_tree(tmp_path / "a", TREE)
    loaded = checkpoint.load_tree(tmp_path / "a")
    assert loaded["numbers"] == TREE["numbers"]
    assert torch.equal(loaded["nested"]["7"]["exp_avg"], TREE["nested"]["7"]["exp_avg"])
    assert torch.equal(loaded["nested"]["7"]["step"], torch.tensor(5.0))
    assert loaded["list"][0].dtype == torch.uint8
    assert loaded["list"][1].shape == (0,)


def test_a_float_comes_back_bit_for_bit(tmp_path):
    value = 0.1 + 0.2
    checkpoint.save_tree(tmp_path / "a", {"x": value})
    assert checkpoint.load_tree(tmp_path / "a")["x"] == value


def test_every_altered_byte_is_noticed(tmp_path):
    path = tmp_path / "a"
    checkpoint.save_tree(path, TREE)
    whole = path.read_bytes()
    for position in range(len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1
        path.write_bytes(altered)
        try:
            loaded = checkpoint.load_tree(path)
        except checkpoint.DamagedCheckpointError:
            continue
        # Blanks and the like in the header may change without changing what is read.
        assert loaded["numbers"] == TREE["numbers"], position
        assert torch.equal(loaded["nested"]["7"]["exp_avg"], TREE["nested"]["7"]["exp_avg"]), position


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_truncated_file_is_noticed(tmp_path, size):
    path = tmp_path / "a"
    checkpoint.save_tree(path, TREE)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(checkpoint.DamagedCheckpointError):
        checkpoint.load_tree(path)


def test_a_missing_file_and_a_pickle_are_no_checkpoints(tmp_path):
    with pytest.raises(checkpoint.DamagedCheckpointError):
        checkpoint.load_tree(tmp_path / "nothing")
    torch.save({"a": torch.ones(3)}, tmp_path / "pickle")
    with pytest.raises(checkpoint.DamagedCheckpointError):
        checkpoint.load_tree(tmp_path / "pickle")


def test_random_states_come_back():
    states = checkpoint.random_states(CPU)
    first = (random.random(), np.random.rand(), torch.rand(2))
    checkpoint.restore_random_states(states, CPU)
    again = (random.random(), np.random.rand(), torch.rand(2))
    assert first[:2] == again[:2]
    assert torch.equal(first[2], again[2])


def test_random_states_survive_a_file(tmp_path):
    checkpoint.save_tree(tmp_path / "a", checkpoint.random_states(CPU))
    first = (random.random(), np.random.normal(), torch.rand(2))
    checkpoint.restore_random_states(checkpoint.load_tree(tmp_path / "a"), CPU)
    again = (random.random(), np.random.normal(), torch.rand(2))
    assert first[:2] == again[:2]
    assert torch.equal(first[2], again[2])


def test_the_run_s_own_gpu_gets_its_generator_s_state_back_whatever_its_number(monkeypatch):
    generators = {torch.device("cuda:2"): torch.tensor([5], dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", generators.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generators.update({device: state}))
    states = checkpoint.random_states(torch.device("cuda:2"))
    checkpoint.restore_random_states(states, torch.device("cuda"))
    assert generators[torch.device("cuda")] == 5


def test_the_last_two_checkpoints_are_kept(tmp_path):
    for step in (1, 5, 12):
        checkpoint.save_checkpoint(tmp_path, step, {"step": step})
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == [
        "step_0000000012.safetensors",
        "step_0000000005.safetensors",
    ]
    assert checkpoint.load_newest(tmp_path) == {"step": 12}


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    checkpoint.save_checkpoint(tmp_path, 1, {"step": 1})
    newest = checkpoint.save_checkpoint(tmp_path, 2, {"step": 2})
    newest.write_bytes(newest.read_bytes()[:-3])
    assert checkpoint.load_newest(tmp_path) == {"step": 1}


def test_a_damaged_newer_checkpoint_removes_none_that_is_written_later(tmp_path):
    scratch, project = tmp_path / "scratch", tmp_path / "project"
    for folder, steps in ((scratch, (1, 5)), (project, (5,))):
        for step in steps:
            path = checkpoint.save_checkpoint(folder, step, {"step": step})
        path.write_bytes(path.read_bytes()[:-3])
    assert checkpoint.load_newest(scratch, project) == {"step": 1}
    for step in (2, 5, 6):
        checkpoint.save_checkpoint(scratch, step, {"step": step})
        checkpoint.save_checkpoint(project, step, {"step": step}, kept=1)
        assert checkpoint.load_newest(project) == checkpoint.load_newest(scratch) == {"step": step}
    assert [len(checkpoint.list_checkpoints(folder)) for folder in (scratch, project)] == [2, 1]
    assert [path.name for path in project.glob("damaged_*")] == ["damaged_step_0000000005.safetensors"]


def test_a_checkpoint_is_never_removed_for_a_newer_one(tmp_path):
    checkpoint.save_checkpoint(tmp_path, 7, {})
    checkpoint.save_checkpoint(tmp_path, 3, {}, kept=1)
    assert len(checkpoint.list_checkpoints(tmp_path)) == 2


def test_only_damaged_checkpoints_are_an_error_and_no_fresh_start(tmp_path):
    checkpoint.save_checkpoint(tmp_path, 1, {}).write_bytes(b"")
    for _ in range(2):  # nothing is renamed, so that the next time is no fresh start
        with pytest.raises(UserError, match="no checkpoint in"):
            checkpoint.load_newest(tmp_path)


def test_no_checkpoint_is_no_error(tmp_path):
    assert checkpoint.load_newest(tmp_path) is None


def test_a_model_file_holds_the_state_dict_and_the_description(tmp_path):
    model = torch.nn.Linear(3, 2)
    checkpoint.save_model(tmp_path / "m", model, {"class_names": ["a", "b"], "step": 7})
    state, description = checkpoint.load_model_state(tmp_path / "m")
    assert description == {"class_names": ["a", "b"], "step": 7}
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("part", ["header", "weights"])
def test_a_damaged_model_is_refused(tmp_path, part):
    checkpoint.save_model(tmp_path / "m", torch.nn.Linear(3, 2), {"class_names": ["a", "b"]})
    content = bytearray((tmp_path / "m").read_bytes())
    content[content.index(b'\\"b\\"') + 2 if part == "header" else -1] ^= 1
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(UserError, match="m is damaged: its checksum is wrong; take another copy"):
        checkpoint.load_model_state(tmp_path / "m")


def test_a_file_of_another_program_is_refused(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "m", {"step": "7"})
    with pytest.raises(UserError, match="its header has no checksum; give a file that train"):
        checkpoint.load_model_state(tmp_path / "m")
