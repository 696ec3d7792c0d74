"""Whether a job is done: what a start with the same config would end with is there."""

from typing import Any

from src.command_line import UserError
from src.config import Config
from src.jobs.files import read_job_config, read_metrics, read_result
from src.jobs.folders import Job, evaluation_path
from src.options.yaml_text import parse_yaml


def finished_result(config: Config) -> dict[str, Any] | None:
    """Return the result.json of a config's job if it is that of this config; None if it has to run or to go on."""
    job = Job(str(config.base.job_id))
    try:
        # Each start of a job writes its config first, and its result last.
        if (job.logs / "result.json").stat().st_mtime_ns < (job.logs / "config.yaml").stat().st_mtime_ns:
            return None
    except OSError:
        return None
    result, content = read_result(job), read_job_config(job).content
    if result is None or not content:
        return None
    try:
        trained = Config.from_dict(parse_yaml(content), str(job.logs / "config.yaml"))
    except UserError:
        return None
    return result if trained.meaning() == config.meaning() else None


def complete_result(config: Config, debug: bool) -> dict[str, Any] | None:
    """Return `finished_result` if a start with `--resume` has nothing to add: None if some file is to be made.

    Args:
        config: what the job trains; the job may never have run.
        debug: whether it would run with `--debug`.
    """
    job, result = Job(str(config.base.job_id)), finished_result(config)
    if result is None or job.restarting.exists() or debug != ("debug" in result):
        return None
    files = [job.models / f"{name}.safetensors" for name in ("final", "best") if config.train.save_model]
    if "test" in result:
        files.append(evaluation_path(job, "test"))
    if config.train.report:
        files.append(job.logs / "report.html")
    return result if all(file.exists() for file in files) and read_metrics(job.logs / "metrics.csv") else None
