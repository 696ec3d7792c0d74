"""The registry of datasets."""

import pytest

from src.command_line import UserError
from src.events.datasets import DATASETS, get_dataset


@pytest.mark.parametrize("name", list(DATASETS))
def test_a_dataset_is_found_by_its_name_in_any_case(name):
    assert get_dataset(name).name == name
    assert get_dataset(name.lower()).name == name


def test_an_unknown_dataset_is_an_error_that_names_the_nearest():
    with pytest.raises(UserError, match=r"data\.name = 'nmist'.*did you mean NMNIST\?"):
        get_dataset("nmist")


@pytest.mark.parametrize("name", list(DATASETS))
def test_labels_have_class_names_unless_a_folder_gives_them(name):
    dataset = get_dataset(name)
    assert (len(dataset.classes) > 1) == (dataset.of_options is None)
    assert len(set(dataset.classes)) == len(dataset.classes)
