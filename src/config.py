"""The one list of options: dataclasses, loaded from YAML with overrides, checked, and written back."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.command_line import UserError
from src.helpers import LOG
from src.options import fill_section, find_option, option, override, path_errors, read_config, split_overrides, tree_of
from src.yaml_text import dump_yaml


@dataclass
class Base:
    """What identifies a run."""

    seed: int = option(0, least=0, most=2**63 - 1)  # of weights, connections and the order of batches
    job_id: str | None = option(None, may_change=True)  # the command line's job id goes before it
    wandb: str = option("disabled", choices=("disabled", "offline", "online"), may_change=True)  # Weights & Biases
    wandb_project: str = option("difflogic-tonic", may_change=True)


@dataclass
class Data:
    """Which recordings, and how they become frames."""

    name: str = option("NMNIST", spelling=str.upper)  # a dataset of src/events/datasets.py
    data_root: str = option(
        "data", path=True, may_change=True
    )  # folder that holds the recordings' folder; relative to the repository
    # Folder or base URL (http, https, file) of the dataset's archives, instead of their own.
    url: str | None = option(None, path=True, may_change=True)
    frame_mode: str = option("event_count", choices=("event_count", "time_window", "n_time_bins", "n_event_bins"))
    events_per_frame: int = option(1500, least=1, most=10**9)  # with event_count
    time_window: int | None = option(None, least=1, most=10**12)  # microseconds of a frame, with time_window
    n_time_bins: int | None = option(None, least=1, most=10**6)  # frames a recording, of equal times
    n_event_bins: int | None = option(None, least=1, most=10**6)  # frames a recording, of equal numbers of events
    overlap: int | float | None = option(None, least=0, most=10**12)  # of consecutive frames, see `overlap_of`
    drop_incomplete: bool = True  # leave out what is after the last whole frame; event_count and time_window
    frame_dtype: str = option("binary", choices=("binary", "counts"))  # counts: uint8, at most 255
    polarities: str = option("both", choices=("both", "merged"))
    downsample: float = option(1.0, above=0.0, most=1.0)  # coordinates are multiplied by it and cut
    denoise_time: int = option(1200, least=0, most=10**12)  # microseconds; 0: no denoising
    first_saccade_only: bool = False  # N-MNIST: the events before 100 ms
    stabilize: bool = False  # N-MNIST: take the saccades' motion out
    num_threads: int = option(
        0, least=0, most=4096, may_change=True
    )  # processes; 0: one for every core that there is to use
    val_split: float = option(0.1, least=0.0, below=1.0)  # of the training recordings
    test_split: float = option(0.2, above=0.0, below=1.0)  # of all, where the dataset has no test split of its own
    stack: int = option(1, least=1, most=1000)  # frames that the model sees at a time; not part of the frame cache
    seed: int = option(0, least=0, most=2**63 - 1)  # of the splits, and of simulated recordings
    reset_cache: bool = option(False, may_change=True)  # prepare again although the cache is there
    prepare_if_missing: str | None = option(
        None, path=True, may_change=True
    )  # a prepare config for training that finds no cache


@dataclass
class DataLoader:
    """How batches reach the model."""

    batch_size: int = option(128, least=1, most=10**7)  # frames
    placement: str = option(
        "auto", choices=("auto", "device", "host"), may_change=True
    )  # of the frames; auto: device where they fit
    num_workers: int = option(
        0, least=0, most=1024, may_change=True
    )  # threads that gather ahead, placement host; 0: none
    prefetch_factor: int = option(
        2, least=1, most=1024, may_change=True
    )  # gathers ahead, a thread; a gather is 1 MiB, or a batch
    pin_memory: bool = option(True, may_change=True)  # only where CUDA is used
    shuffle_train: bool = True  # a new order each epoch, a function of (base.seed, epoch)


@dataclass
class Augmentation:
    """What happens to training frames at random, see `src.training.augmentation`."""

    shift: int = option(0, least=0, most=10**4)  # pixels, at most, in x and in y
    flip: bool = False  # left and right, every other frame; only of datasets whose classes it keeps
    event_drop: float = option(0.0, least=0.0, most=1.0)  # probability, at most, of an event to be dropped
    rotation: float = option(0.0, least=0.0, most=180.0)  # degrees, at most, either way
    scale: float = option(0.0, least=0.0, most=3.0)  # width and height each by 1 / (1 + scale) to 1 + scale
    shear: float = option(0.0, least=0.0, most=3.0)  # pixels, at most, that a row moves against the next


@dataclass
class Teacher:
    """A trained model whose class scores are learned beside the labels, see `optimisation.training_loss`."""

    # A job id, or a model's file. It may lie elsewhere on resume: the checkpoint has its digest.
    model: str | None = option(None, path=True, may_change=True)
    weight: float = option(0.7, least=0.0, most=1.0)  # of its part of the loss
    temperature: float = option(2.0, least=1e-2, most=1e3)  # scores are divided by it, the teacher's and the model's


@dataclass
class Train:
    """How long, how fast, on what."""

    epochs: int = option(40, least=1, most=10**6, may_change=True)
    learning_rate: float = option(0.01, above=0.0, most=1e3)  # the highest one, see `optimisation.learning_rate`
    scheduler: str = option("constant", choices=("constant", "cosine", "step", "plateau"))  # of the learning rate
    warmup_epochs: float = option(0.0, least=0.0, most=1e6)  # of a linear rise to it
    min_learning_rate: float = option(0.0, least=0.0, most=1e3)  # no scheduler falls below it
    step_epochs: int = option(10, least=1, most=10**6)  # with step: between falls
    step_factor: float = option(0.1, above=0.0, most=1.0)
    plateau_patience: int = option(10, least=0, most=10**6)  # with plateau: epochs without a better best_metric
    plateau_factor: float = option(0.1, above=0.0, most=1.0)
    weight_decay: float = option(0.0, least=0.0, most=1e3)  # decoupled (AdamW); 0: Adam
    label_smoothing: float = option(0.0, least=0.0, below=1.0)  # of the training loss
    clip_gradient_norm: float | None = option(None, above=0.0, most=1e9)  # of all gradients together
    accumulate_batches: int = option(1, least=1, most=10**6)  # whose gradients make one update
    ema_decay: float = option(0.0, least=0.0, below=1.0)  # of an average of weights, see `optimisation.update_average`
    best_metric: str = option("frame_accuracy", choices=("frame_accuracy", "recording_accuracy", "loss"))  # of val
    early_stopping_patience: int | None = option(
        None, least=1, most=10**6, may_change=True
    )  # epochs without a better best_metric
    device: str = option("cuda", spelling=str.lower, may_change=True)  # cuda (falls back to cpu), cuda:N or cpu
    dtype: str = option("float32", choices=("float32", "bfloat16", "float16"))  # activations; weights stay float32
    log_interval: int = option(50, least=1, most=10**9, may_change=True)  # batches
    checkpoint_interval_minutes: float = option(10.0, least=0.0, most=1e6, may_change=True)  # 0: after every batch
    project_checkpoint_interval_minutes: float = option(
        30.0, least=0.0, most=1e6, may_change=True
    )  # copies for when scratch is wiped
    save_model: bool = option(True, may_change=True)  # keep final and best model on project storage
    report: bool = option(True, may_change=True)  # draw logs/<job_id>/report.html when the run is done
    tensorboard: bool = option(False, may_change=True)  # an event file in logs/<job_id>/tensorboard
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
    tree_depth: int = option(3, least=1, most=4)  # gates from a pixel to the tree's output; 2^tree_depth pixels
    # What each leaf is chosen among; 1: it stays as it was drawn.
    candidates: list[int] = field(default_factory=lambda: [1], metadata={"least": 1, "most": 1000})
    # OR over windows of so many pixels squared; 1: none.
    pooling: list[int] = field(default_factory=lambda: [2], metadata={"least": 1, "most": 15})


@dataclass
class DiffLogicOptions:
    """Layers of differentiable logic gates, then a sum of bits a class."""

    architecture: str = option("dense", choices=("dense", "convolutional"))
    num_neurons: int = option(4000, least=1, most=10**9)  # a layer
    num_layers: int = option(4, least=0, most=10**4)  # 0: with readout: votes, behind convolutions
    connections: str = option("random", choices=("random", "unique", "local", "learned"))
    local_size: int = option(8, least=2, most=10**4)  # local: pixels, each way, of the windows that neurons see
    candidates: int = option(8, least=2, most=1000)  # learned: what each input of a neuron is chosen among
    grad_factor: float = option(1.0, above=0.0, most=1e6)  # > 1 helps networks of more than 6 layers
    readout: str = option("sum", choices=("sum", "votes"))  # of class scores, from the last layer's bits
    members: int = option(1, least=1, most=1000)  # networks that share the kernels, and whose votes are added up
    tau: float = option(10.0, above=0.0, most=1e9)  # class scores are divided by it
    thermometer_levels: int = option(0, least=0, most=255)  # bits that a pixel's count becomes; 0: frames are binary
    thermometer: str = option("fixed", choices=("fixed", "learnable"))  # the thresholds that the bits stand for
    implementation: str = option("auto", choices=("auto", "torch", "numba", "triton", "difflogic"), may_change=True)
    parametrisation: str = option("softmax", choices=("softmax", "light", "walsh"))  # of a gate: 16, 4, 4 parameters
    # residual: gates pass an input on at first; auto: so do convolutions, and dense layers begin normal.
    initialisation: str = option("auto", choices=("auto", "normal", "residual"))
    forward_sampling: str = option("soft", choices=("soft", "hard", "gumbel_soft", "gumbel_hard"))  # while training
    temperature: float = option(1.0, least=1e-3, most=1e3)  # of the gates' softmax or sigmoid, in the first epoch
    final_temperature: float | None = option(None, least=1e-3, most=1e3)  # in the last one; null: temperature
    convolution: ConvolutionOptions = field(default_factory=ConvolutionOptions)  # with architecture: convolutional


@dataclass
class CNNOptions:
    """Two convolutions with pooling, then two dense layers."""

    conv1_channels: int = option(32, least=1, most=10**5)
    conv2_channels: int = option(64, least=1, most=10**5)
    fc_hidden_size: int = option(128, least=1, most=10**6)


@dataclass
class MLPOptions:
    """Dense layers with ReLU."""

    hidden_size: int = option(512, least=1, most=10**6)
    num_hidden_layers: int = option(2, least=1, most=10**3)


@dataclass
class Model:
    """Which model; each type has a section of its own."""

    model_type: str = option("difflogic", choices=("difflogic", "cnn", "mlp"))
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
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = (), overrides_of: str = "--override") -> "Config":
        """Load a YAML file, then apply overrides such as "train.epochs=10 train.learning_rate=1e-3".

        `overrides_of` says where the overrides come from, in a UserError's text.

        Raises:
            UserError: naming every mistake of the file and of the overrides, not only the first.
        """
        errors: list[str] = []
        config = cls()
        tree = tree_of(read_config(Path(path)), Path(path), config)
        if "config" in tree and not {"base", "data", "train"} & set(tree):
            raise UserError(f"{path}: this is the file of a sweep, which names a config; run ./job.sh sweep {path}")
        fill_section(config, tree, "", str(path), errors)
        for key, value in split_overrides(overrides, errors):
            override(config, key, value, overrides_of, errors)
        where = f"{path} with {overrides_of}" if overrides else str(path)
        errors += [
            f"{where}: {error}"
            for error in [*framing_errors(config.data), *training_errors(config), *path_errors(config)]
        ]
        if errors:
            raise UserError("\n".join(errors))
        _warn_of_unused(config)
        for mode, size in SIZE_OPTIONS.items():
            if mode not in ("event_count", config.data.frame_mode) and getattr(config.data, size) is not None:
                LOG.warning("data.%s is not used, since data.frame_mode = %s", size, config.data.frame_mode)
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
    name = SIZE_OPTIONS[mode]
    size = getattr(data, name)
    unit = _SIZE_UNITS.get(mode, "frames a recording")
    if size is None:
        errors.append(f"data.frame_mode = {mode} needs data.{name}, {unit}")
    if mode not in _SIZE_UNITS:
        if overlap >= 1:
            errors.append(
                f"data.overlap = {overlap} must be less than 1: with data.frame_mode = {mode} it is a fraction of a bin"
            )
    elif overlap != int(overlap):
        errors.append(f"data.overlap = {overlap} must be whole: with data.frame_mode = {mode} it counts {unit}")
    elif size is not None and overlap >= size:
        errors.append(
            f"data.overlap = {overlap} must be smaller than data.{name} = {size}, since a frame begins "
            f"{name} - overlap {unit} after the last"
        )
    if data.name != "NMNIST":
        errors += [
            f"data.{saccade} = true is for NMNIST only, whose saccades it knows; data.name = {data.name}"
            for saccade in ("first_saccade_only", "stabilize")
            if getattr(data, saccade)
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
    return errors


def _warn_of_unused(config: Config) -> None:
    """Tell which options of another scheduler or architecture are given in vain."""
    train, o = config.train, config.model.difflogic
    for known in dataclasses.fields(train):  # those of a scheduler begin with its name
        scheduler = known.name.partition("_")[0]
        if (
            scheduler in ("step", "plateau")
            and scheduler != train.scheduler
            and getattr(train, known.name) != known.default
        ):
            LOG.warning("train.%s is not used, since train.scheduler = %s", known.name, train.scheduler)
    if config.model.model_type == "difflogic" and o.architecture == "dense" and o.convolution != ConvolutionOptions():
        LOG.warning("model.difflogic.convolution is not used, since model.difflogic.architecture = dense")


def may_change(key: str) -> bool:
    """Return whether a job may be resumed with another value of the option `key`, such as train.epochs.

    train.epochs may only grow, and not with a schedule that has followed its old value.
    """
    errors: list[str] = []
    found = find_option(Config(), key, "", errors)
    if found is None:
        raise KeyError(errors[0])
    return bool(found[1].metadata.get("may_change"))
