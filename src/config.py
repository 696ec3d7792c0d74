"""The one list of options: dataclasses, loaded from YAML with overrides, checked, and written back."""

import contextlib
import dataclasses
import difflib
import math
import shlex
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.command_line import UserError, ended_by_signals
from src.helpers import LOG, match_choice
from src.io_funcs import expand_path
from src.yaml_text import MOST_BYTES, YamlError, decode, dump_yaml, parse_yaml

MOST_SHOWN = 80  # characters of a value in a message


def _option(default: Any, **metadata: Any) -> Any:
    """Return a field with limits and a spelling.

    least, most (inclusive), above and below (exclusive) limit numbers. Text is one of `choices`, whatever its case, or
    gets its one spelling by the function `spelling`. `path` says that `expand_path` reads it.
    """
    return field(default=default, metadata=metadata)


@dataclass
class Base:
    """What identifies a run."""

    seed: int = _option(0, least=0, most=2**63 - 1)  # of weights, connections and the order of batches
    job_id: str | None = None  # the command line's job id goes before it
    wandb: str = _option("disabled", choices=("disabled", "offline", "online"))  # Weights & Biases
    wandb_project: str = "difflogic-tonic"


@dataclass
class Data:
    """Which recordings, and how they become frames."""

    name: str = _option("NMNIST", spelling=str.upper)  # a dataset of src/events/datasets.py
    data_root: str = _option("data", path=True)  # folder that holds the recordings' folder; relative to the repository
    # Folder or base URL (http, https, file) of the dataset's archives, instead of their own.
    url: str | None = _option(None, path=True)
    frame_mode: str = _option("event_count", choices=("event_count", "time_window", "n_time_bins", "n_event_bins"))
    events_per_frame: int = _option(1500, least=1, most=10**9)  # with event_count
    time_window: int | None = _option(None, least=1, most=10**12)  # microseconds of a frame, with time_window
    n_time_bins: int | None = _option(None, least=1, most=10**6)  # frames a recording, of equal times
    n_event_bins: int | None = _option(None, least=1, most=10**6)  # frames a recording, of equal numbers of events
    overlap: int | float | None = _option(None, least=0, most=10**12)  # of consecutive frames, see `overlap_of`
    drop_incomplete: bool = True  # leave out what is after the last whole frame; event_count and time_window
    frame_dtype: str = _option("binary", choices=("binary", "counts"))  # counts: uint8, at most 255
    polarities: str = _option("both", choices=("both", "merged"))
    downsample: float = _option(1.0, above=0.0, most=1.0)  # coordinates are multiplied by it and cut
    denoise_time: int = _option(1200, least=0, most=10**12)  # microseconds; 0: no denoising
    first_saccade_only: bool = False  # N-MNIST: the events before 100 ms
    stabilize: bool = False  # N-MNIST: take the saccades' motion out
    num_threads: int = _option(0, least=0, most=4096)  # processes; 0: one for every core that there is to use
    val_split: float = _option(0.1, least=0.0, below=1.0)  # of the training recordings
    test_split: float = _option(0.2, above=0.0, below=1.0)  # of all, where the dataset has no test split of its own
    stack: int = _option(1, least=1, most=1000)  # frames that the model sees at a time; not part of the frame cache
    seed: int = _option(0, least=0, most=2**63 - 1)  # of the splits, and of simulated recordings
    reset_cache: bool = False  # prepare again although the cache is there
    prepare_if_missing: str | None = _option(None, path=True)  # a prepare config for training that finds no cache


@dataclass
class DataLoader:
    """How batches reach the model."""

    batch_size: int = _option(128, least=1, most=10**7)  # frames
    placement: str = _option("auto", choices=("auto", "device", "host"))  # of the frames; auto: device where they fit
    num_workers: int = _option(0, least=0, most=1024)  # threads that gather ahead, placement host; 0: none
    prefetch_factor: int = _option(2, least=1, most=1024)  # gathers ahead, a thread; a gather is 1 MiB, or a batch
    pin_memory: bool = True  # only where CUDA is used
    shuffle_train: bool = True  # a new order each epoch, a function of (base.seed, epoch)


@dataclass
class Augmentation:
    """What happens to training frames at random, see `src.training.augmentation`."""

    shift: int = _option(0, least=0, most=10**4)  # pixels, at most, in x and in y
    flip: bool = False  # left and right, every other frame; only of datasets whose classes it keeps
    event_drop: float = _option(0.0, least=0.0, most=1.0)  # probability, at most, of an event to be dropped
    rotation: float = _option(0.0, least=0.0, most=180.0)  # degrees, at most, either way
    scale: float = _option(0.0, least=0.0, most=3.0)  # width and height each by 1 / (1 + scale) to 1 + scale
    shear: float = _option(0.0, least=0.0, most=3.0)  # pixels, at most, that a row moves against the next


@dataclass
class Teacher:
    """A trained model whose class scores are learned beside the labels, see `optimisation.training_loss`."""

    model: str | None = _option(None, path=True)  # a job id, or a model's file
    weight: float = _option(0.7, least=0.0, most=1.0)  # of its part of the loss
    temperature: float = _option(2.0, least=1e-2, most=1e3)  # scores are divided by it, the teacher's and the model's


@dataclass
class Train:
    """How long, how fast, on what."""

    epochs: int = _option(40, least=1, most=10**6)
    learning_rate: float = _option(0.01, above=0.0, most=1e3)  # the highest one, see `optimisation.learning_rate`
    scheduler: str = _option("constant", choices=("constant", "cosine", "step", "plateau"))  # of the learning rate
    warmup_epochs: float = _option(0.0, least=0.0, most=1e6)  # of a linear rise to it
    min_learning_rate: float = _option(0.0, least=0.0, most=1e3)  # no scheduler falls below it
    step_epochs: int = _option(10, least=1, most=10**6)  # with step: between falls
    step_factor: float = _option(0.1, above=0.0, most=1.0)
    plateau_patience: int = _option(10, least=0, most=10**6)  # with plateau: epochs without a better best_metric
    plateau_factor: float = _option(0.1, above=0.0, most=1.0)
    weight_decay: float = _option(0.0, least=0.0, most=1e3)  # decoupled (AdamW); 0: Adam
    label_smoothing: float = _option(0.0, least=0.0, below=1.0)  # of the training loss
    clip_gradient_norm: float | None = _option(None, above=0.0, most=1e9)  # of all gradients together
    accumulate_batches: int = _option(1, least=1, most=10**6)  # whose gradients make one update
    batch_parts: int = _option(1, least=1, most=10**4)  # taken in turn by one process, as so many processes would
    ema_decay: float = _option(0.0, least=0.0, below=1.0)  # of an average of weights, see `optimisation.update_average`
    best_metric: str = _option("frame_accuracy", choices=("frame_accuracy", "recording_accuracy", "loss"))  # of val
    early_stopping_patience: int | None = _option(None, least=1, most=10**6)  # epochs without a better best_metric
    device: str = _option("cuda", spelling=str.lower)  # cuda (falls back to cpu), cuda:N or cpu
    dtype: str = _option("float32", choices=("float32", "bfloat16", "float16"))  # activations; weights stay float32
    log_interval: int = _option(50, least=1, most=10**9)  # batches
    checkpoint_interval_minutes: float = _option(10.0, least=0.0, most=1e6)  # 0: after every batch
    project_checkpoint_interval_minutes: float = _option(30.0, least=0.0, most=1e6)  # copies for when scratch is wiped
    save_model: bool = True  # keep final and best model on project storage
    report: bool = True  # draw logs/<job_id>/report.html when the run is done
    tensorboard: bool = False  # an event file in logs/<job_id>/tensorboard
    dataloader: DataLoader = field(default_factory=DataLoader)
    augmentation: Augmentation = field(default_factory=Augmentation)
    teacher: Teacher = field(default_factory=Teacher)


@dataclass
class ConvolutionOptions:
    """Convolutional logic layers before the others; a list has an entry a layer, or one for all of them."""

    # Trees of gates; their number of entries is that of the layers.
    kernels: list[int] = field(default_factory=lambda: [32, 128], metadata={"least": 1, "most": 10**6})
    # Pixels: its height, which is its width.
    receptive_field: list[int] = field(default_factory=lambda: [5], metadata={"least": 1, "most": 255})
    tree_depth: int = _option(3, least=1, most=4)  # gates from a pixel to the tree's output; 2^tree_depth pixels
    # What each leaf is chosen among; 1: it stays as it was drawn.
    candidates: list[int] = field(default_factory=lambda: [1], metadata={"least": 1, "most": 1000})
    # OR over windows of so many pixels squared; 1: none.
    pooling: list[int] = field(default_factory=lambda: [2], metadata={"least": 1, "most": 15})


@dataclass
class DiffLogicOptions:
    """Layers of differentiable logic gates, then a sum of bits a class."""

    architecture: str = _option("dense", choices=("dense", "convolutional"))
    num_neurons: int = _option(4000, least=1, most=10**9)  # a layer
    num_layers: int = _option(4, least=0, most=10**4)  # 0: with readout: votes, behind convolutions
    connections: str = _option("random", choices=("random", "unique", "local", "learned"))
    local_size: int = _option(8, least=2, most=10**4)  # local: pixels, each way, of the windows that neurons see
    candidates: int = _option(8, least=2, most=1000)  # learned: what each input of a neuron is chosen among
    grad_factor: float = _option(1.0, above=0.0, most=1e6)  # > 1 helps networks of more than 6 layers
    readout: str = _option("sum", choices=("sum", "votes"))  # of class scores, from the last layer's bits
    members: int = _option(1, least=1, most=1000)  # networks that share the kernels, and whose votes are added up
    tau: float = _option(10.0, above=0.0, most=1e9)  # class scores are divided by it
    thermometer_levels: int = _option(0, least=0, most=255)  # bits that a pixel's count becomes; 0: frames are binary
    thermometer: str = _option("fixed", choices=("fixed", "learnable"))  # the thresholds that the bits stand for
    implementation: str = _option("auto", choices=("auto", "torch", "numba", "triton", "difflogic"))
    parametrisation: str = _option("softmax", choices=("softmax", "light", "walsh"))  # of a gate: 16, 4, 4 parameters
    # residual: gates pass an input on at first; auto: so do convolutions, and dense layers begin normal.
    initialisation: str = _option("auto", choices=("auto", "normal", "residual"))
    forward_sampling: str = _option("soft", choices=("soft", "hard", "gumbel_soft", "gumbel_hard"))  # while training
    temperature: float = _option(1.0, least=1e-3, most=1e3)  # of the gates' softmax or sigmoid, in the first epoch
    final_temperature: float | None = _option(None, least=1e-3, most=1e3)  # in the last one; null: temperature
    convolution: ConvolutionOptions = field(default_factory=ConvolutionOptions)  # with architecture: convolutional


@dataclass
class CNNOptions:
    """Two convolutions with pooling, then two dense layers."""

    conv1_channels: int = _option(32, least=1, most=10**5)
    conv2_channels: int = _option(64, least=1, most=10**5)
    fc_hidden_size: int = _option(128, least=1, most=10**6)


@dataclass
class MLPOptions:
    """Dense layers with ReLU."""

    hidden_size: int = _option(512, least=1, most=10**6)
    num_hidden_layers: int = _option(2, least=1, most=10**3)


@dataclass
class Model:
    """Which model; each type has a section of its own."""

    model_type: str = _option("difflogic", choices=("difflogic", "cnn", "mlp"))
    difflogic: DiffLogicOptions = field(default_factory=DiffLogicOptions)
    cnn: CNNOptions = field(default_factory=CNNOptions)
    mlp: MLPOptions = field(default_factory=MLPOptions)


@dataclass
class Config:
    """All options of a preparation or of a run; a file gives those that differ from the defaults."""

    base: Base = field(default_factory=Base)
    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)
    model: Model = field(default_factory=Model)

    @classmethod
    def from_yaml(
        cls, path: str | Path, overrides: typing.Sequence[str] = (), overrides_of: str = "--override"
    ) -> "Config":
        """Load a YAML file, then apply overrides such as "train.epochs=10 train.learning_rate=1e-3".

        `overrides_of` says where the overrides come from, in a UserError's text.

        Raises:
            UserError: naming every mistake of the file and of the overrides, not only the first.
        """
        errors: list[str] = []
        config = cls()
        tree = tree_of(read_config(Path(path)), Path(path), config)
        if "config" in tree and not {"base", "data", "train"} & set(tree):
            raise UserError(f"{path}: this is the file of a sweep, which names a config; run ./sweep.sh {path}")
        fill_section(config, tree, "", str(path), errors)
        for key, value in _split_overrides(overrides, errors):
            _override(config, key, value, overrides_of, errors)
        where = f"{path} with {overrides_of}" if overrides else str(path)
        errors += [
            f"{where}: {error}"
            for error in [*framing_errors(config.data), *training_errors(config), *path_errors(config)]
        ]
        if errors:
            raise UserError("\n".join(errors))
        _warn_of_unused(config)
        for mode, option in SIZE_OPTIONS.items():
            if mode not in ("event_count", config.data.frame_mode) and getattr(config.data, option) is not None:
                LOG.warning("data.%s is not used, since data.frame_mode = %s", option, config.data.frame_mode)
        return config

    @classmethod
    def from_dict(cls, tree: dict[str, Any], where: str) -> "Config":
        """The config of a `to_dict`, such as a model's header holds; `where` is named in a UserError's text."""
        errors: list[str] = []
        config = cls()
        fill_section(config, tree, "", where, errors)
        if errors:
            raise UserError("\n".join(errors))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain dicts, in the order of the fields."""
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        """YAML that `from_yaml` loads to an equal config."""
        return dump_yaml(self.to_dict())

    def meaning(self) -> dict[str, Any]:
        """Return `to_dict` with the values that options which are null take from others.

        Configs that mean the same are equal in it: without an overlap, or with the default one.
        """
        tree = self.to_dict()
        gates = tree["model"]["difflogic"]
        tree["data"]["overlap"] = overlap_of(self.data)
        if gates["final_temperature"] is None:
            gates["final_temperature"] = gates["temperature"]
        return tree


# Of each frame mode, the option that says how large a frame is, and what it and the overlap count.
SIZE_OPTIONS = {
    "event_count": "events_per_frame",
    "time_window": "time_window",
    "n_time_bins": "n_time_bins",
    "n_event_bins": "n_event_bins",
}
_SIZE_UNITS = {"event_count": "events", "time_window": "microseconds"}  # of the modes with frames of a given size


def overlap_of(data: Data) -> int | float:
    """data.overlap in the mode's unit (events, microseconds, fraction of a bin); by default 1000 events, else 0."""
    if data.overlap is not None:
        return data.overlap
    return 1000 if data.frame_mode == "event_count" else 0


def framing_errors(data: Data) -> list[str]:
    """What of the framing options does not go together, one line each."""
    errors = []
    mode, overlap = data.frame_mode, overlap_of(data)
    option = SIZE_OPTIONS[mode]
    size = getattr(data, option)
    unit = _SIZE_UNITS.get(mode, "frames a recording")
    if size is None:
        errors.append(f"data.frame_mode = {mode} needs data.{option}, {unit}")
    if mode not in _SIZE_UNITS:
        if overlap >= 1:
            errors.append(
                f"data.overlap = {overlap} must be less than 1: with data.frame_mode = {mode} it is a fraction of a bin"
            )
    elif overlap != int(overlap):
        errors.append(f"data.overlap = {overlap} must be whole: with data.frame_mode = {mode} it counts {unit}")
    elif size is not None and overlap >= size:
        errors.append(
            f"data.overlap = {overlap} must be smaller than data.{option} = {size}, since a frame begins "
            f"{option} - overlap {unit} after the last"
        )
    if data.name != "NMNIST":
        errors += [
            f"data.{name} = true is for NMNIST only, whose saccades it knows; data.name = {data.name}"
            for name in ("first_saccade_only", "stabilize")
            if getattr(data, name)
        ]
    return errors


def training_errors(config: Config) -> list[str]:
    """What of the training options does not go together, one line each."""
    errors = []
    train = config.train
    if train.warmup_epochs >= train.epochs:
        errors.append(
            f"train.warmup_epochs = {train.warmup_epochs} must be less than train.epochs = {train.epochs}, or the "
            f"learning rate never reaches train.learning_rate"
        )
    if train.min_learning_rate > train.learning_rate:
        errors.append(
            f"train.min_learning_rate = {train.min_learning_rate} must not be above train.learning_rate = "
            f"{train.learning_rate}"
        )
    if train.batch_parts > train.dataloader.batch_size:
        errors.append(
            f"train.batch_parts = {train.batch_parts} must not be above train.dataloader.batch_size = "
            f"{train.dataloader.batch_size}: a part has a frame at least"
        )
    return errors


def _warn_of_unused(config: Config) -> None:
    """Tell which options of another scheduler or architecture are given in vain."""
    train, o = config.train, config.model.difflogic
    for option in dataclasses.fields(train):  # those of a scheduler begin with its name
        scheduler = option.name.partition("_")[0]
        if (
            scheduler in ("step", "plateau")
            and scheduler != train.scheduler
            and getattr(train, option.name) != option.default
        ):
            LOG.warning("train.%s is not used, since train.scheduler = %s", option.name, train.scheduler)
    if config.model.model_type == "difflogic" and o.architecture == "dense" and o.convolution != ConvolutionOptions():
        LOG.warning("model.difflogic.convolution is not used, since model.difflogic.architecture = dense")


def differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) of every leaf in which two `Config.to_dict()` differ."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_keys(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append((prefix + name, a, b))
    return found


def path_errors(section: Any, prefix: str = "") -> list[str]:
    """What of the paths cannot be expanded, one line each."""
    errors = []
    for option in dataclasses.fields(section):
        value = getattr(section, option.name)
        if dataclasses.is_dataclass(value):
            errors += path_errors(value, f"{prefix}{option.name}.")
        elif option.metadata.get("path") and value is not None:
            try:
                expand_path(value, f"{prefix}{option.name}")
            except UserError as error:
                errors.append(str(error))
    return errors


def read_config(path: Path) -> bytes:
    """Return the bytes of a YAML file, which may be a pipe; UserError if it cannot be read or is too large."""
    # Whatever writes to a pipe may never do so.
    waiting = contextlib.nullcontext() if path.is_file() else ended_by_signals()
    try:
        with waiting, path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        decode(content)
    except OSError as error:
        near = difflib.get_close_matches(path.name, (p.name for p in path.parent.glob("*.yaml")), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{path}: cannot read the config: {error.strerror}{hint}") from error
    except YamlError as error:
        raise UserError(f"{path}: {error}") from error
    return content


def tree_of(content: bytes, path: Path, expected: Any) -> dict[str, Any]:
    """Return the mapping of a YAML file whose top is like `expected`, a dataclass's instance.

    Raises:
        UserError: if there is none; it names `path`, where the content comes from.
    """
    try:
        tree = parse_yaml(decode(content))
    except YamlError as error:
        raise UserError(f"{path}: {error}") from error
    if tree is None:
        raise UserError(f"{path}: the config is empty; expected the sections {_names(expected)}")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected the sections {_names(expected)} at the top, got a {type(tree).__name__}")
    return tree


def shown(value: Any) -> str:
    """Return a value as a message shows it: as Python writes it, but null, and cut if it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _names(section: Any) -> str:
    return ", ".join(f.name for f in dataclasses.fields(section))


def _unknown(name: Any, section: Any, prefix: str) -> str:
    name = str(name)[:MOST_SHOWN]
    known = [f.name for f in dataclasses.fields(section)]
    if below := [key for key in _keys_below(section) if key.endswith(f".{name}")]:
        return f"unknown key {prefix}{name}; did you mean {prefix}{f' or {prefix}'.join(below)}?"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
    return f"unknown key {prefix}{name}; {hint}"


def _keys_below(section: Any) -> list[str]:
    """All keys of a section and of the sections in it, such as difflogic.tau of model."""
    keys = []
    for f in dataclasses.fields(section):
        value = getattr(section, f.name)
        keys += [f"{f.name}.{key}" for key in _keys_below(value)] if dataclasses.is_dataclass(value) else [f.name]
    return keys


def fill_section(section: Any, tree: dict[Any, Any], prefix: str, where: str, errors: list[str]) -> None:
    """Set the fields of a section from a mapping, collecting errors."""
    known = {f.name: f for f in dataclasses.fields(section)}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in known:
            errors.append(f"{where}: {_unknown(name, section, prefix)}")
        elif dataclasses.is_dataclass(current := getattr(section, name)):
            if isinstance(value, dict):
                fill_section(current, value, f"{key}.", where, errors)
            elif value is not None:  # a section with nothing under it keeps its defaults
                errors.append(f"{where}: {key} is a section ({_names(current)}), got {shown(value)}")
        else:
            _set(section, known[name], key, value, where, errors)


def _set(section: Any, option: dataclasses.Field[Any], key: str, value: Any, where: str, errors: list[str]) -> None:
    kind = typing.get_type_hints(type(section))[option.name]
    try:
        if "choices" in option.metadata:
            setattr(section, option.name, _chosen(value, option.metadata["choices"]))
        else:
            setattr(section, option.name, _checked(_converted(value, kind), option.metadata))
    except ValueError as error:
        errors.append(f"{where}: {key} = {shown(value)}: {error}")


def _chosen(value: Any, choices: tuple[str, ...]) -> str:
    choice = match_choice(str(value), choices)
    if choice is None:
        near = difflib.get_close_matches(str(value).lower(), choices, n=1)
        raise ValueError(f"allowed: {', '.join(choices)}{f'; did you mean {near[0]}?' if near else ''}")
    return choice


_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}  # words of YAML 1.1; the reader knows true and false


def _converted(value: Any, kind: Any) -> Any:
    """Return `value` as the field's type; ValueError says what was expected. Text may hold a number."""
    if isinstance(kind, types.UnionType):  # X | None, where int | float keeps whole numbers whole
        if value is None:
            return None
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        if float not in members:
            return _converted(value, members[0])
        number = _converted(value, float)
        return int(number) if number.is_integer() else number
    if kind == list[int]:  # one number is a list of one entry
        try:
            entries = [_converted(entry, int) for entry in (value if isinstance(value, list) else [value])]
        except ValueError:
            entries = []
        if not entries:
            raise ValueError("expected whole numbers in brackets: [32,128]")
        return entries
    if kind is Any or (kind is bool and isinstance(value, bool)):
        return value
    if kind is bool and str(value).lower() in _BOOLEANS:
        return _BOOLEANS[str(value).lower()]
    if kind is str and isinstance(value, str):
        if "\0" in value:
            raise ValueError("expected text without NUL characters")
        return value
    if kind in (int, float) and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is float:
                if math.isfinite(number):
                    return number
            elif isinstance(value, int):
                return value
            elif number.is_integer():
                return int(value) if isinstance(value, str) and value.lstrip("+-").isdigit() else int(number)
        except (ValueError, OverflowError):
            pass
    expected = {
        bool: "true or false",
        str: "text (quote it if it looks like a number)",
        int: "a whole number",
        float: "a finite number",
    }
    raise ValueError(f"expected {expected[kind]}")


def _checked(value: Any, limits: typing.Mapping[str, Any]) -> Any:
    if value is None:  # an optional option that is not set
        return None
    if isinstance(value, list):
        return [_checked(entry, limits) for entry in value]
    if "spelling" in limits:
        return limits["spelling"](value)
    words = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    bounds = [(limit, limits[limit]) for limit in words if limit in limits]
    broken = {
        "least": lambda bound: value < bound,
        "above": lambda bound: value <= bound,
        "most": lambda bound: value > bound,
        "below": lambda bound: value >= bound,
    }
    if any(broken[limit](bound) for limit, bound in bounds):
        raise ValueError("must be " + " and ".join(f"{words[limit]} {bound}" for limit, bound in bounds))
    return value


def _split_overrides(overrides: typing.Sequence[str], errors: list[str]) -> list[tuple[str, str]]:
    """Each override text holds key=value once or more, apart by spaces; quotes and brackets keep spaces in a value."""
    pairs = []
    for text in overrides:
        try:
            words = shlex.split(text)
        except ValueError as error:
            errors.append(f"--override {shown(text)}: {error}")
            continue
        if not words:
            errors.append(f"--override {shown(text)}: expected key=value, such as train.epochs=10")
        while words:
            word = words.pop(0)
            while words and "=[" in word and "]" not in word:
                word += f" {words.pop(0)}"
            if words and (words[0].startswith("=") or (word.endswith("=") and "=" not in words[0])):
                errors.append(f"--override {shown(text)}: leave out the blanks around =, as in train.epochs=10")
                break
            key, equals, value = word.partition("=")
            if equals and key:
                pairs.append((key, value))
            else:
                errors.append(f"--override {shown(word)}: expected key=value, such as train.epochs=10")
    return pairs


def find_option(
    config: Config, key: str, where: str, errors: list[str]
) -> tuple[Any, dataclasses.Field[Any], Any] | None:
    """The section, the field and the type of the option `key`, such as train.epochs; None, and an error, without it."""
    section: Any = config
    *path, last = key.split(".")
    prefix = ""
    for name in path:
        inner = getattr(section, name, None) if name in {f.name for f in dataclasses.fields(section)} else None
        if not dataclasses.is_dataclass(inner):
            errors.append(f"{where}: {_unknown(name, section, prefix)}")
            return None
        section, prefix = inner, f"{prefix}{name}."
    option = next((f for f in dataclasses.fields(section) if f.name == last), None)
    if option is None:
        errors.append(f"{where}: {_unknown(last, section, prefix)}")
    elif dataclasses.is_dataclass(inner := getattr(section, last)):
        errors.append(f"{where}: {key} is a section; override one of its keys: {_names(inner)}")
    else:
        return section, option, typing.get_type_hints(type(section))[last]
    return None


def _override(config: Config, key: str, text: str, where: str, errors: list[str]) -> None:
    if found := find_option(config, key, where, errors):
        section, option, kind = found
        _set(section, option, key, _override_value(text, kind), where, errors)


def _override_value(text: str, kind: Any) -> Any:
    """The text as YAML would read it; where the option is text, as it stands (a job id 007 stays 007)."""
    if kind is str or (isinstance(kind, types.UnionType) and str in typing.get_args(kind)):
        return None if text in ("null", "~") and kind is not str else text
    try:
        return parse_yaml(text)
    except YamlError:
        return text
