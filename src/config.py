"""The options: one list of dataclass fields, each with its help, its unit, its limits and what it needs to count."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import options
from src.command_line import UserError
from src.frame_modes import FRAME_MODES, framing_errors
from src.helpers import LOG
from src.options import AutoOr, Reader, checks, option, section, when, when_above, when_not, when_set
from src.options.yaml_text import dump_yaml
from src.registry import BACKENDS, CONNECTIONS, DATASETS, EVT3_CLOCKS, MODEL_TYPES, PARAMETRISATIONS

MOST_SEED = 2**63 - 1

_SIZED_MODES = [name for name, mode in FRAME_MODES.items() if not mode.in_bins]

# The table of options. An entry has the option's default, its help, its unit, its limits and what it needs.
# fmt: off


@dataclass(frozen=True)
class Base:
    """What identifies a run."""

    seed: int = option(0, "seed of weights, connections and the order of batches", least=0, most=MOST_SEED)
    job_id: str | None = option(
        None, "name of the job's folders, if the command line gives none with --job_id", may_change=True)
    wandb: str = option(
        "disabled", "Weights & Biases; `offline` writes a folder for `wandb sync`",
        choices=("disabled", "offline", "online"), may_change=True)
    wandb_project: str = option(
        "difflogic-tonic", "project of the run at Weights & Biases", may_change=True,
        needs=[when("base.wandb", "offline", "online")])


@dataclass(frozen=True)
class Data:
    """Which recordings, and how they become frames."""

    name: str = option("NMNIST", "dataset", choices=DATASETS)
    data_root: str = option(
        "data", "folder that holds the dataset's folder; relative to the repository", path=True, may_change=True)
    folder: str | None = option(
        None, "folder of your own recordings, for data.name = FOLDER; under data_root, or a path", path=True,
        may_change=True)
    sensor_size: tuple[int, ...] | None = option(
        None, "width and height of your own recordings' sensor; null: as the files' headers say", unit="pixels",
        length=2, least=1, most=65536)
    evt3_clock: str = option(
        "expelliarmus", "whose timestamps EVT 3.0 files of your own recordings get: expelliarmus's, as in tonic, or "
        "Metavision's, which are the camera's microseconds", choices=EVT3_CLOCKS)
    group_by: str | None = option(
        None, "regular expression that finds the group, such as a person, in the path of each of your own recordings; "
        "splits divide no group; null: by labels.csv, else each file is a group")
    url: str | None = option(
        None, "folder, or http(s):// or file:// URL of one, that has the dataset's archives; null: their own addresses",
        path=True, may_change=True)
    frame_mode: str = option("event_count", "what a frame holds, as in tonic's ToFrame", choices=FRAME_MODES)
    events_per_frame: int = option(
        1500, "size of a frame", unit="events", least=1, most=10**9, needs=[when("data.frame_mode", "event_count")])
    time_window: int | None = option(
        None, "length of a frame", unit="microseconds", least=1, most=10**12,
        needs=[when("data.frame_mode", "time_window")])
    n_time_bins: int | None = option(
        None, "number of frames that cover equal times", unit="frames per recording", least=1, most=10**6,
        needs=[when("data.frame_mode", "n_time_bins")])
    n_event_bins: int | None = option(
        None, "number of frames that hold equally many events", unit="frames per recording", least=1, most=10**6,
        needs=[when("data.frame_mode", "n_event_bins")])
    overlap: int | float | None = option(
        None,
        "what consecutive frames share: events, microseconds or a fraction of a bin; null: 1000 events, otherwise 0",
        least=0, most=10**12)
    drop_incomplete: bool = option(
        True, "leave out what follows the last whole frame; false is tonic's include_incomplete",
        needs=[when("data.frame_mode", *_SIZED_MODES)])
    frame_dtype: str = option(
        "binary",
        "what a pixel holds: whether it had an event, or how many, up to 255 (for difflogic see thermometer_levels)",
        choices=("binary", "counts"))
    polarities: str = option("both", "a channel per polarity, or one for both", choices=("both", "merged"))
    crop: tuple[int, ...] | None = option(
        None, "region of the sensor that frames show: x, y, width, height; null: all of it", unit="pixels", length=4,
        least=0, most=65536)
    downsample: float = option(
        1.0, "factor of coordinates, which are then rounded down; tonic's spatial_factor", above=0.0, most=1.0)
    denoise_time: int = option(
        1200, "an event stays if a neighbouring pixel had one less than this before; 0: no denoising",
        unit="microseconds", least=0, most=10**12)
    first_saccade_only: bool = option(False, "keep only the events of the first 100 ms; N-MNIST only")
    stabilize: bool = option(False, "take the motion of the saccades out; N-MNIST only")
    num_threads: int = option(
        0, "processes of the preparation; 0: one per core", unit="processes", least=0, most=4096, may_change=True)
    window_events: int = option(
        1 << 22, "what is decoded at once of a long recording, which bounds the memory: about 100 bytes per event",
        unit="events", least=1000, most=10**10, may_change=True)
    val_split: float = option(0.1, "fraction of the training recordings for validation", least=0.0, below=1.0)
    test_split: float = option(
        0.2, "fraction of all recordings for the test; some datasets have a test split of their own", above=0.0,
        below=1.0)
    stack: int = option(
        1, "size of a sample: a frame and those before it in its recording, as channels, the oldest first",
        unit="frames", least=1, most=1000)
    seed: int = option(
        0, "seed of the splits and of simulated recordings, so that runs with several base.seed share data", least=0,
        most=MOST_SEED)
    reset_cache: bool = option(False, "prepare again although the frames are there", may_change=True)
    prepare_if_missing: str | None = option(
        None, "config that training prepares the frames with if they are missing", path=True, may_change=True)


@dataclass(frozen=True)
class DataLoader:
    """How batches reach the model."""

    batch_size: int = option(128, "size of a batch, over all processes", unit="frames", least=1, most=10**7)
    placement: str = option(
        "auto", "memory that holds the frames; auto: a GPU's if they take at most a quarter of what is free there",
        choices=("auto", "device", "host"), may_change=True)
    num_workers: int = option(
        0, "threads that gather batches ahead, which hides a slow disk; 0: the training loop gathers", unit="threads",
        least=0, most=1024, may_change=True, needs=[when("train.dataloader.placement", "auto", "host")])
    prefetch_factor: int = option(
        2, "gathers that each thread is ahead; a gather is 1 MiB of frames, or a batch if that is more",
        unit="gathers per thread", least=1, most=1024, may_change=True,
        needs=[when_above("train.dataloader.num_workers", 0)])
    pin_memory: bool = option(
        True, "gather into pinned memory, from which copies to a GPU run beside its kernels", may_change=True,
        needs=[when("train.dataloader.placement", "auto", "host"), when_not("train.device", "cpu")])
    shuffle_train: bool = option(True, "take training frames in a new order in each epoch")


@dataclass(frozen=True)
class Augmentation:
    """What happens to training frames at random."""

    shift: int = option(0, "each frame is moved by -shift to shift in x and in y", unit="pixels", least=0, most=10**4)
    flip: bool = option(
        False, "mirror every other frame, left and right; refused if that changes the class, as of digits")
    event_drop: float = option(
        0.0, "each frame loses its events with a probability of its own, from 0 to this", least=0.0, most=1.0)
    rotation: float = option(
        0.0, "each frame is turned by -rotation to rotation", unit="degrees", least=0.0, most=180.0)
    scale: float = option(
        0.0, "width and height are each multiplied by a factor from 1 / (1 + scale) to 1 + scale", least=0.0, most=3.0)
    shear: float = option(
        0.0, "each row is moved against the next by -shear to shear", unit="pixels", least=0.0, most=3.0)


@dataclass(frozen=True)
class Teacher:
    """A trained model whose class scores are learned beside the labels."""

    model: str | None = option(
        None, "job id or .safetensors file of the teacher; on resume it may lie elsewhere, but must be the same model",
        path=True, may_change=True)
    weight: float = option(
        0.7, "the teacher's part of the loss", least=0.0, most=1.0, needs=[when_set("train.teacher.model")])
    temperature: float = option(
        2.0, "divisor of the teacher's and the model's class scores in that part", least=1e-2, most=1e3,
        needs=[when_above("train.teacher.weight", 0)])


@dataclass(frozen=True)
class Train:
    """How long, how fast, and on what a model is trained."""

    epochs: int = option(
        40, "length of the training; on resume it may only grow, and not with a schedule that depends on it",
        unit="epochs", least=1, most=10**6, may_change=True)
    learning_rate: float = option(0.01, "learning rate of Adam; the highest one if it changes", above=0.0, most=1e3)
    scheduler: str = option(
        "constant", "how the learning rate falls; cosine: a half wave from the end of the warm-up to the last epoch",
        choices=("constant", "cosine", "step", "plateau"))
    warmup_epochs: float = option(
        0.0, "length of a linear rise to the learning rate, with any scheduler; may be a part of an epoch",
        unit="epochs", least=0.0, below="train.epochs")
    min_learning_rate: float = option(
        0.0, "learning rate that cosine ends at, and that step and plateau do not fall below", least=0.0,
        most="train.learning_rate", needs=[when("train.scheduler", "cosine", "step", "plateau")])
    step_epochs: int = option(
        10, "time between falls of the learning rate", unit="epochs", least=1, most=10**6,
        needs=[when("train.scheduler", "step")])
    step_factor: float = option(
        0.1, "factor of the learning rate at each fall", above=0.0, most=1.0, needs=[when("train.scheduler", "step")])
    plateau_patience: int = option(
        10, "time without a better train.best_metric before the learning rate falls, as in ReduceLROnPlateau",
        unit="epochs", least=0, most=10**6, needs=[when("train.scheduler", "plateau")])
    plateau_factor: float = option(
        0.1, "factor of the learning rate at each fall", above=0.0, most=1.0,
        needs=[when("train.scheduler", "plateau")])
    weight_decay: float = option(
        0.0, "decoupled decay (AdamW) of all parameters but learnable thresholds; 0: Adam", least=0.0, most=1e3)
    label_smoothing: float = option(
        0.0, "part of a training target that is spread over all classes; the validation loss has none", least=0.0,
        below=1.0)
    hardware_cost: float = option(
        0.0,
        "price of a thousand gates that are neither constants nor wires, or votes, added to the loss; truth tables "
        "cost a part of it; 0: all are free",
        least=0.0, most=1e6, needs=[when("model.model_type", "difflogic")])
    clip_gradient_norm: float | None = option(
        None, "largest norm of all gradients together; larger ones are scaled down to it; null: no limit", above=0.0,
        most=1e9)
    accumulate_batches: int = option(
        1, "batches per update of the weights; those left at the end of an epoch make one too", unit="batches", least=1,
        most=10**6)
    ema_decay: float = option(
        0.0, "decay of a moving average of the weights, which is evaluated and saved in their place; 0: no average",
        least=0.0, below=1.0)
    best_metric: str = option(
        "frame_accuracy",
        "validation metric by which a model is the best, and which plateau and early stopping wait for",
        choices=("frame_accuracy", "recording_accuracy", "loss"))
    early_stopping_patience: int | None = option(
        None, "end after this time, and at least 100 batches, without a better train.best_metric; null: never",
        unit="epochs", least=1, most=10**6, may_change=True)
    device: str = option(
        "cuda", "processor: cuda, cuda:N or cpu; without a GPU, cuda is the CPU, with a warning", spelling=str.lower,
        may_change=True)
    dtype: str = option(
        "float32", "type of activations; weights stay float32", choices=("float32", "bfloat16", "float16"))
    log_interval: int = option(
        50, "distance between points of the loggers' curves, and between updates of the progress bar", unit="batches",
        least=1, most=10**9, may_change=True)
    checkpoint_interval_minutes: float = option(
        10.0, "time between checkpoints, and the most that a crash costs; 0: after every batch", unit="minutes",
        least=0.0, most=1e6, may_change=True)
    project_checkpoint_interval_minutes: float = option(
        30.0, "time between copies of the checkpoint on project storage, for when scratch is wiped", unit="minutes",
        least=0.0, most=1e6, may_change=True)
    save_model: bool = option(True, "keep the final and the best model on project storage", may_change=True)
    report: bool = option(True, "write logs/<job_id>/report.html when the run is done", may_change=True)
    tensorboard: bool = option(False, "write event files into logs/<job_id>/tensorboard", may_change=True)
    dataloader: DataLoader = section(DataLoader)
    augmentation: Augmentation = section(Augmentation)
    teacher: Teacher = section(Teacher)


@dataclass(frozen=True)
class ConvolutionOptions:
    """Convolutional logic layers before the dense ones; lists have an entry per layer, or one for all of them."""

    kernels: tuple[int, ...] = option(
        (32, 128), "number of trees of gates; as many entries as there are layers", least=1, most=10**6)
    receptive_field: tuple[int, ...] = option(
        (5,), "height and width of what a kernel sees", unit="pixels", least=1, most=255)
    tree_depth: int = option(
        3, "gates from a pixel to the output of a tree, which sees fan_in^tree_depth pixels", unit="gates", least=1,
        most=4)
    candidates: tuple[int, ...] = option(
        (1,), "number of candidates for each leaf of a tree; 1: leaves stay as they were drawn", least=1, most=1000)
    pooling: tuple[int, ...] = option(
        (2,), "height and width of the windows that OR pools; 1: no pooling", unit="pixels", least=1, most=15)


@dataclass(frozen=True)
class DiffLogicOptions:
    """Layers of differentiable logic gates, whose last bits are counted for each class."""

    architecture: str = option(
        "dense", "dense layers only, or convolutional logic layers before them", choices=("dense", "convolutional"))
    num_neurons: int = option(
        4000, "neurons per dense layer; with readout sum, the last one's are a multiple of the number of classes",
        unit="neurons", least=1, most=10**9, needs=[when_above("model.difflogic.num_layers", 0)])
    num_layers: int = option(
        4, "number of dense layers; 0 only with architecture convolutional and readout votes", unit="layers", least=0,
        most=10**4)
    last_neurons: int | None = option(
        None, "neurons of the last dense layer, all of which hardware counts; null: model.difflogic.num_neurons",
        unit="neurons", least=1, most=10**9, needs=[when_above("model.difflogic.num_layers", 0)])
    connections: str = option(
        "random",
        "inputs of a neuron; unique: no pair twice in a layer; local: close together; learned: chosen by training",
        choices=CONNECTIONS, needs=[when_above("model.difflogic.num_layers", 0)])
    local_size: int = option(
        8, "height and width of the window that holds both inputs of a neuron; twice as large in layer 2, and so on",
        unit="pixels", least=2, most=10**4, needs=[when("model.difflogic.connections", "local")])
    candidates: int = option(
        8, "number of candidates for each input of a neuron, drawn at the beginning", least=2, most=1000,
        needs=[when("model.difflogic.connections", "learned")])
    grad_factor: float = option(
        1.0, "factor of the gradient from layer to layer; above 1 helps networks of more than 6 layers", above=0.0,
        most=1e6)
    readout: str = option(
        "sum", "neurons that a class counts; sum: its own; votes: all, each as often as it has learned",
        choices=("sum", "votes"))
    members: int = option(
        1, "size of a committee, among which the kernels are divided; above 1 only with votes and without dense layers",
        unit="networks", least=1, most=1000)
    tau: float = option(10.0, "divisor of the counts, which gives class scores", above=0.0, most=1e9)
    thermometer_levels: int = option(
        0, "number of thresholds that the count of a pixel is compared with, each giving a bit; 0: frames are binary",
        unit="bits", least=0, most=255)
    thermometer: str = option(
        "fixed",
        "thresholds of the bits; fixed: 0 and quantiles of the training counts; learnable: trained from there on",
        choices=("fixed", "learnable"), needs=[when_above("model.difflogic.thermometer_levels", 0)])
    implementation: str = option(
        "auto", "kernels that compute the layers; auto: the first that suits", choices=AutoOr(BACKENDS),
        may_change=True)
    fan_in: int = option(
        2, "inputs of a gate; 4 and 6 are truth tables, as an FPGA's cells are, learned by light or walsh",
        choices=("2", "4", "6"))
    parametrisation: str = option(
        "softmax", "what is learned of a gate: 16 weights for softmax, 2^fan_in for light and walsh",
        choices=PARAMETRISATIONS)
    initialisation: str = option(
        "auto", "first weights; residual: gates pass on an input; auto: residual for convolutions, otherwise normal",
        choices=("auto", "normal", "residual"))
    forward_sampling: str = option(
        "soft",
        "gates during training: relaxed (soft) or discretised (hard), straight-through; gumbel adds noise, cage keeps "
        "the gradient of hard gates from vanishing",
        choices=("soft", "hard", "gumbel_soft", "gumbel_hard", "cage"))
    temperature: float = option(
        1.0, "divisor of the gates' logits during training, in the first epoch", least=1e-3, most=1e3)
    final_temperature: float | None = option(
        None, "temperature of the last epoch, reached by an equal factor per epoch; null: model.difflogic.temperature",
        least=1e-3, most=1e3)
    convolution: ConvolutionOptions = section(
        ConvolutionOptions, needs=[when("model.difflogic.architecture", "convolutional")])


@dataclass(frozen=True)
class CNNOptions:
    """Two convolutions with pooling, then two dense layers."""

    conv1_channels: int = option(32, "channels of the first convolution", unit="channels", least=1, most=10**5)
    conv2_channels: int = option(64, "channels of the second convolution", unit="channels", least=1, most=10**5)
    fc_hidden_size: int = option(128, "neurons of the first dense layer", unit="neurons", least=1, most=10**6)


@dataclass(frozen=True)
class MLPOptions:
    """Dense layers with ReLU."""

    hidden_size: int = option(512, "neurons per hidden layer", unit="neurons", least=1, most=10**6)
    num_hidden_layers: int = option(2, "number of hidden layers", unit="layers", least=1, most=10**3)


@dataclass(frozen=True)
class Model:
    """Which model; a type that has options has a section of its own."""

    model_type: str = option("difflogic", "type of the model", choices=MODEL_TYPES)
    difflogic: DiffLogicOptions = section(DiffLogicOptions, needs=[when("model.model_type", "difflogic")])
    cnn: CNNOptions = section(CNNOptions, needs=[when("model.model_type", "cnn")])
    mlp: MLPOptions = section(MLPOptions, needs=[when("model.model_type", "mlp")])


# fmt: on


@dataclass(frozen=True)
class Config:
    """All options of a preparation or of a run; a file gives those that differ from the defaults."""

    base: Base = section(Base)
    data: Data = section(Data)
    train: Train = section(Train)
    model: Model = section(Model)

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = (), overrides_of: str = "--override") -> "Config":
        """Load a YAML file, then apply overrides such as "train.epochs=10 train.learning_rate=1e-3".

        A warning names the options that were set and have no effect.

        Args:
            path: the file.
            overrides: texts of `key=value`.
            overrides_of: where the overrides come from, for errors and warnings.

        Raises:
            UserError: naming every mistake of the file and of the overrides, not only the first.
        """
        config, unused = load_config(path, overrides, overrides_of)
        for line in unused:
            LOG.warning("%s", line)
        return config

    @classmethod
    def from_dict(cls, tree: dict[str, Any], where: str) -> "Config":
        """Return the config of a `to_dict`, such as a model's header holds; a UserError names `where`."""
        reader = Reader()
        config = reader.fill(cls(), tree, where)
        if reader.errors:
            raise UserError("\n".join(reader.errors))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dicts, in the order of the fields."""
        return options.to_dict(self)

    def to_yaml(self) -> str:
        """Return YAML that `from_yaml` loads to an equal config."""
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
        if gates["last_neurons"] is None:
            gates["last_neurons"] = gates["num_neurons"]
        return tree


def load_config(
    path: str | Path, overrides: Sequence[str] = (), overrides_of: str = "--override"
) -> tuple[Config, list[str]]:
    """Return what `Config.from_yaml` does, and lines that name the options which were set and have no effect.

    The lines of the overrides come first and begin with `overrides_of`; those of the file begin with its path.
    """
    reader = Reader()
    tree = options.tree_of(options.read_config(Path(path)), Path(path), Config())
    if "config" in tree and not {"base", "data", "train"} & set(tree):
        raise UserError(f"{path}: this is the file of a sweep, which names a config; run ./job.sh sweep {path}")
    config = reader.fill(Config(), tree, str(path))
    reader.forget_defaults(config)
    of_file, reader.given = reader.given, {}
    config = reader.override(config, overrides, overrides_of)
    where = f"{path} with {overrides_of}" if overrides else str(path)
    size, overlap = size_of(config.data), overlap_of(config.data)
    if reader.errors:  # no rule judges the defaults that stand for what was not understood
        raise UserError("\n".join(reader.errors))
    rules = framing_errors(config.data.frame_mode, size, overlap)
    rules += [*checks.limit_errors(config), *checks.path_errors(config)]
    if rules:
        raise UserError("\n".join(f"{where}: {error}" for error in rules))
    of_file = {key: None for key in of_file if key not in reader.given}
    unused = checks.unused_lines(config, reader.given, overrides_of)
    return config, unused + checks.unused_lines(config, of_file, str(path))


def unread_overrides(overrides: Sequence[str], reads: Sequence[str], reason: str) -> list[str]:
    """Return a line that names the overrides which a command does not read, and why; none if it reads all.

    Args:
        overrides: texts of `key=value` that `load_config` has taken.
        reads: the sections and options that the command reads.
        reason: a clause.
    """
    reader = Reader()
    reader.override(Config(), overrides, "--override")
    unread = [key for key in reader.given if not f"{key}.".startswith(tuple(f"{name}." for name in reads))]
    return [checks.unused_line(unread, reason, "--override")] if unread else []


def may_change(key: str) -> bool:
    """Return whether a job may be resumed with another value of the option `key`, such as train.epochs."""
    return bool(options.find_option(Config(), key)[1].metadata["may_change"])


def size_of(data: Data) -> int | None:
    """Return the size of a frame in the mode's unit: events, microseconds or frames per recording."""
    size: int | None = getattr(data, FRAME_MODES[data.frame_mode].size)
    return size


def overlap_of(data: Data) -> int | float:
    """Return the overlap of frames in the mode's unit: events, microseconds or a fraction of a bin."""
    return FRAME_MODES[data.frame_mode].overlap if data.overlap is None else data.overlap
