"""Going on from a job's newest checkpoint, once its config and its frames are known to be the same."""

import shlex
from typing import Any

from src import checkpoint
from src.command_line import UserError
from src.config import Config, may_change
from src.distributed.group import from_rank_zero
from src.helpers import LOG
from src.jobs.folders import Job
from src.model import schedule_over_all_epochs
from src.options import differing_keys
from src.training.state import Progress, TrainingRun, environment, is_trained


def resume_from_checkpoint(run: TrainingRun) -> None:
    """Put a run that was just set up into the state of the job's newest checkpoint, if there is one.

    Raises:
        UserError: the checkpoint is of another config or other frames, or the job is done and has no checkpoint left.
    """
    state = from_rank_zero(lambda: newest_state(run.job))
    if state is None:
        LOG.info("job %s has no checkpoint yet: starting fresh", run.job.job_id)
        return
    require_same_frames(run, state)
    require_same_config(run, state)
    warn_of_other_machine(run, state)
    _restore(run, state)
    progress = run.progress
    if is_trained(run):
        LOG.info("the training is done, after %d epochs: testing and saving again", progress.epoch)
    elif progress.batch or not progress.epoch:
        LOG.info("resuming after batch %d of epoch %d", progress.batch, progress.epoch + 1)
    else:
        LOG.info("resuming after epoch %d", progress.epoch)


def warn_of_other_machine(run: TrainingRun, state: dict[str, Any]) -> None:
    """Warn of each thing that must be equal for bit-identical results and is not what it was at the checkpoint."""
    for key, now in environment(run).items():
        if (then := state["environment"].get(key, now)) != now:  # older checkpoints do not say the processor
            LOG.warning(
                "%s was %s and is %s now: the run goes on, but not bit for bit as it would have", key, then, now
            )


def newest_state(job: Job) -> dict[str, Any] | None:
    """Return what is in the newest checkpoint; None if there is none yet."""
    state = checkpoint.load_newest(job.checkpoints, job.checkpoint_copies)
    if state is None and (job.logs / "result.json").exists():
        raise UserError(
            f"job {job.job_id} is done and has no checkpoint any more to go on from: --restart begins it again and "
            f"replaces what it left, another job id leaves it alone"
        )
    return state


def _restore(run: TrainingRun, state: dict[str, Any]) -> None:
    """Take over the state; rank 0's random states serve all ranks, whose draws are equal by design."""
    run.model.load_state_dict(state["model"])
    optimizer = state["optimizer"]
    optimizer["state"] = {int(number): values for number, values in optimizer["state"].items()}
    run.optimizer.load_state_dict(optimizer)
    run.scaler.load_state_dict(state["scaler"])
    for tensor, saved in zip(run.average, state["average"], strict=True):
        tensor.copy_(saved)
    checkpoint.restore_random_states(state["random"], run.device)
    run.progress = progress = Progress(**state["progress"])
    # What is evaluated again gets new rows: an epoch whose evaluation was cut short, and the test.
    progress.rows = [row for row in progress.rows if row["epoch"] <= progress.epoch and row["split"] != "test"]


def require_same_frames(run: TrainingRun, state: dict[str, Any]) -> None:
    """Raise UserError if the checkpoint is of a run on other frames."""
    if state["frames"] != run.cache.content:
        raise UserError(
            f"job {run.job.job_id} cannot be resumed: the frames of {run.cache.folder} are not those that it has "
            f"learned; prepare the cache from the same recordings as then, or --restart begins the job again"
        )


def require_same_config(run: TrainingRun, state: dict[str, Any]) -> None:
    """Raise UserError if the config differs from the checkpoint's in an option that may not change; log what does."""
    saved = Config.from_dict(state["config"], f"the checkpoint of job {run.job.job_id}")
    refused, changes = [], []
    for key, then, now in differing_keys(saved.meaning(), run.config.meaning()):
        if not may_change(key):
            refused.append(f"{key} was {then!r}, is {now!r}")
        elif key == "train.epochs" and (schedule := _schedule_over_all_epochs(run.config)):
            refused.append(f"{key} was {then}, is {now}, but {schedule} has followed a fall over {then}")
        elif key == "train.epochs" and now < state["progress"]["epoch"]:
            refused.append(f"{key} = {now}, but {state['progress']['epoch']} epochs are done")
        else:
            changes.append(f"resuming with {key} = {now!r}, it was {then!r}")
    remedy = ""
    if refused:
        words = ["./train.sh", str(run.job.logs / "config.yaml"), run.job.job_id, "--resume"]
        own = shlex.join([*words, "--debug"] if state["debug"] else words)
        remedy = f"Leave out what changes it, or take the job's own config: {own}. "
    then, now = state["debug"], run.debug_note
    if then and not now:
        refused.append(f"it was run with --debug ({then}): give --debug")
    elif now and not then:
        refused.append("it was run without --debug: leave out --debug")
    elif state["batches_an_epoch"] != run.batches_per_epoch:
        refused.append(f"an epoch had {state['batches_an_epoch']} batches and has {run.batches_per_epoch} now")
    if state["teacher"] != run.teacher_digest:
        refused.append(f"train.teacher.model = {run.config.train.teacher.model} is not the model that it was")
    if refused:
        raise UserError(
            f"job {run.job.job_id} cannot be resumed with this config: {'; '.join(refused)}. {remedy}--restart begins "
            f"the job again, another job id leaves it alone"
        )
    for change in changes:
        LOG.info(change)


def _schedule_over_all_epochs(config: Config) -> str | None:
    """Return an option whose effect depends on the number of epochs; None if there is none."""
    if config.train.scheduler == "cosine":
        return "train.scheduler = cosine"
    return schedule_over_all_epochs(config.model)
