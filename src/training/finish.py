"""The end of a training run: the test of its models, and the files that a finished run leaves."""

import copy
from dataclasses import dataclass, replace
from typing import Any

from src import checkpoint
from src.circuit.luts import circuit_size
from src.command_line import RunError, StopSignals
from src.distributed.group import check, from_rank_zero, rank
from src.evaluation.evaluate import Evaluation, evaluate, evaluation_content, write_evaluation
from src.evaluation.metrics import debug_entry
from src.helpers import LOG, format_duration
from src.io_funcs import write_json
from src.jobs.folders import evaluation_path
from src.logic.temperature import set_temperature
from src.model import FrameModel
from src.reports.report import MOST_GATES_AFTER_TRAINING, try_to_write_report
from src.training.optimisation import averaged_weights
from src.training.records import add_row, scores_in_columns
from src.training.state import (
    TrainingRun,
    reason_to_stop_early,
    save_checkpoint,
    save_metrics,
    save_model,
    try_to_save,
)


@dataclass(frozen=True)
class ModelTest:
    """What a model does on the test split.

    Attributes:
        model: "final" or "best".
        step: number of batches after which the model was saved.
        evaluation: its class scores.
        accuracies: loss and accuracies, as in result.json.
        size: of its circuit, as in result.json; None if it has none, or a very large one.
    """

    model: str
    step: int
    evaluation: Evaluation
    accuracies: dict[str, float]
    size: dict[str, int] | None


def evaluate_split(run: TrainingRun, model: FrameModel, split: str, stop: StopSignals) -> Evaluation:
    """Evaluate a model on a split of the run's cache; all processes take a share, and all raise Stopped at a signal."""
    return evaluate(model, run.cache.splits[split], run.config.train, run.device, lambda: check(stop))


def finish(run: TrainingRun, stop: StopSignals) -> None:
    """Test the final and the best model, save what a finished run leaves, and log the accuracies."""
    progress = run.progress
    run.model.begin_epoch(progress.epoch - 1, run.config.train.epochs)  # a resumed run may have nothing left to train
    stopped_early = reason_to_stop_early(run) if progress.epoch < run.config.train.epochs else None
    if stopped_early is not None:
        LOG.info("stopped early %s; a larger one and --resume go on", stopped_early)
    has_test_split = len(run.cache.splits["test"]) > 0
    tests: dict[str, ModelTest] = {}
    with averaged_weights(run.model, run.average):
        if has_test_split:
            tests["test"] = _test(run, run.model, "final", progress.step, stop)
            add_row(run, "test", tests["test"].accuracies, epoch=progress.epoch)
        saved = save_model(run, "final")
        if progress.best_epoch == 0:  # without a val split the final model is the best one
            saved &= save_model(run, "best")
    if has_test_split and run.config.train.save_model and saved:
        tests["best_test"] = _test_best(run, tests["test"], stop)
    save_metrics(run)
    checkpointed = save_checkpoint(run, to_project=True)
    result = _result(run, stopped_early, tests)
    # A result says that there is a checkpoint: see `resuming.newest_state`.
    saved &= checkpointed and try_to_save("the result", lambda: write_json(run.job.logs / "result.json", result))
    _log_accuracies(run, tests)
    if not saved:
        raise RunError("the run is done, but not all of it could be saved, see above; free space and --resume")
    if tests:
        shown = tests.get("best_test", tests["test"])
        try_to_save("the evaluation", lambda: _write_evaluation(run, shown))
    if run.config.train.report and rank() == 0:
        try_to_write_report(run.job)
    LOG.info("trained for %s; results in %s", format_duration(progress.train_seconds), run.job.logs)


def _test(run: TrainingRun, model: FrameModel, name: str, step: int, stop: StopSignals) -> ModelTest:
    evaluation = evaluate_split(run, model, "test", stop)
    return ModelTest(name, step, evaluation, evaluation.accuracies(), _size(model) if rank() == 0 else None)


def _size(model: FrameModel) -> dict[str, int] | None:
    """Return what a model's circuit takes in hardware, estimated; None for no circuit, or for a very large one."""
    if not model.has_circuit:
        return None
    circuit = model.circuit()
    if len(circuit.gates) > MOST_GATES_AFTER_TRAINING:
        return None
    return circuit_size(circuit.simplified())._asdict()


def _test_best(run: TrainingRun, final: ModelTest, stop: StopSignals) -> ModelTest:
    """Test the best model, whose file rank 0 reads: another machine may still see the file that was there before."""
    state, about = from_rank_zero(lambda: checkpoint.load_model_state(run.job.models / "best.safetensors"))
    if about["step"] == final.step:  # the last epoch was the best
        return replace(final, model="best")
    best = copy.deepcopy(run.model)
    best.load_state_dict(state)
    set_temperature(best, about["temperature"])
    return _test(run, best, "best", about["step"], stop)


def _result(run: TrainingRun, stopped_early: str | None, tests: dict[str, ModelTest]) -> dict[str, Any]:
    """Return the content of result.json."""
    progress = run.progress
    result: dict[str, Any] = {
        "job_id": run.job.job_id,
        "epochs": progress.epoch,
        "steps": progress.step,
        "best_epoch": progress.best_epoch,
        "train_seconds": round(progress.train_seconds, 3),
        **debug_entry(run.debug_note),
    }
    if stopped_early is not None:
        result["stopped_early"] = stopped_early
    sizes = {"test": "circuit", "best_test": "best_circuit"}
    result |= {sizes[name]: test.size for name, test in tests.items() if test.size is not None}
    return result | {name: test.accuracies for name, test in tests.items()}


def _log_accuracies(run: TrainingRun, tests: dict[str, ModelTest]) -> None:
    if not tests:
        LOG.warning("the test split of %s is empty: there is no test accuracy", run.cache.folder)
    note = f" ({run.debug_note})" if run.debug_note else ""
    best_epoch = run.progress.best_epoch or run.progress.epoch
    names = {"final": "final model:", "best": f"best model (epoch {best_epoch}):"}
    for test in tests.values():
        name = names[test.model].ljust(max(map(len, names.values())))
        LOG.info("test, %s %s%s%s", name, scores_in_columns(test.accuracies, votes=True), _in_words(test.size), note)


def _in_words(size: dict[str, int] | None) -> str:
    return "" if size is None else f"; {size['gates']:,} gates, about {size['luts']:,} LUT6, {size['depth']} in a row"


def _write_evaluation(run: TrainingRun, test: ModelTest) -> None:
    model_type = run.config.model.model_type
    content = evaluation_content(test.evaluation, run.cache, "test", run.job.job_id, test.model, model_type, test.step)
    write_evaluation(evaluation_path(run.job, "test"), content | debug_entry(run.debug_note))
