"""Which recordings train, val and test hold."""

import numpy as np
from numpy.typing import NDArray

from src.command_line import UserError
from src.config import Config, Data, Train
from src.events.datasets.dataset import Dataset, Recording
from src.frame_cache.cache import SPLITS
from src.helpers import LOG, printable
from src.options import plain

_WITHOUT_CLASS = {  # split: what follows if it has no recording of a class
    "train": "a network cannot learn {it}",
    "val": "the best epoch is chosen without {it}",
    "test": "the test says nothing about {it}",
}


def assign_splits(recordings: list[Recording], data: Data, own_test_split: bool) -> dict[str, list[int]]:
    """Return the numbers of each split's recordings: whole groups, stratified by class, drawn from data.seed.

    Splits that the recordings name themselves are kept; a missing one is drawn from the training recordings.
    """
    labels = np.array([recording.label for recording in recordings])
    groups = np.array([recording.group or str(number) for number, recording in enumerate(recordings)])
    is_test = np.array([recording.is_test for recording in recordings])
    is_val = np.array([recording.is_val for recording in recordings])
    if not own_test_split:
        is_test = _drawn(labels, groups, ~is_val, data.test_split, [data.seed, 0])
    if not is_val.any():
        is_val = _drawn(labels, groups, ~is_test, data.val_split, [data.seed, 1])
    members = {"train": ~is_test & ~is_val, "val": is_val, "test": is_test}
    return {split: np.flatnonzero(members[split]).tolist() for split in SPLITS}


def require_learnable(splits: dict[str, list[int]], recordings: list[Recording], dataset: Dataset) -> None:
    """Raise UserError if the user's own recordings leave nothing for the test, or a class without training."""
    if dataset.of_options is None:  # a published dataset, of which a part may be enough
        return
    to_train = {recordings[number].label for number in splits["train"]}
    untrained = [name for label, name in enumerate(dataset.classes) if label not in to_train]
    reason, what_to_do = _why_not_divided(recordings)
    if untrained and any(recording.is_test or recording.is_val for recording in recordings):
        raise UserError(
            f"class {untrained[0]!r} has no recording in train, so that a network cannot learn it; move some there, or "
            f"leave the class out"
        )
    if untrained:
        raise UserError(
            f"class {untrained[0]!r} has no recording left for training: {reason}; {what_to_do}, or give another "
            f"data.seed"
        )
    if not splits["test"]:
        raise UserError(f"no recording is left for the test: {reason}; {what_to_do}, or give a test split of your own")


def _why_not_divided(recordings: list[Recording]) -> tuple[str, str]:
    """Return why recordings cannot be divided among splits freely, and what to do about it."""
    num_recordings = len(recordings)
    num_groups = len({recording.group or str(number) for number, recording in enumerate(recordings)})
    num_files = len({recording.path for recording in recordings})
    if num_groups == num_files < num_recordings:
        return (
            f"{num_recordings:,} recordings are parts of {num_files:,} files, and parts of one file stay in one split",
            "add other files, cut these by the camera's software",
        )
    if num_groups == num_recordings:
        return f"{num_recordings:,} recordings are too few to be divided", "add recordings of each class"
    groups = "1 group, which is" if num_groups == 1 else f"{num_groups:,} groups, which are"
    return (
        f"{num_recordings:,} recordings are in {groups} not divided",
        "change data.group_by or the groups of labels.csv",
    )


def warn_of_gaps(splits: dict[str, list[int]], recordings: list[Recording], dataset: Dataset, config: Config) -> None:
    """Warn of each split without recordings, unless data.val_split is 0, and of each class that a split lacks."""
    for split in SPLITS:
        present = {recordings[number].label for number in splits[split]}
        missing = [name for label, name in enumerate(dataset.classes) if label not in present]
        if present and missing:
            LOG.warning("%s", missing_classes_text(split, "recording", missing))
        if present or (split == "val" and config.data.val_split == 0):
            continue
        if split == "test" and dataset.own_test_split:
            LOG.warning(
                "no recording is left for test: %s has a test split of its own, and none of it is there", dataset.name
            )
            continue
        reason, what_to_do = _why_not_divided(recordings)
        if split == "val" and (needing := options_needing_val(config.train)):
            what_to_do += f", or train without it: {' '.join(needing.values())}"
        LOG.warning("no recording is left for %s: %s; %s", split, reason, what_to_do)


def warn_of_lost_classes(
    splits: dict[str, list[int]], recordings: list[Recording], dataset: Dataset, left_out: set[int]
) -> None:
    """Warn of each class of which val or test had recordings, all of which were left out (their numbers)."""
    for split in ("val", "test"):
        before = {recordings[number].label for number in splits[split]}
        after = {recordings[number].label for number in splits[split] if number not in left_out}
        if after and before - after:
            lost = [dataset.classes[label] for label in sorted(before - after)]
            LOG.warning("%s", missing_classes_text(split, "recording that can be used", lost))


def missing_classes_text(split: str, what: str, classes: list[str]) -> str:
    """Say which classes have no recording or frame in a split, and what follows."""
    names = ", ".join(map(printable, classes))
    follows = _WITHOUT_CLASS[split].format(it="it" if len(classes) == 1 else "them")
    return f"no {what} of class {names} is in {split}: {follows}"


def options_needing_val(train: Train) -> dict[str, str]:
    """Return the options that depend on how val is classified, each with an override that trains without val."""
    needing = {
        "scheduler": train.scheduler == "plateau",
        "early_stopping_patience": train.early_stopping_patience is not None,
        "best_metric": train.best_metric != Train.best_metric,
    }
    return {
        f"train.{name} = {plain(getattr(train, name))}": f"train.{name}={plain(getattr(Train(), name))}"
        for name, needs in needing.items()
        if needs
    }


def _drawn(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    candidates: NDArray[np.bool_],
    fraction: float,
    seed: list[int],
) -> NDArray[np.bool_]:
    """Mark about `fraction` of each class's candidates at random, and of each group all or none."""
    if len(np.unique(groups)) == len(groups):
        return _stratified(labels, candidates, fraction, seed)
    num_classes = labels.max() + 1
    wanted = fraction * np.bincount(labels[candidates], minlength=num_classes)
    marked = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for group in rng.permutation(np.unique(groups[candidates])):
        members = candidates & (groups == group)
        lacking = wanted - np.bincount(labels[marked], minlength=num_classes)
        # A group is taken if it brings the classes' numbers nearer to what is wanted.
        left = lacking - np.bincount(labels[members], minlength=num_classes)
        if (left**2).sum() < (lacking**2).sum():
            marked |= members
    if fraction > 0 and not marked.any():
        marked = _smallest_group(labels, groups, candidates)
    return marked


def _smallest_group(
    labels: NDArray[np.int64], groups: NDArray[np.str_], candidates: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mark the smallest group of the candidates that leaves each of its classes some; none if there is no such one."""
    found = np.zeros(len(labels), dtype=bool)
    for group in np.unique(groups[candidates]):
        members = candidates & (groups == group)
        leaves_all = np.isin(labels[members], labels[candidates & ~members]).all()
        if leaves_all and (not found.any() or members.sum() < found.sum()):
            found = members
    return found


def _stratified(
    labels: NDArray[np.int64], candidates: NDArray[np.bool_], fraction: float, seed: list[int]
) -> NDArray[np.bool_]:
    """Mark `fraction` of each class's candidates, rounded, at random; at least one of several."""
    marked = np.zeros(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(candidates & (labels == label)))
        least = 1 if fraction > 0 and len(members) > 1 else 0
        marked[members[: max(least, round(fraction * len(members)))]] = True
    return marked
