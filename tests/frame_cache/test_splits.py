"""Splits: a group of recordings is never divided, and classes keep their shares as far as groups allow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.command_line import UserError
from src.config import Config, Data, Train
from src.events.datasets.dataset import Recording
from src.events.datasets.folder import FOLDER
from src.frame_cache.splits import assign_splits, require_learnable, warn_of_gaps

LABELS_AND_GROUPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60)


def recordings(members):
    return [Recording("", label, 1, False, group=f"person {group}") for label, group in members]


@given(LABELS_AND_GROUPS, st.integers(0, 99))
def test_a_group_is_in_one_split(members, seed):
    splits = assign_splits(recordings(members), Data(seed=seed), own_test_split=False)
    groups = [{members[number][1] for number in numbers} for numbers in splits.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert sorted(number for numbers in splits.values() for number in numbers) == list(range(len(members)))


def test_groups_give_each_split_about_its_share_of_each_class():
    members = [(label, group) for group in range(40) for label in (0, 0, 1)]
    splits = assign_splits(recordings(members), Data(test_split=0.2, val_split=0.1), own_test_split=False)
    assert [len(splits[name]) for name in ("train", "val", "test")] == [87, 9, 24]
    assert sum(members[number][0] for number in splits["test"]) == 8


def test_few_recordings_give_each_split_one_of_each_class():
    mine = [Recording("", number % 2, 1, False) for number in range(6)]
    splits = assign_splits(mine, Data(test_split=0.01, val_split=0.01), own_test_split=False)
    assert [sorted(number % 2 for number in numbers) for numbers in splits.values()] == [[0, 1]] * 3


def test_the_last_recording_of_a_class_stays_in_train():
    mine = [Recording("", number % 2, 1, False) for number in range(4)]
    splits = assign_splits(mine, Data(), own_test_split=False)
    assert [len(numbers) for numbers in splits.values()] == [2, 0, 2]


def test_a_validation_split_that_recordings_name_is_kept():
    mine = [Recording("", number % 2, 1, number < 4, 4 <= number < 8) for number in range(20)]
    splits = assign_splits(mine, Data(), own_test_split=True)
    assert (splits["test"], splits["val"]) == ([0, 1, 2, 3], [4, 5, 6, 7])


def test_a_test_split_is_drawn_beside_a_validation_split_that_recordings_name():
    mine = [Recording("", number % 2, 1, False, number < 4) for number in range(24)]
    splits = assign_splits(mine, Data(test_split=0.2), own_test_split=False)
    assert splits["val"] == [0, 1, 2, 3]
    assert len(splits["test"]) == 4


@pytest.mark.parametrize("num_groups", [3, 4, 5, 6])
def test_each_split_gets_a_group_if_there_are_three(num_groups):
    members = [(label, group) for group in range(num_groups) for label in (0, 1)]
    splits = assign_splits(recordings(members), Data(test_split=0.2, val_split=0.1), own_test_split=False)
    assert all(splits.values())
    assert len(splits["train"]) >= num_groups - 2


def test_a_group_that_alone_has_a_class_is_left_for_training():
    members = [(0, 0), (0, 0), (1, 1), (1, 2), (1, 3)]
    splits = assign_splits(recordings(members), Data(test_split=0.1, val_split=0.1), own_test_split=False)
    assert {0, 1} <= set(splits["train"])
    assert splits["val"]
    assert splits["test"]


def test_too_few_recordings_are_not_said_to_be_groups():
    mine = recordings([(0, 0), (0, 1), (0, 2), (1, 3)])
    splits = {"train": [0], "val": [1], "test": [2, 3]}
    dataset = replace(FOLDER, classes=("led", "arm"))
    with pytest.raises(UserError, match=r"class 'arm' .*: 4 recordings are too few to be divided; add recordings"):
        require_learnable(splits, mine, dataset)


@pytest.fixture
def gaps(caplog):
    """A function that returns the warnings of what splits lack: recordings, their split, and options."""

    def warnings(mine, splits, **options):
        warn_of_gaps(splits, mine, replace(FOLDER, classes=("led", "arm")), Config(**options))
        return [record.getMessage() for record in caplog.records]

    return warnings


@pytest.mark.parametrize(
    ("split", "follows"),
    [("val", "the best epoch is chosen without it"), ("test", "the test says nothing about it")],
)
def test_a_class_that_a_split_lacks_is_named_with_what_follows(gaps, split, follows):
    splits = {"train": [0, 1], "val": [2, 3], "test": [4, 5], split: [2]}
    mine = recordings([(number % 2, number) for number in range(6)])
    assert gaps(mine, splits) == [f"no recording of class arm is in {split}: {follows}"]


def test_two_groups_leave_no_validation_and_the_warning_names_the_options_that_need_it(gaps):
    mine = recordings([(0, 0), (1, 0), (0, 1), (1, 1)])
    train = Train(early_stopping_patience=5, best_metric="loss")
    (text,) = gaps(mine, {"train": [0, 1], "val": [], "test": [2, 3]}, train=train)
    assert text == (
        "no recording is left for val: 4 recordings are in 2 groups, which are not divided; change data.group_by or "
        "the groups of labels.csv, or train without it: train.early_stopping_patience=null "
        "train.best_metric=frame_accuracy"
    )


def test_a_published_test_split_of_which_nothing_is_there_is_not_called_too_small_to_draw(caplog):
    dataset = replace(FOLDER, name="NMNIST", classes=("0", "1"), own_test_split=True)
    mine = recordings([(number % 2, number) for number in range(4)])
    warn_of_gaps({"train": [0, 1], "val": [2, 3], "test": []}, mine, dataset, Config())
    assert caplog.messages == [
        "no recording is left for test: NMNIST has a test split of its own, and none of it is there"
    ]


def test_nothing_is_said_of_validation_that_nobody_wants(gaps):
    mine = recordings([(0, 0), (1, 1), (0, 2), (1, 3)])
    assert gaps(mine, {"train": [0, 1], "val": [], "test": [2, 3]}, data=Data(val_split=0)) == []
