"""Evaluating: class scores of a split's frames, and a job's saved model on any frame cache that fits it."""

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from src.command_line import StopSignals, UserError, print_result
from src.config import Config, Train
from src.data import FrameCache, load_batches, open_cache, train_order
from src.distributed.batches import deal_out_batches
from src.distributed.group import rank, total, world_size
from src.evaluation.inference import load_model
from src.evaluation.metrics import accuracies, classification, debug_entry, recordings_by_vote, vote_accuracy
from src.frame_cache.cache import SPLITS, Split, cache_parameters, read_manifest, recording_names
from src.frame_cache.framing_options import dataset_of
from src.helpers import LOG, keep_freed_memory, match_choice
from src.io_funcs import write_atomic
from src.jobs.find import require_jobs
from src.jobs.folders import Job, evaluation_path
from src.model import FrameModel
from src.options import differing_keys
from src.reports.evaluation_tables import evaluation_summary, evaluation_tables
from src.training.device import autocast, choose_device, explain_memory_errors

FORMAT_VERSION = 1
MODEL_NAMES = ("best", "final")


@dataclass(frozen=True)
class Evaluation:
    """A model's class scores and class counts of the frames of a split.

    Attributes:
        split: the frames.
        scores: float32 [F, classes] on the CPU, of the model in eval mode.
        counts: int32 [F, classes] on the CPU, see `FrameModel.forward_with_counts`.
        relaxed: as `scores`, of the model's relaxed form; None if it has none.
    """

    split: Split
    scores: torch.Tensor
    counts: torch.Tensor
    relaxed: torch.Tensor | None

    def accuracies(self) -> dict[str, float]:
        """Return loss, accuracies and vote_accuracy; with a relaxed form, also relaxed_* and the discretisation_gap."""
        labels, recordings = self.split.labels, self.split.recordings
        result = accuracies(self.scores, labels, recordings)
        result["vote_accuracy"] = vote_accuracy(self.counts, labels, recordings)
        if self.relaxed is not None:
            relaxed = accuracies(self.relaxed, labels, recordings)
            result |= {f"relaxed_{name}": value for name, value in relaxed.items()}
            result["discretisation_gap"] = result["relaxed_frame_accuracy"] - result["frame_accuracy"]
        return result

    def classification(self, class_names: list[str]) -> dict[str, Any]:
        """Return what `metrics.classification` does; with a relaxed form, that of this form too, under `relaxed`.

        Its `recordings` also have the `vote_accuracy`, and under `by_vote` the lists of `metrics.recordings_by_vote`.
        """
        labels, recordings = self.split.labels, self.split.recordings
        result = classification(self.scores, labels, recordings, class_names)
        votes = recordings_by_vote(self.counts, labels, recordings)
        result["recordings"]["vote_accuracy"] = vote_accuracy(self.counts, labels, recordings)
        result["recordings"]["by_vote"] = {name: values.tolist() for name, values in votes.items()}
        if self.relaxed is not None:
            result["relaxed"] = classification(self.relaxed, labels, recordings, class_names)
        return result


def evaluate(
    model: FrameModel, split: Split, options: Train, device: torch.device, check: Callable[[], None]
) -> Evaluation:
    """Classify a split; a model with a relaxed form does so twice, and is left in train mode.

    Args:
        model: on the device.
        split: at least one frame.
        options: dtype and loader.
        device: where the model is.
        check: called at every batch, on all ranks as often; may raise to stop, then on all of them.
    """
    model.eval()
    scores, counts = _class_scores(model, split, options, device, check)
    relaxed = None
    if model.has_relaxed_form:
        with model.relaxed():
            relaxed, _ = _class_scores(model, split, options, device, check)
    return Evaluation(split, scores, counts, relaxed)


@torch.no_grad()
def _class_scores(
    model: FrameModel, split: Split, options: Train, device: torch.device, check: Callable[[], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the class scores and counts of a split, both [F, classes]; the counts of a relaxed form mean nothing.

    Each process classifies some batches, and all get the scores and counts of all frames.
    """
    order = train_order(len(split), 0, 0, shuffle=False)
    mine, most_batches = deal_out_batches(order, options.dataloader.batch_size, rank(), world_size())
    batches = load_batches(split, mine, options.dataloader, device)
    scores = [torch.empty(0, model.num_classes)]
    counts = [torch.empty(0, model.num_classes, dtype=torch.int32)]
    for _ in range(most_batches):
        check()
        for packed, _ in itertools.islice(batches, 1):
            with autocast(options, device):
                of_batch, counts_of_batch = model.forward_with_counts(packed)
            scores.append(of_batch.float().cpu())
            counts.append(counts_of_batch.cpu())
    return _of_all_frames(scores, mine, len(split)), _of_all_frames(counts, mine, len(split))


def _of_all_frames(parts: list[torch.Tensor], mine: NDArray[np.int64], frames: int) -> torch.Tensor:
    """Return the values of all frames, from those that each process has for its own."""
    own = torch.cat(parts)
    result = torch.zeros(frames, own.shape[1], dtype=own.dtype)
    result[mine] = own
    return total(result)


@explain_memory_errors()
def evaluate_job(config: Config, job_id: str, split: str, model: str, stop: StopSignals) -> None:
    """Evaluate a saved model, print a summary, and write `logs/<job_id>/evaluation_<split>….json` and `.txt`.

    The job needs no lock: its model files are replaced whole, and nothing else of it is touched.

    Args:
        config: its data section says on which cache, its train section on which device.
        job_id: checked by `check_name`.
        split: one of SPLITS, in any case.
        model: one of MODEL_NAMES, in any case.
        stop: asked at every batch.

    Raises:
        UserError: if there is no such job, model or split, or the model does not fit the cache.
        Stopped: a signal came; nothing is written.
    """
    split = _choice("split", split, SPLITS)
    model = _choice("model", model, MODEL_NAMES)
    job = Job(job_id)
    network, about = load_model(_model_path(job, model))
    own = Config.from_dict(about["config"], f"job {job_id}")
    if own.data.name != config.data.name:
        raise UserError(
            f"job {job_id} was trained on {own.data.name}, not on {config.data.name}: give its config, "
            f"{job.logs / 'config.yaml'}"
        )
    _warn_of_another_model(config, own, job_id)
    device = choose_device(config.train.device)
    if device.type == "cpu":
        keep_freed_memory()
    data = dataclasses.replace(config.data, stack=own.data.stack)  # of the model, not of the cache
    cache = open_cache(dataclasses.replace(config, data=data), stop.check)
    require_fitting_model(f"the {model} model of job {job_id}", about, own.data.frame_dtype, cache)
    warn_of_other_frames(f"the {model} model of job {job_id}", about, cache)
    if not len(cache.splits[split]):
        raise UserError(f"--split {split}: the {split} split of {cache.folder} is empty")
    options = dataclasses.replace(config.train, dtype=own.train.dtype)  # as it was trained and tested
    evaluation = evaluate(network.to(device), cache.splits[split], options, device, stop.check)
    content = evaluation_content(evaluation, cache, split, job_id, model, own.model.model_type, about["step"])
    content |= debug_entry(about["debug"])
    wanted, trained_on = (cache_parameters(data, dataset_of(data)) for data in (config.data, own.data))
    path = evaluation_path(job, split, model, "" if wanted == trained_on else cache.folder.name)
    try:
        write_evaluation(path, content)
    except OSError as error:
        raise UserError(f"{path}: cannot write there: {error.strerror}; see PROJECT_STORAGE_DIR") from error
    finally:
        print_result(evaluation_summary(content))
    LOG.info("tables by class and confusions: %s; as JSON: %s", path.with_suffix(".txt"), path.name)


def _choice(what: str, text: str, choices: tuple[str, ...]) -> str:
    choice = match_choice(text, choices)
    if choice is None:
        raise UserError(f"--{what} {text}: there is no such {what}; allowed: {', '.join(choices)}")
    return choice


def evaluation_content(
    evaluation: Evaluation, cache: FrameCache, split: str, job_id: str, model: str, model_type: str, step: int
) -> dict[str, Any]:
    """Return what an evaluation's file holds: what was evaluated on what, then `Evaluation.classification`.

    Each misclassified recording has the name of its `file` too, if the cache knows the names.
    """
    classified = evaluation.classification(cache.class_names)
    manifest = read_manifest(cache.folder)
    if manifest is not None and (names := recording_names(manifest)) is not None:
        for part in filter(None, (classified, classified.get("relaxed"))):
            for entry in part["recordings"]["misclassified"]:
                entry["file"] = names[entry["recording"]]
    return {
        "format_version": FORMAT_VERSION,
        "job_id": job_id,
        "model": model,
        "model_type": model_type,
        "step": step,
        "cache": f"{cache.folder.parent.name}/{cache.folder.name}",
        "split": split,
        "class_names": cache.class_names,
        **classified,
    }


def write_evaluation(path: Path, content: dict[str, Any]) -> None:
    """Write an evaluation as JSON, a confusion matrix a line per row, and its tables as .txt beside it."""
    text = json.dumps(content, indent=1)
    write_atomic(path.with_suffix(".txt"), evaluation_tables(content))
    write_atomic(path, re.sub(r"\[\s+(-?\d+(?:,\s+-?\d+)*)\s+\]", lambda row: f"[{_joined(row[1])}]", text) + "\n")


def _joined(numbers: str) -> str:
    return ", ".join(number.strip() for number in numbers.split(","))


def _model_path(job: Job, model: str) -> Path:
    path = job.models / f"{model}.safetensors"
    if path.exists():
        return path
    require_jobs([job.job_id])
    when = {"best": "after the first epoch", "final": "when the training is done"}[model]
    there = ", ".join(name for name in MODEL_NAMES if (job.models / f"{name}.safetensors").is_file()) or "none"
    raise UserError(
        f"job {job.job_id} has no {model} model, which is saved {when}, if train.save_model is true (there: {there}); "
        f"{path} does not exist"
    )


def _warn_of_another_model(config: Config, own: Config, job_id: str) -> None:
    differing = [
        f"{key} = {now!r} (the job's is {then!r})"
        for key, then, now in differing_keys(own.meaning(), config.meaning())
        if (key.startswith("model.") or key == "data.stack") and key != "model.difflogic.implementation"
    ]
    if differing:
        LOG.warning("the model of job %s is evaluated as it is; not taken: %s", job_id, ", ".join(differing))


def require_fitting_model(whose: str, about: dict[str, Any], frame_dtype: str, cache: FrameCache) -> None:
    """Raise UserError unless a model of this description (see `load_model`) takes the cache's frames."""
    if (list(cache.frame_shape), cache.frame_dtype) != (about["input_shape"], frame_dtype):
        raise UserError(
            f"{whose} takes {frame_dtype} frames of shape {about['input_shape']} [P, H, W], {cache.folder} has "
            f"{cache.frame_dtype} frames of shape {list(cache.frame_shape)}; give the data options of its training"
        )
    if cache.class_names != about["class_names"]:
        raise UserError(
            f"{whose} tells {_classes(about['class_names'])} apart, {cache.folder} has {_classes(cache.class_names)}"
        )


def warn_of_other_frames(whose: str, about: dict[str, Any], cache: FrameCache) -> None:
    """Warn if a model of this description was trained on the frames of another cache."""
    if about["frames"] != cache.content:
        LOG.warning(
            "%s was trained on other frames than those of %s: if recordings were divided differently, it may have "
            "learned some of those here",
            whose,
            cache.folder,
        )


def _classes(names: list[str]) -> str:
    few = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"{len(names)} classes ({few})"
