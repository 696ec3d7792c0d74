"""The training loop: from a Config to a trained, evaluated, saved model, stoppable and resumable at every batch."""

import contextlib
import copy
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from src import checkpoint
from src.command_line import RunError, Stopped, StopSignals, UserError
from src.config import Config, Train, may_change
from src.data import FrameCache, open_cache, place_splits, read_samples, train_order
from src.distributed import group as distributed
from src.evaluation.evaluate import Evaluation, evaluate, evaluation_content, write_evaluation
from src.evaluation.metrics import best_epoch, debug_entry, val_scores, write_metrics
from src.events.datasets import get_dataset
from src.frame_cache.cache import MissingCacheError, cache_parameters
from src.frame_cache.prepare import prepare
from src.helpers import LOG, format_duration, keep_freed_memory, log_to_file, seed_everything
from src.io_funcs import from_repository, remove_leftovers, write_atomic, write_json
from src.jobs.folders import Job, evaluation_path, job_lock, refuse_existing, remove_results
from src.logic.temperature import gate_temperature, set_temperature, temperature_of_epoch
from src.model import DiffLogic, FrameModel, create_model, least_size, require_fitting_frames
from src.options import differing_keys
from src.reports.provenance import record_start
from src.reports.report import try_to_write_report
from src.training.augmentation import augment, require_fitting_augmentation
from src.training.device import autocast, choose_device, memory_errors_told, require_memory
from src.training.loggers import Entry, Loggers, require_packages, row_entry
from src.training.optimisation import (
    averaged_weights,
    create_average,
    create_optimizer,
    frames_of_group,
    learning_rate,
    set_learning_rate,
    training_loss,
    update_average,
)
from src.training.teacher import Teacher, load_teacher

DEBUG_BATCHES = 20  # an epoch, with --debug
THERMOMETER_FRAMES = 1000  # whose counts a thermometer's thresholds are chosen by


@dataclass
class Progress:
    """Where a run is; all of it is in every checkpoint."""

    epoch: int = 0  # epochs that are done, evaluation included
    batch: int = 0  # batches of the current epoch that are done
    step: int = 0  # batches since the beginning
    loss_sum: float = 0.0  # over the frames of the current epoch
    correct: int = 0
    frames: int = 0
    frames_seen: int = 0  # since the beginning
    best_epoch: int = 0  # of the best model that is saved
    train_seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv
    running: list[tuple[int, float, float]] = field(default_factory=list)  # step, and see `_running_entry`


@dataclass
class Run:
    """Everything that a running job holds."""

    config: Config
    job: Job
    cache: FrameCache
    device: torch.device
    model: FrameModel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: list[torch.Tensor]  # of weights; empty without train.ema_decay
    teacher: Teacher | None
    batches_an_epoch: int
    all_batches: int  # of an epoch without --debug
    loggers: Loggers
    forward: Callable[[torch.Tensor], torch.Tensor]  # FrameModel.forward_training, maybe in parallel
    resume: bool = False
    restart: bool = False
    begun: bool = False  # see `_begin`
    progress: Progress = field(default_factory=Progress)
    last_checkpoint: float = field(default_factory=time.monotonic)
    last_copy: float = field(default_factory=time.monotonic)
    scratch_works: bool = True  # as of the last checkpoint


def train(config: Config, job_id: str, stop: StopSignals, resume: bool, restart: bool, debug: bool) -> None:
    """Train, evaluate and save one job.

    Args:
        config: what to train, on what.
        job_id: names the job's folders; checked by `check_name`.
        stop: asked at every batch.
        resume: go on from the newest checkpoint; without any, begin.
        restart: begin although the job has checkpoints or models, and replace them.
        debug: only DEBUG_BATCHES batches an epoch.

    Raises:
        UserError: the config does not fit the data, the job exists, or its checkpoints do not fit the config.
        Stopped: a signal came; the checkpoint is saved.
    """
    job = Job(job_id)
    require_packages(config)
    with (
        distributed.joined(config.train, stop),
        _lock(job),
        Loggers(config, job.logs) as loggers,
        memory_errors_told(),
    ):
        if resume and distributed.from_rank_zero(job.restarting.exists):
            LOG.warning("job %s begins anew: its --restart was stopped before the first step", job_id)
            resume, restart = False, True
        with distributed.rank_zero_first():
            if distributed.rank() == 0 and not resume and not restart:
                refuse_existing(job)
            run = _set_up(config, job, loggers, stop, debug)
            stop.check()
        run.resume, run.restart = resume, restart
        run.forward = distributed.data_parallel(run.model, _first_frame(run))
        if distributed.rank() == 0:
            for folder in (job.checkpoints, job.checkpoint_copies, job.models, job.logs):
                remove_leftovers(folder)
        if resume:
            _resume(run)
        if not restart:
            _begin(run)
        try:
            while run.progress.epoch < config.train.epochs and _reason_to_stop_early(run) is None:
                _train_epoch(run, stop)
                _end_epoch(run, stop)
            _begin(run)
            _finish(run, stop)
        except Stopped:
            if not _save_checkpoint(run, to_project=True):
                raise RunError("stopped by a signal, but no checkpoint of this step could be saved") from None
            LOG.warning(
                "stopped by a signal after batch %d of epoch %d; saved %s after the signal; --resume continues there",
                run.progress.batch,
                run.progress.epoch + 1,
                format_duration(time.monotonic() - stop.received_at),
            )
            raise


def _lock(job: Job) -> contextlib.AbstractContextManager[None]:
    """The job's lock, which rank 0 holds for all."""
    return contextlib.nullcontext() if distributed.rank() else job_lock(job)


def _begin(run: Run) -> None:
    """Write for the first time, unless that is done.

    A restart calls this after its first step: what the old run has left is replaced by one that is known to train.
    """
    if run.begun:
        return
    run.begun = True
    job = run.job
    if distributed.rank() == 0:
        if run.restart:
            remove_results(job)
        else:
            job.restarting.unlink(missing_ok=True)  # there was nothing to replace
        log_to_file(job.logs / "train.log")
    _attempt("the config", lambda: write_atomic(job.logs / "config.yaml", run.config.to_yaml()))
    _attempt("how the run was started", lambda: _record_start(run))
    _write_metrics(run)
    if distributed.rank() == 0:
        run.loggers.start(_logged(run.progress), run.resume)


def _set_up(config: Config, job: Job, loggers: Loggers, stop: StopSignals, debug: bool) -> Run:
    device = choose_device(distributed.device_name(config.train.device))
    if device.type == "cpu":
        keep_freed_memory()
    require_fitting_frames(config.model, config.data.frame_dtype)  # before a preparation may begin
    require_fitting_augmentation(config)
    cache = _cache_for(config, stop)
    _require_val_split(config, cache)
    teacher = load_teacher(config, cache, device)
    num_frames = len(cache.splits["train"])
    batch_size = config.train.dataloader.batch_size
    size = least_size(config.model, cache.frame_shape, len(cache.class_names))
    require_memory(config.train, device, size.parameters, size.activations, min(batch_size, num_frames))
    seed_everything(config.base.seed)
    model = create_model(config.model, cache.frame_shape, len(cache.class_names), cache.frame_dtype).to(device)
    if isinstance(model, DiffLogic) and model.thermometer is not None:
        some = np.linspace(0, num_frames - 1, min(num_frames, THERMOMETER_FRAMES)).astype(np.int64)
        model.thermometer.fit(read_samples(cache.splits["train"], some).numpy())
    cache = place_splits(cache, config.train.dataloader, device)
    optimizer = create_optimizer(model, config.train)
    scaler = torch.amp.GradScaler(device.type, enabled=config.train.dtype == "float16")
    batches = math.ceil(num_frames / batch_size)
    LOG.info(
        "job %s: %s with %s parameters on %s, %d batches of %d frames an epoch",
        job.job_id,
        config.model.model_type,
        f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        device,
        batches,
        batch_size,
    )
    average = create_average(model, config.train)
    run = Run(
        config,
        job,
        cache,
        device,
        model,
        optimizer,
        scaler,
        average,
        teacher,
        min(batches, DEBUG_BATCHES) if debug else batches,
        batches,
        loggers,
        model.forward_training,
    )
    if (note := _debug_note(run)) is not None:
        LOG.warning("%s: what this run measures is no result", note)
    _try_out(run)
    return run


@torch.no_grad()
def _try_out(run: Run) -> None:
    """One frame through the model: what cannot run here is told before anything is written."""
    try:
        with autocast(run.config.train, run.device):
            run.model.forward_packed(_first_frame(run))
    except (ValueError, ImportError) as error:
        raise UserError(f"model.{run.config.model.model_type}: {error}") from error


def _first_frame(run: Run) -> torch.Tensor:
    return read_samples(run.cache.splits["train"], np.array([0])).to(run.device)


def _require_val_split(config: Config, cache: FrameCache) -> None:
    """UserError if there are no val frames but an option goes by what they are classified as."""
    needs = {
        "scheduler": config.train.scheduler == "plateau",
        "early_stopping_patience": config.train.early_stopping_patience is not None,
        "best_metric": config.train.best_metric != Train.best_metric,
    }
    needing = [f"train.{name} = {getattr(config.train, name)}" for name, needed in needs.items() if needed]
    if needing and not len(cache.splits["val"]):
        raise UserError(
            f"{' and '.join(needing)} cannot be without a val split, and that of {cache.folder} is empty: leave it "
            f"out, or prepare with a larger data.val_split"
        )


def _cache_for(config: Config, stop: StopSignals) -> FrameCache:
    """The config's frame cache; prepared first if it is missing and data.prepare_if_missing says how."""
    try:
        return open_cache(config, stop.check)
    except MissingCacheError:
        if config.data.prepare_if_missing is None:
            raise
    path = from_repository(config.data.prepare_if_missing)
    LOG.info("no frame cache yet: preparing it with %s", path)
    preparation = Config.from_yaml(path)
    preparation.data.data_root = config.data.data_root
    preparation.data.url = config.data.url or preparation.data.url
    preparation.data.num_threads = config.data.num_threads
    wanted, made = (cache_parameters(data, get_dataset(data.name)) for data in (config.data, preparation.data))
    if differing := differing_keys(made, wanted):
        raise UserError(
            f"{path} (data.prepare_if_missing) prepares another cache than this config trains on: "
            + ", ".join(f"data.{key} = {theirs} there, {ours} here" for key, theirs, ours in differing)
        )
    prepare(preparation, stop)
    return open_cache(config, stop.check)


def _train_epoch(run: Run, stop: StopSignals) -> None:
    """Train the rest of the current epoch, from the batch after the last."""
    config, progress = run.config, run.progress
    order = train_order(
        len(run.cache.splits["train"]),
        config.base.seed,
        progress.epoch,
        config.train.dataloader.shuffle_train,
    )[: run.batches_an_epoch * config.train.dataloader.batch_size]
    batches = distributed.load_parts(
        run.cache.splits["train"],
        order,
        config.train,
        run.device,
        progress.batch,
    )
    group = config.train.accumulate_batches
    updates_an_epoch = math.ceil(run.batches_an_epoch / group)
    scores_so_far = val_scores(progress.rows, config.train.best_metric).values()
    # Sums stay on the device: reading them at every batch would make a GPU wait.
    loss_sum = torch.tensor(progress.loss_sum, dtype=torch.float64, device=run.device)
    correct = torch.tensor(progress.correct, dtype=torch.int64, device=run.device)

    def note_sums() -> None:
        progress.loss_sum, progress.correct = loss_sum.item(), int(correct.item())
        if not math.isfinite(progress.loss_sum):
            raise RunError(
                f"the loss is {progress.loss_sum} by step {progress.step}: lower train.learning_rate or use a wider "
                f"train.dtype"
            )

    run.model.train()
    _set_temperature(run, progress.epoch)
    seconds_before, began = progress.train_seconds, time.perf_counter()
    with _progress_bar(run) as bar:
        for parts in batches:
            update = progress.epoch * updates_an_epoch + progress.batch // group
            set_learning_rate(run.optimizer, learning_rate(config.train, update, updates_an_epoch, scores_so_far))
            batch_frames = parts[0].batch_frames
            share = batch_frames / frames_of_group(progress.batch, len(order), config.train)
            batch_loss_sum, batch_correct = _add_gradients(run, parts, share)
            group_ends = (progress.batch + 1) % group == 0 or progress.batch + 1 == run.batches_an_epoch
            if group_ends:
                _update(run, update)
                if not run.begun:
                    before = time.perf_counter()
                    _begin(run)
                    began += time.perf_counter() - before

            loss_sum += distributed.total(batch_loss_sum)
            correct += distributed.total(batch_correct)
            progress.frames += batch_frames
            progress.frames_seen += batch_frames
            progress.batch += 1
            progress.step += 1
            progress.train_seconds = seconds_before + time.perf_counter() - began
            bar.update()
            if progress.step % config.train.log_interval == 0:
                note_sums()
                _log_progress(run, bar)
            due = run.last_checkpoint + 60 * config.train.checkpoint_interval_minutes
            # Gradients are in no checkpoint: it waits for the end of their group.
            stopping, saving = distributed.agree(stop, time.monotonic() >= due) if group_ends else (False, False)
            if stopping or saving:
                note_sums()
                if stopping:
                    stop.check()
                _save_checkpoint(run)
    note_sums()


def _add_gradients(run: Run, parts: list[distributed.Part], share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Add the gradients of a batch's mean loss, times `share`, to those of its group.

    Of several parts each one's are added to the group's so far, and the mean of these sums is taken: as many processes,
    which have a part each, do just that, with the same noise.

    Returns:
        The sum of the frames' losses, and how many frames are right.
    """
    if len(parts) == 1:
        return _add_gradients_of_part(run, parts[0], share)
    parameters = list(run.model.parameters())
    so_far = [parameter.grad for parameter in parameters]
    devices = [run.device] if run.device.type == "cuda" else []
    sums, outcomes = [], []
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        for parameter, gradient in zip(parameters, so_far, strict=True):
            parameter.grad = gradient if last or gradient is None else gradient.clone()
        with contextlib.nullcontext() if last else torch.random.fork_rng(devices):
            outcomes.append(_add_gradients_of_part(run, part, share))
        sums.append([parameter.grad for parameter in parameters if parameter.grad is not None])
    for gradients in sums:
        torch._foreach_mul_(gradients, 1 / len(parts))
    for gradients in sums[:-1]:
        torch._foreach_add_(sums[-1], gradients)
    losses, correct = zip(*outcomes, strict=True)
    return torch.stack(losses).sum(), torch.stack(correct).sum()


def _add_gradients_of_part(run: Run, part: distributed.Part, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    packed = _augmented(run, part)
    with autocast(run.config.train, run.device):
        scores = run.forward(packed)
        taught = run.teacher.scores(packed) if run.teacher is not None else None
        loss = training_loss(scores, part.labels, run.config.train, taught)
    run.scaler.scale(loss * (part.weight * share)).backward()
    return loss.detach() * part.frames, (scores.mean(1).argmax(1) == part.labels)[: part.frames].sum()


def _update(run: Run, number: int) -> None:
    """Step by the gradients of a group of batches, and take the new weights into their average.

    Nothing here waits for a GPU. Where the scaler skips a step, as gradients overflow, the old weights are taken.
    """
    options = run.config.train
    if options.clip_gradient_norm is not None:
        run.scaler.unscale_(run.optimizer)
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), options.clip_gradient_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.average:
        update_average(run.average, run.model, options.ema_decay, number + 1)


def _augmented(run: Run, part: distributed.Part) -> torch.Tensor:
    """The packed frames of a part, augmented as `train.augmentation` says."""
    options, shape, dtype = run.config.train.augmentation, run.cache.frame_shape, run.cache.frame_dtype
    return augment(part.packed, shape, dtype, options, run.config.base.seed, run.progress.epoch, part.first)


def _end_epoch(run: Run, stop: StopSignals) -> None:
    """Evaluate on val, write metrics, keep the best model, and turn to the next epoch."""
    progress = run.progress
    if progress.frames:
        relaxed = "relaxed_" if _trains_relaxed(run) else ""
        row = {
            f"{relaxed}loss": progress.loss_sum / progress.frames,
            f"{relaxed}frame_accuracy": progress.correct / progress.frames,
        }
        _add_row(run, "train", row, epoch=progress.epoch + 1)
    text = ""
    if len(run.cache.splits["val"]):
        with averaged_weights(run.model, run.average):
            scores = _evaluate(run, run.model, "val", stop).accuracies()
            _add_row(run, "val", scores, epoch=progress.epoch + 1)
            text = f"; val {_describe(scores)}"
            val = val_scores(progress.rows, run.config.train.best_metric)
            best_so_far = val.get(progress.best_epoch, -math.inf)
            if val[progress.epoch + 1] > best_so_far and _save_model(run, "best"):
                progress.best_epoch = progress.epoch + 1
    LOG.info(
        "epoch %d/%d: train loss %.4f, %s%.2f %%%s",
        progress.epoch + 1,
        run.config.train.epochs,
        progress.loss_sum / max(progress.frames, 1),
        "relaxed " if _trains_relaxed(run) else "",
        100 * progress.correct / max(progress.frames, 1),
        text,
    )
    progress.epoch += 1
    progress.batch = progress.frames = progress.correct = 0
    progress.loss_sum = 0.0
    _write_metrics(run)


def _reason_to_stop_early(run: Run) -> str | None:
    """Why the run ends before train.epochs, by the metrics so far; None if it goes on."""
    options, epoch = run.config.train, run.progress.epoch
    best = best_epoch(run.progress.rows, options.best_metric)
    if options.early_stopping_patience is None or epoch - best < options.early_stopping_patience:
        return None
    return (
        f"after epoch {epoch} of {options.epochs}: {options.best_metric} of val has not been better than after epoch "
        f"{best}, and train.early_stopping_patience = {options.early_stopping_patience}"
    )


def _finish(run: Run, stop: StopSignals) -> None:
    """Test the final and the best model, save what a finished run leaves, and print the accuracies."""
    progress = run.progress
    _set_temperature(run, progress.epoch - 1)  # as after its training, where this process resumes to finish alone
    num_test = len(run.cache.splits["test"])
    result: dict[str, Any] = {
        "job_id": run.job.job_id,
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "train_seconds": round(progress.train_seconds, 3),
    }
    note = _debug_note(run)
    result |= debug_entry(note)
    tested: tuple[Evaluation, str, int] | None = None  # the evaluation of the best model, else of the final one
    if progress.epoch < run.config.train.epochs:
        result["stopped_early"] = _reason_to_stop_early(run)
        LOG.info("stopped early %s; a larger one and --resume go on", result["stopped_early"])
    with averaged_weights(run.model, run.average):
        if num_test:
            evaluation = _evaluate(run, run.model, "test", stop)
            tested = evaluation, "final", progress.step
            result["test"] = evaluation.accuracies()
            _add_row(run, "test", result["test"], epoch=progress.epoch)
        saved = _save_model(run, "final")
        if progress.best_epoch == 0:  # no val split: the final model is the best
            saved &= _save_model(run, "best")
    if num_test and run.config.train.save_model and saved:
        best = copy.deepcopy(run.model)
        # Another machine may still see the file that was there before.
        state, about = distributed.from_rank_zero(
            lambda: checkpoint.load_model_state(run.job.models / "best.safetensors")
        )
        best.load_state_dict(state)
        set_temperature(best, about.get("temperature", 1.0))
        evaluation = _evaluate(run, best, "test", stop)
        tested = evaluation, "best", about["step"]
        result["best_test"] = evaluation.accuracies()
    _write_metrics(run)
    checkpointed = _save_checkpoint(run, to_project=True)
    saved &= checkpointed and _attempt(  # a result says that there is a checkpoint: see `_newest_state`
        "the result", lambda: write_json(run.job.logs / "result.json", result)
    )
    if not num_test:
        LOG.warning("the test split of %s is empty: there is no test accuracy", run.cache.folder)
    for name in ("test", "best_test"):
        if name in result:
            model = (
                f"best model (epoch {progress.best_epoch or progress.epoch})" if name == "best_test" else "final model"
            )
            LOG.info("test accuracy of the %s: %s%s", model, _describe(result[name]), f" ({note})" if note else "")
    if not saved:
        raise RunError("the run is done, but not all of it could be saved, see above; free space and --resume")
    if tested is not None:
        _attempt("the evaluation", lambda: _write_evaluation(run, *tested))
    if run.config.train.report and distributed.rank() == 0:
        try_to_write_report(run.job)
    LOG.info("trained for %s; results in %s", format_duration(progress.train_seconds), run.job.logs)


def _schedule_over_all_epochs(config: Config) -> str | None:
    """What depends on how many epochs there will be, if anything does."""
    if config.train.scheduler == "cosine":
        return "train.scheduler = cosine"
    if config.model.model_type == "difflogic" and config.model.difflogic.final_temperature is not None:
        return f"model.difflogic.final_temperature = {config.model.difflogic.final_temperature}"
    return None


def _set_temperature(run: Run, epoch: int) -> None:
    """Give the gates the temperature of an epoch, counted from 0."""
    o = run.config.model.difflogic
    last = o.temperature if o.final_temperature is None else o.final_temperature
    set_temperature(run.model, temperature_of_epoch(o.temperature, last, epoch, run.config.train.epochs))


def _trains_relaxed(run: Run) -> bool:
    """Whether training's loss and accuracy are a relaxed network's."""
    return isinstance(run.model, DiffLogic) and not run.config.model.difflogic.forward_sampling.endswith("hard")


def _evaluate(run: Run, model: FrameModel, split: str, stop: StopSignals) -> Evaluation:
    return evaluate(model, run.cache.splits[split], run.config.train, run.device, lambda: distributed.check(stop))


def _write_evaluation(run: Run, evaluation: Evaluation, model: str, step: int) -> None:
    model_type = run.config.model.model_type
    content = evaluation_content(evaluation, run.cache, "test", run.job.job_id, model, model_type, step)
    content |= debug_entry(_debug_note(run))
    write_evaluation(evaluation_path(run.job, "test"), content)


def _describe(scores: dict[str, float]) -> str:
    text = f"{100 * scores['frame_accuracy']:.2f} % of frames, {100 * scores['recording_accuracy']:.2f} % of recordings"
    if "relaxed_frame_accuracy" in scores:
        relaxed = (100 * scores[f"relaxed_{name}_accuracy"] for name in ("frame", "recording"))
        text += " (discretised; relaxed {:.2f} % and {:.2f} %; ".format(*relaxed)
        text += f"gap {100 * scores['discretisation_gap']:.2f} %)"
    return text


def _add_row(run: Run, split: str, values: dict[str, float], epoch: int) -> None:
    row: dict[str, Any] = {"step": run.progress.step, "epoch": epoch, "split": split, **values}
    row |= debug_entry(_debug_note(run))
    row["learning_rate"] = run.optimizer.param_groups[0]["lr"]
    if split == "train":
        row["train_seconds"] = round(run.progress.train_seconds, 3)
        row["frames_per_second"] = round(run.progress.frames_seen / max(run.progress.train_seconds, 1e-9))
    run.progress.rows.append(row)
    run.loggers.log(*row_entry(row))


def _running_entry(step: int, loss: float, frame_accuracy: float) -> Entry:
    """What the loggers get at each train.log_interval: of the epoch so far, of the network as it trains."""
    return step, {"running/loss": loss, "running/frame_accuracy": frame_accuracy}


def _logged(progress: Progress) -> list[Entry]:
    """All that the loggers have been given, in the order of steps."""
    entries = [_running_entry(*point) for point in progress.running] + [row_entry(row) for row in progress.rows]
    return sorted(entries, key=lambda entry: entry[0])


@contextlib.contextmanager
def _progress_bar(run: Run) -> Iterator[tqdm]:  # type: ignore[type-arg]
    total = run.batches_an_epoch * run.config.train.epochs
    with tqdm(
        total=total,
        initial=run.progress.step,
        desc=f"epoch {run.progress.epoch + 1}/{run.config.train.epochs}",
        unit="batch",
        disable=True if distributed.rank() else None,
        leave=False,
    ) as bar:
        yield bar


def _log_progress(run: Run, bar: tqdm) -> None:  # type: ignore[type-arg]
    progress = run.progress
    loss = progress.loss_sum / progress.frames
    accuracy = progress.correct / progress.frames
    progress.running.append((progress.step, loss, accuracy))
    run.loggers.log(*_running_entry(*progress.running[-1]))
    speed = progress.frames_seen / progress.train_seconds
    bar.set_postfix_str(f"loss {loss:.4f}, {100 * accuracy:.1f} %, {speed:,.0f} frames/s")
    left = (run.batches_an_epoch * run.config.train.epochs - progress.step) * progress.train_seconds / progress.step
    level = "debug" if sys.stderr.isatty() else "info"  # the bar says it already
    getattr(LOG, level)(
        "epoch %d, batch %d/%d: loss %.4f, accuracy %.1f %%, %s frames/s, %s left",
        progress.epoch + 1,
        progress.batch,
        run.batches_an_epoch,
        loss,
        100 * accuracy,
        f"{speed:,.0f}",
        format_duration(left),
    )


# Saving and resuming


def _record_start(run: Run) -> None:
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    record_start(run.job, run.progress.step if run.resume else 0, parameters, run.device)


def _attempt(what: str, write: Callable[[], object], level: int = logging.WARNING) -> bool:
    """Write something; a full or broken disk is a warning, and False: what is there already must not be lost.

    Rank 0 writes; all ranks ask for it, and know whether it could.
    """

    def written() -> bool:
        try:
            write()
        except OSError as error:
            LOG.log(level, "cannot save %s: %s", what, error)
            return False
        return True

    return bool(distributed.from_rank_zero(written))


def _write_metrics(run: Run) -> None:
    if run.progress.rows:
        _attempt("the metrics", lambda: write_metrics(run.job.logs / "metrics.csv", run.progress.rows))


def _save_checkpoint(run: Run, to_project: bool = False) -> bool:
    """Save to scratch; return whether a storage has the checkpoint now.

    Project storage gets it too if `to_project`, if a copy is due, or if scratch cannot take it.

    Where neither could take it, the older checkpoint stays, and the next interval tries again.
    """
    state = {
        **_description(run),
        "batches_an_epoch": run.batches_an_epoch,
        "environment": _environment(run),
        "progress": asdict(run.progress),
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "average": run.average,
        "teacher": _teacher_digest(run),
        "random": checkpoint.random_states(run.device),
    }
    step = run.progress.step
    saved = run.scratch_works = _attempt(
        "a checkpoint on scratch (SCRATCH_STORAGE_DIR)",
        lambda: checkpoint.save_checkpoint(run.job.checkpoints, step, state),
        logging.WARNING if run.scratch_works else logging.DEBUG,  # one warning for what may last for days
    )
    run.last_checkpoint = time.monotonic()
    due = run.last_copy + 60 * run.config.train.project_checkpoint_interval_minutes
    if to_project or not saved or distributed.from_rank_zero(lambda: run.last_checkpoint >= due):
        saved |= _attempt(
            "a checkpoint on project storage",
            lambda: checkpoint.save_checkpoint(run.job.checkpoint_copies, step, state, kept=1),
        )
        run.last_copy = run.last_checkpoint
    LOG.debug("saved checkpoint %d", step)
    return saved


def _newest_state(job: Job) -> dict[str, Any] | None:
    """What is in the newest checkpoint; None if there is none yet."""
    state = checkpoint.load_newest(job.checkpoints, job.checkpoint_copies)
    if state is None and (job.logs / "result.json").exists():
        raise UserError(
            f"job {job.job_id} is done and has no checkpoint any more to go on from: --restart begins it anew and "
            f"replaces what it left, another job id leaves it alone"
        )
    return state


def _resume(run: Run) -> None:
    state = distributed.from_rank_zero(lambda: _newest_state(run.job))
    if state is None:
        LOG.info("job %s has no checkpoint yet: starting fresh", run.job.job_id)
        return
    _check_same_frames(run, state)
    _check_same_config(run, state)
    for key, now in _environment(run).items():
        if (then := state["environment"].get(key, now)) != now:
            LOG.warning(
                "%s was %s and is %s now: the run goes on, but not bit for bit as it would have",
                key,
                then,
                now,
            )
    run.model.load_state_dict(state["model"])
    optimizer = state["optimizer"]
    optimizer["state"] = {int(number): values for number, values in optimizer["state"].items()}
    run.optimizer.load_state_dict(optimizer)
    run.scaler.load_state_dict(state["scaler"])
    for tensor, saved in zip(run.average, state.get("average", []), strict=True):
        tensor.copy_(saved)
    checkpoint.restore_random_states(state["random"], run.device)  # rank 0's on all ranks: draws are equal by design
    state["progress"].pop("best_accuracy", None)  # in checkpoints of before there was train.best_metric
    run.progress = progress = Progress(**state["progress"])
    # What is evaluated again gets new rows: an epoch whose evaluation was cut short, and the test.
    progress.rows = [row for row in progress.rows if row["epoch"] <= progress.epoch and row["split"] != "test"]
    if progress.epoch >= run.config.train.epochs or _reason_to_stop_early(run) is not None:
        LOG.info("the training is done, after %d epochs: testing and saving again", progress.epoch)
    elif progress.batch or not progress.epoch:
        LOG.info("resuming after batch %d of epoch %d", progress.batch, progress.epoch + 1)
    else:
        LOG.info("resuming after epoch %d", progress.epoch)


def _check_same_frames(run: Run, state: dict[str, Any]) -> None:
    if "frames" not in state:
        LOG.warning("the checkpoint does not say on what frames: those of %s are taken unchecked", run.cache.folder)
    elif state["frames"] != run.cache.content:
        raise UserError(
            f"job {run.job.job_id} cannot be resumed: the frames of {run.cache.folder} are not those that it has "
            f"learned; prepare the cache from the same recordings as then, or --restart begins the job anew"
        )


def _check_same_config(run: Run, state: dict[str, Any]) -> None:
    refused, changes = [], []
    saved = Config.from_dict(state["config"], f"the checkpoint of job {run.job.job_id}")  # older ones lack new options
    for key, then, now in differing_keys(saved.meaning(), run.config.meaning()):
        if not may_change(key):
            refused.append(f"{key} was {then!r}, is {now!r}")
        elif key == "train.epochs" and (schedule := _schedule_over_all_epochs(run.config)):
            refused.append(f"{key} was {then}, is {now}, but {schedule} has followed a fall over {then}")
        elif key == "train.epochs" and now < state["progress"]["epoch"]:
            refused.append(f"{key} = {now}, but {state['progress']['epoch']} epochs are done")
        else:
            changes.append(f"resuming with {key} = {now!r}, it was {then!r}")
    now = _debug_note(run)
    then = state.get("debug", now)
    if then and not now:
        refused.append(f"it was run with --debug ({then}): give --debug")
    elif now and not then:
        refused.append("it was run without --debug: leave out --debug")
    elif state["batches_an_epoch"] != run.batches_an_epoch:
        refused.append(f"an epoch had {state['batches_an_epoch']} batches and has {run.batches_an_epoch} now")
    if state.get("teacher") != _teacher_digest(run):
        refused.append(f"train.teacher.model = {run.config.train.teacher.model} is not the model that it was")
    if refused:
        raise UserError(
            f"job {run.job.job_id} cannot be resumed with this config: " + "; ".join(refused) + ". Take the config of "
            f"{run.job.logs / 'config.yaml'}, another job id, or --restart to begin anew"
        )
    for change in changes:
        LOG.info(change)


def _teacher_digest(run: Run) -> str | None:
    return None if run.teacher is None else run.teacher.digest


def _debug_note(run: Run) -> str | None:
    """What --debug has cut short; None where it cuts nothing."""
    if run.batches_an_epoch == run.all_batches:
        return None
    return f"debug: {run.batches_an_epoch} of {run.all_batches} batches per epoch"


def _environment(run: Run) -> dict[str, Any]:
    """What must be equal for bit-identical results."""
    cuda = torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else None
    return {
        "the device": cuda or "cpu",
        "how a batch's gradients are summed": distributed.describe_sum(run.config.train),
        "the number of CPU threads": torch.get_num_threads(),
        "PyTorch's version": torch.__version__,
    }


def _save_model(run: Run, name: str) -> bool:
    if not run.config.train.save_model:
        return True
    path = run.job.models / f"{name}.safetensors"
    return _attempt(f"the {name} model", lambda: checkpoint.save_model(path, run.model, _description(run)))


def _description(run: Run) -> dict[str, Any]:
    """What inference.load_model needs to know beside the weights."""
    return {
        "config": run.config.to_dict(),
        "class_names": run.cache.class_names,
        "input_shape": list(run.cache.frame_shape),
        "step": run.progress.step,
        "temperature": gate_temperature(run.model),
        "frames": run.cache.content,
        "debug": _debug_note(run),
    }
