"""The frame cache's format: its identity, and writing, finding, reading, verifying and copying one.

A cache is a folder `data/<NAME>/<identity>/` with train, val and test .safetensors and a manifest.json that is written
last: without a valid manifest there is no cache.
"""

import contextlib
import difflib
import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from src.command_line import UserError
from src.config import Data
from src.events.datasets.dataset import Dataset, Recording
from src.events.framing import NAME_PATTERN, framing_name, framing_parameters
from src.frame_cache.framing_options import dataset_of, framing_of, require_fitting_dataset
from src.frame_cache.recordings import missing_folder_text
from src.helpers import LOG, printable
from src.io_funcs import (
    atomic_file,
    copy_verified,
    file_lock,
    from_repository,
    leftovers,
    open_regular,
    project_root,
    read_text,
    remove_leftovers,
    require_free_space,
    scratch_root,
    sha256_of,
    write_json,
)

FORMAT_VERSION = 2
SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"
MOST_NAMED = 3  # caches in a message
_IDENTITY = re.compile(rf"{NAME_PATTERN}_[0-9a-f]{{10}}")  # see `cache_identity`

_FILES = {split: f"{split}.safetensors" for split in SPLITS}

Manifest = dict[str, Any]


class MissingCacheError(UserError):
    """Neither storage has the frame cache that a config asks for."""


def cache_parameters(data: Data, dataset: Dataset) -> dict[str, Any]:
    """Return every option that changes a bit of a cache; see `source_fingerprint` for the recordings themselves."""
    require_fitting_dataset(data, dataset)
    parameters: dict[str, Any] = {
        "dataset": dataset.name,
        **framing_parameters(framing_of(data)),
        "val_split": data.val_split,
        "seed": data.seed,
        "format_version": FORMAT_VERSION,
    }
    if not dataset.own_test_split:
        parameters["test_split"] = data.test_split
    if dataset.of_options is not None:
        parameters |= {
            "folder": Path(dataset.folder).name,
            "evt3_clock": data.evt3_clock,
            "group_by": data.group_by,
            "sensor_size": None if data.sensor_size is None else list(data.sensor_size),
        }
    return parameters


def source_fingerprint(recordings: list[Recording], root: Path) -> str:
    """Return a SHA-256 over the names and sizes of the recordings: other files give another cache.

    What a table says of the user's own recordings counts as well: parts of files, labels, groups and splits.
    """
    digest = hashlib.sha256()
    for name, recording in zip(relative_names(recordings, root), recordings, strict=True):
        text = f"{name}\0{recording.size}\n"
        if recording.group:
            text += "\0".join(str(value) for value in vars(recording).values() if value is not recording.path) + "\n"
        digest.update(text.encode(errors="surrogateescape"))  # a file's name may be any bytes
    return digest.hexdigest()


def relative_names(recordings: list[Recording], root: Path) -> list[str]:
    """Return the recordings' file names, relative to the dataset's folder, in the order of their numbers."""
    beginning = f"{root}{os.sep}"
    return [recording.path.removeprefix(beginning) for recording in recordings]


def told_names(recordings: list[Recording], root: Path) -> list[str]:
    """Return `relative_names` with what else tells recordings apart for people: parts of files, and groups."""
    names = []
    for name, recording in zip(relative_names(recordings, root), recordings, strict=True):
        remarks = [] if recording.group in ("", name) else [f"group {' '.join(recording.group.split(chr(0)))}"]
        if recording.begin is not None or recording.end is not None:
            begin = "" if recording.begin is None else f"{'from ' if recording.end is None else ''}{recording.begin:,} "
            end = "" if recording.end is None else f"to {recording.end:,} "
            remarks.insert(0, f"{begin}{end}microseconds")
        names.append(f"{name} ({', '.join(remarks)})" if remarks else name)
    return names


def recording_names(manifest: Manifest) -> list[str] | None:
    """Return the names of a cache's recordings for people, see `told_names`, in the order of their numbers.

    A number in `Split.recordings` is a place in this list. Caches that were made before names were kept give None.
    """
    names = manifest.get("recording_names")
    return names if isinstance(names, list) else None


def cache_identity(parameters: dict[str, Any], fingerprint: str) -> str:
    """Return the folder name of a cache: the framing in words, and a short hash of everything."""
    whole = json.dumps([parameters, fingerprint], sort_keys=True).encode()
    return f"{framing_name(parameters)}_{hashlib.sha256(whole).hexdigest()[:10]}"


def split_bytes(num_frames: float, frame_bytes: int) -> int:
    """Return about how many bytes a split takes: a label and a number stand beside each frame."""
    return round(num_frames * (frame_bytes + 16))


def write_split(
    path: Path,
    frame_bytes: int,
    labels: NDArray[np.int64],
    recordings: NDArray[np.int64],
    counts: NDArray[np.int64],
    frames: Iterable[bytes],
) -> dict[str, Any]:
    """Write one split atomically, its frames streamed; return its entry in the manifest.

    Args:
        path: the .safetensors file.
        frame_bytes: bytes per frame.
        labels, recordings, counts: label, number and number of frames of each recording, [R].
        frames: the frames of all recordings, in chunks of any size.

    Raises:
        ValueError: if the chunks are not as many bytes as the counts say.
    """
    num_frames = int(counts.sum())
    # The int64 tensors come first, so that each begins at a multiple of 8 bytes, as readers expect.
    ends = np.cumsum([8 * num_frames, 8 * num_frames, frame_bytes * num_frames]).tolist()
    header = json.dumps(
        {
            "labels": _tensor_entry("I64", [num_frames], 0, ends[0]),
            "recordings": _tensor_entry("I64", [num_frames], ends[0], ends[1]),
            "frames": _tensor_entry("U8", [num_frames, frame_bytes], ends[1], ends[2]),
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    with atomic_file(path) as out:

        def write(part: bytes) -> None:
            digest.update(part)
            out.write(part)

        write(struct.pack("<Q", len(header)) + header)
        write(np.repeat(labels, counts).astype("<i8").tobytes())
        write(np.repeat(recordings, counts).astype("<i8").tobytes())
        for piece in frames:
            write(piece)
        size = out.tell()
        if size != 8 + len(header) + ends[2]:
            raise ValueError(f"{path}: {size} bytes written where {8 + len(header) + ends[2]} were to be")
    return {
        "file": path.name,
        "size": size,
        "sha256": digest.hexdigest(),
        "frames": num_frames,
        "recordings": int((counts > 0).sum()),
        "frames_a_recording": [int(counts.min()), float(np.median(counts)), int(counts.max())]
        if len(counts)
        else [0, 0.0, 0],
    }


def _tensor_entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make the cache exist: write its manifest, with a checksum of its own."""
    write_json(folder / MANIFEST, {**manifest, "manifest_sha256": _manifest_checksum(manifest)})


def read_manifest(folder: Path) -> Manifest | None:
    """Return a cache folder's manifest; None if it is missing, damaged, not a cache's or of another format version."""
    try:
        manifest = _whole_manifest(folder)
        # Files of these names are copied and removed, so they are checked.
        valid = (
            manifest["format_version"] == FORMAT_VERSION
            and {split: entry["file"] for split, entry in manifest["splits"].items()} == _FILES
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return manifest if valid else None


def is_of_other_version(folder: Path) -> bool:
    """Return whether a folder holds a whole manifest that another version of this program has written."""
    try:
        return bool(_whole_manifest(folder)["format_version"] != FORMAT_VERSION)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _whole_manifest(folder: Path) -> Manifest:
    """Return the manifest if it has its checksum; else raise ValueError, KeyError, AttributeError or TypeError."""
    manifest: Manifest = json.loads(read_text(folder / MANIFEST))
    if manifest.pop("manifest_sha256") != _manifest_checksum(manifest):
        raise ValueError(f"{folder / MANIFEST} does not have its checksum")
    return manifest


def _manifest_checksum(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def damages(
    folder: Path,
    manifest: Manifest,
    fast: bool = False,
    check: Callable[[], None] = lambda: None,
    advance: Callable[[int], object] = lambda size: None,
) -> list[str]:
    """Return a line for each damaged file of a cache; `fast` compares sizes, not checksums.

    `check` and `advance` are as for `io_funcs.sha256_of`.
    """
    found = []
    for entry in manifest["splits"].values():
        path = folder / entry["file"]
        if not path.is_file():
            found.append(f"{path} is {'not a file' if path.exists() else 'missing'}")
        elif path.stat().st_size != entry["size"]:
            found.append(f"{path} has {path.stat().st_size} bytes instead of {entry['size']}")
        elif not fast and sha256_of(path, check, advance) != entry["sha256"]:
            found.append(f"{path} does not have the checksum that its manifest names")
    return found


def is_whole(folder: Path, fast: bool = False) -> bool:
    """Return whether a folder holds a valid cache; `fast` is as for `damages`."""
    manifest = read_manifest(folder)
    return manifest is not None and not damages(folder, manifest, fast)


def find_caches(root: Path, parameters: dict[str, Any]) -> list[Path]:
    """Return the folders of the caches under a storage root that were prepared with exactly these parameters."""
    folder = root / "data" / parameters["dataset"]
    return [
        path.parent
        for path in sorted(folder.glob(f"*/{MANIFEST}"))
        if (manifest := read_manifest(path.parent)) is not None and manifest["parameters"] == parameters
    ]


def fitting_cache(data: Data) -> Path:
    """Return the cache that a data section means, as data/<NAME>/<identity>; it is on scratch or project storage.

    If recordings lie under data.data_root, it is the cache that was made from them. If there are none, as on the nodes
    of a cluster, it is the one that fits the options. Recordings are listed only if a cache fits the options.

    Raises:
        MissingCacheError: if there is no such cache; the text says how to prepare it.
        UserError: if there are no recordings and several caches fit.
    """
    dataset = dataset_of(data)
    parameters = cache_parameters(data, dataset)
    root = from_repository(data.data_root) / dataset.folder
    made_from = {}  # cache -> fingerprint of its recordings
    for storage in (scratch_root(), project_root()):
        for folder in find_caches(storage, parameters):
            if manifest := read_manifest(folder):
                made_from[folder.relative_to(storage)] = manifest["sources"]["fingerprint"]
    if not made_from:
        missing_folder = missing_folder_text(data, dataset, root)
        raise MissingCacheError(
            f"{f'{missing_folder}, and ' if missing_folder else ''}no frame cache of {dataset.name} with this "
            f"config's data section under {scratch_root() / 'data'} or {project_root() / 'data'} "
            f"({_nearest_caches(parameters)}); prepare it with ./prepare_data.sh, this config and the same overrides "
            f"of data"
        )
    option = f"data.{dataset.folder_option}"
    told = f"{option} = {printable(str(getattr(data, dataset.folder_option)))}"
    recordings = _recordings_there(root, dataset, data.seed)
    if recordings:
        fingerprint = source_fingerprint(recordings, root)
        for relative, theirs in made_from.items():
            if theirs == fingerprint:
                return relative
        raise MissingCacheError(
            f"{told}: no frame cache was made from its {len(recordings):,} recordings of {dataset.name}, only from "
            f"others; prepare one with ./prepare_data.sh and this config, or correct {option}"
        )
    if len(made_from) > 1:
        raise UserError(
            f"several caches fit this config, made from different recordings: {', '.join(map(str, made_from))}; "
            f"set {option} to the recordings that you mean, or move the other caches elsewhere"
        )
    if data.data_root != Data().data_root and not from_repository(data.data_root).is_dir():
        LOG.warning("data.data_root = %s: no such folder; any cache that fits the config is taken", data.data_root)
    else:
        LOG.info("no recordings to compare with in %s: taking the cache that fits the config", root)
    return next(iter(made_from))


def _recordings_there(root: Path, dataset: Dataset, seed: int) -> list[Recording]:
    """Return the recordings in a dataset's folder; none if they cannot be listed, or are for another seed."""
    try:
        return dataset.find_recordings(root) if dataset.is_current(root, seed) else []
    except OSError as error:
        LOG.warning("cannot list the recordings of %s: %s", dataset.name, error)
        return []


def _nearest_caches(parameters: dict[str, Any]) -> str:
    """Say which caches of a dataset there are, by the names most like that of the one with these parameters."""
    roots = (scratch_root(), project_root())
    there = {path.parent.name for root in roots for path in root.glob(f"data/{parameters['dataset']}/*/{MANIFEST}")}
    nearest = difflib.get_close_matches(framing_name(parameters), sorted(there), n=MOST_NAMED, cutoff=0)
    words = f"the nearest of {len(there):,}" if len(there) > len(nearest) else "there"
    return f"{words}: {', '.join(nearest) or 'none'}"


def copy_cache(source: Path, target: Path, check: Callable[[], None] = lambda: None) -> Manifest:
    """Copy a cache file by file, verified, its manifest last; return the manifest. The caller holds the target's lock.

    Raises:
        UserError: if the source is not a valid cache, or the target's disk is too full.
        OSError: if a file does not have its checksum.
    """
    manifest = read_manifest(source)
    if manifest is None:
        raise UserError(f"{source} holds no valid cache manifest; prepare the cache again")
    remove_leftovers(target)
    require_free_space(target, cache_size(manifest))
    (target / MANIFEST).unlink(missing_ok=True)
    with byte_bar("copying", 2 * cache_size(manifest)) as bar:
        for entry in manifest["splits"].values():
            copy_verified(source / entry["file"], target / entry["file"], entry["sha256"], check, bar.update)
    write_manifest(target, manifest)
    return manifest


def remove_cache(folder: Path) -> None:
    """Remove a cache's files and its folder; the caller holds its lock.

    Raises:
        OSError: if something else is in the folder; it stays.
    """
    (folder / MANIFEST).unlink(missing_ok=True)  # first: half a cache must not look like one
    for name in _FILES.values():
        (folder / name).unlink(missing_ok=True)
    remove_leftovers(folder)
    folder.rmdir()


def is_cache_folder(folder: Path) -> bool:
    """Return whether a folder is a cache's, whole or not, by its name or a file in it. Others are never touched."""
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    names = {MANIFEST, *_FILES.values()}
    return bool(
        _IDENTITY.fullmatch(folder.name) or any((folder / name).exists() for name in names) or leftovers(folder)
    )


def lock_path(folder: Path) -> Path:
    """Return the lock beside a cache folder, which whoever writes to the folder holds, see `locked`."""
    return folder.with_name(f".{folder.name}.lock")


@contextlib.contextmanager
def locked(folder: Path, waiting: str | None = None, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a cache's folder, and remove it at the end; see `file_lock`."""
    with file_lock(lock_path(folder), waiting, check, remove=True):
        yield


@contextlib.contextmanager
def both_locked(relative: Path, waiting: str | None = None, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the locks of a cache, data/<NAME>/<identity>, on project storage and scratch; see `locked`."""
    folders = dict.fromkeys((root / relative).resolve() for root in (project_root(), scratch_root()))
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(locked(folder, waiting, check))
        yield


def byte_bar(description: str, total: int) -> "tqdm[Any]":
    """Return a progress bar that counts bytes; it is silent if there is no terminal."""
    return tqdm(total=total, desc=description, unit="B", unit_scale=True, unit_divisor=1024, disable=None, leave=False)


def content_of(manifest: Manifest) -> str:
    """Return a SHA-256 over the checksums of a cache's splits: equal frames, labels and numbers give an equal one."""
    checksums = [manifest["splits"][split]["sha256"] for split in SPLITS]
    return hashlib.sha256(" ".join(checksums).encode()).hexdigest()


def cache_size(manifest: Manifest) -> int:
    """Return the bytes of a cache's tensor files."""
    return sum(entry["size"] for entry in manifest["splits"].values())


@dataclass(frozen=True)
class Split:
    """The frames of one split.

    Attributes:
        frames: uint8 [F, ceil(P*H*W/8)] of packed bits, or [F, P*H*W] of counts; memory-mapped.
        labels: int64 [F].
        recordings: int64 [F], the number of each frame's recording in the dataset's sorted list; a recording's frames
            follow each other, the oldest first.
        stack: frames per sample, see `src.frame_cache.stacking`; there are as many samples as frames.
        frame_bits: bits per frame, P*H*W, or 8*P*H*W for counts; only if frames are stacked.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    recordings: NDArray[np.int64]
    stack: int = 1
    frame_bits: int = 0

    def __len__(self) -> int:
        return len(self.labels)


def read_split(folder: Path, split: str) -> Split:
    """Open one split of a cache that has been verified."""
    path = folder / f"{split}.safetensors"
    with open_regular(path) as file:
        (header_size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(header_size))

    def tensor(name: str, dtype: str) -> NDArray[Any]:
        entry = header[name]
        if 0 in entry["shape"]:  # an empty file region cannot be mapped
            return np.empty(entry["shape"], dtype)
        offset = 8 + header_size + entry["data_offsets"][0]
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=tuple(entry["shape"]))

    return Split(tensor("frames", "u1"), np.array(tensor("labels", "<i8")), np.array(tensor("recordings", "<i8")))
