"""The set-up of a training run: device, frames, model and optimizer, and the first files that the run writes."""

import contextlib
import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray

from src.command_line import StopSignals, UserError
from src.compiling import tell_again
from src.config import Config
from src.data import FrameCache, open_cache, place_splits, read_samples
from src.distributed.gradients import data_parallel
from src.distributed.group import device_name, rank, rank_zero_first
from src.frame_cache.cache import MissingCacheError, cache_parameters
from src.frame_cache.framing_options import dataset_of
from src.frame_cache.prepare import prepare
from src.frame_cache.splits import missing_classes_text, options_needing_val
from src.helpers import LOG, keep_freed_memory, log_to_file, seed_everything
from src.io_funcs import from_repository, remove_leftovers, write_atomic
from src.jobs.folders import Job, job_lock, refuse_existing, remove_results
from src.model import FrameModel, create_model, least_size, require_fitting_frames
from src.options import differing_keys, plain
from src.reports.provenance import record_start
from src.training.augmentation import require_fitting_augmentation
from src.training.device import autocast, choose_device, require_memory
from src.training.loggers import Loggers
from src.training.optimisation import create_average, create_optimizer
from src.training.records import logged_entries
from src.training.state import TrainingRun, save_metrics, try_to_save
from src.training.teacher import load_teacher

DEBUG_BATCHES = 20  # batches per epoch with --debug


def lock_of_job(job: Job) -> contextlib.AbstractContextManager[None]:
    """Return the job's lock, which rank 0 holds for all processes."""
    return contextlib.nullcontext() if rank() else job_lock(job)


def set_up(
    config: Config, job: Job, loggers: Loggers, stop: StopSignals, resume: bool, restart: bool, debug: bool
) -> TrainingRun:
    """Return a run before its first batch, on rank 0 first; files of the job are left as they are.

    Raises:
        UserError: the job exists and is neither resumed nor restarted, or the config does not fit data or machine.
        Stopped: a signal came.
    """
    with rank_zero_first():
        if rank() == 0 and not resume and not restart:
            refuse_existing(job)
        run = _create_run(config, job, loggers, stop, debug)
        _try_out(run)
        stop.check()
    run.resume, run.restart = resume, restart
    run.forward = data_parallel(run.model, _first_frame(run))
    if rank() == 0:
        for folder in (job.checkpoints, job.checkpoint_copies, job.models, job.logs):
            remove_leftovers(folder)
    return run


def _create_run(config: Config, job: Job, loggers: Loggers, stop: StopSignals, debug: bool) -> TrainingRun:
    device = choose_device(device_name(config.train.device))
    if device.type == "cpu":
        keep_freed_memory()
    require_fitting_frames(config.model, config.data.frame_dtype)  # before a preparation may begin
    cache = find_or_prepare_cache(config, stop)
    require_fitting_augmentation(config, cache.frame_shape)
    require_val_split(config, cache)
    teacher = load_teacher(config, cache, device)
    num_frames, batch_size = len(cache.splits["train"]), config.train.dataloader.batch_size
    size = least_size(config.model, cache.frame_shape, len(cache.class_names))
    require_memory(config.train, device, size.parameters, size.activations, min(batch_size, num_frames))
    model = initial_model(config, cache, device)
    cache = place_splits(cache, config.train.dataloader, device)
    batches = math.ceil(num_frames / batch_size)
    if batch_size > num_frames:
        LOG.warning(
            "train.dataloader.batch_size = %d is more than the %s training frames: each epoch is one batch",
            batch_size,
            f"{num_frames:,}",
        )
    tell_again()
    LOG.info(
        "job %s: %s, %s parameters, %s, %s of %s frames per epoch",
        job.job_id,
        config.model.model_type,
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        device,
        f"{batches:,} batches" if batches > 1 else "1 batch",
        f"{min(batch_size, num_frames):,}",
    )
    run = TrainingRun(
        config=config,
        job=job,
        cache=cache,
        device=device,
        model=model,
        optimizer=create_optimizer(model, config.train),
        scaler=torch.amp.GradScaler(device.type, enabled=config.train.dtype == "float16"),
        average=create_average(model, config.train),
        teacher=teacher,
        loggers=loggers,
        batches_per_epoch=min(batches, DEBUG_BATCHES) if debug else batches,
        whole_epoch=batches,
        forward=model.forward_training,
    )
    if run.debug_note is not None:
        LOG.warning("%s: what this run measures is no result", run.debug_note)
    return run


def initial_model(config: Config, cache: FrameCache, device: torch.device) -> FrameModel:
    """Return the model with its first weights, which depend on base.seed alone, fitted to the training frames."""

    def training_frames(most: int) -> NDArray[np.uint8]:
        frames = cache.splits["train"]
        chosen = np.linspace(0, len(frames) - 1, min(len(frames), most)).astype(np.int64)
        return read_samples(frames, chosen).numpy()

    seed_everything(config.base.seed)
    model = create_model(config.model, cache.frame_shape, len(cache.class_names), cache.frame_dtype).to(device)
    model.fit_inputs(training_frames)
    return model


@torch.no_grad()
def _try_out(run: TrainingRun) -> None:
    """Put one frame through the model; raise UserError if that is not possible, before anything is written."""
    try:
        with autocast(run.config.train, run.device):
            run.model.forward_packed(_first_frame(run))
    except (ValueError, ImportError) as error:
        raise UserError(f"model.{run.config.model.model_type}: {error}") from error


def _first_frame(run: TrainingRun) -> torch.Tensor:
    return read_samples(run.cache.splits["train"], np.array([0])).to(run.device)


def require_val_split(config: Config, cache: FrameCache) -> None:
    """Raise UserError if an option depends on val frames and there are none; warn of classes that have none there."""
    in_val = set(cache.splits["val"].labels.tolist())
    missing = [name for label, name in enumerate(cache.class_names) if label not in in_val]
    if in_val and missing:
        LOG.warning("%s", missing_classes_text("val", "frame", missing))
    needing = options_needing_val(config.train)
    if in_val or not needing:
        return
    if config.data.val_split == 0:
        what_to_do = "prepare with data.val_split above 0"
    else:
        what_to_do = "add recordings (if data.group_by or labels.csv groups them, of other groups) and prepare again"
    raise UserError(
        f"{' and '.join(needing)} cannot be without a val split, and that of {cache.folder} is empty: {what_to_do}, "
        f"or train without it: {' '.join(needing.values())}"
    )


def find_or_prepare_cache(config: Config, stop: StopSignals) -> FrameCache:
    """Open the config's frame cache; if there is none, prepare it first as data.prepare_if_missing says."""
    try:
        return open_cache(config, stop.check)
    except MissingCacheError:
        if config.data.prepare_if_missing is None:
            raise
    path = from_repository(config.data.prepare_if_missing)
    LOG.info("no frame cache yet: preparing it with %s", path)
    preparation = Config.from_yaml(path)
    data = dataclasses.replace(
        preparation.data,
        data_root=config.data.data_root,
        url=config.data.url or preparation.data.url,
        num_threads=config.data.num_threads,
    )
    wanted, made = (cache_parameters(options, dataset_of(options)) for options in (config.data, data))
    if differing := differing_keys(made, wanted):
        raise UserError(
            f"{path} (data.prepare_if_missing) prepares another cache than this config trains on: "
            + ", ".join(f"data.{key} = {plain(theirs)} there, {plain(ours)} here" for key, theirs, ours in differing)
            + ". Correct one of the two, or prepare first with ./prepare_data.sh and this config"
        )
    prepare(dataclasses.replace(preparation, data=data), stop)
    return open_cache(config, stop.check)


def begin(run: TrainingRun) -> None:
    """Write the run's first files, unless that is done.

    A restart calls this after its first update: what the old run has left is replaced by a run that is known to train.
    """
    if run.begun:
        return
    run.begun = True
    job = run.job
    if rank() == 0:
        if run.restart:
            remove_results(job)
        else:
            job.restarting.unlink(missing_ok=True)  # there was nothing to replace
        log_to_file(job.logs / "train.log")
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    step = run.progress.step if run.resume else 0
    try_to_save("the config", lambda: write_atomic(job.logs / "config.yaml", run.config.to_yaml()))
    try_to_save("how the run was started", lambda: record_start(job, step, parameters, run.device))
    save_metrics(run)
    if rank() == 0:
        run.loggers.start(logged_entries(run.progress), run.resume)
