"""Accuracy against size: which jobs' networks are the best of their size."""

from collections.abc import Mapping

from src.jobs.files import JobFiles, read_job
from src.jobs.find import find_jobs
from src.jobs.folders import Job
from src.reports import plots

SIZES = ("gates", "luts", "depth")  # of a circuit: LUTs of six inputs, estimated
Points = Mapping[str, tuple[int, float]]  # LUTs and accuracy of recordings by vote, by job


def size_of(files: JobFiles) -> dict[str, int]:
    """Return the size of a job's circuit by SIZES, the best model's if there is one; {} if it is not known."""
    result = files.result or {}
    size: dict[str, int] = result.get("best_circuit") or result.get("circuit") or {}
    return size


def best_of_their_size(points: Points) -> list[str]:
    """Return the names of the points that no point of their size or less beats, the smallest first."""
    best: list[str] = []
    for name, (_, accuracy) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1])):
        if not best or accuracy > points[best[-1]][1]:
            best.append(name)
    return best


def frontier_chart(points: Points, own: str | None = None) -> plots.Chart:
    """Draw jobs; `own` is pointed out."""
    percents = {name: (luts, 100 * accuracy) for name, (luts, accuracy) in points.items()}
    title, x_label = "Accuracy of recordings by vote, and size", "LUTs of six inputs, estimated"
    return plots.frontier_chart("frontier", title, x_label, "%", percents, best_of_their_size(points), own)


def jobs_beside(job: Job, dataset: str | None) -> Points:
    """Return the points of a job and of all others on the same dataset; {} if the job itself has none."""
    points = {}
    for job_id in find_jobs():
        files = read_job(Job(job_id))
        tested = (files.result or {}).get("best_test") or (files.result or {}).get("test") or {}
        if files.config.dataset == dataset and size_of(files) and "vote_accuracy" in tested:
            points[job_id] = size_of(files)["luts"], tested["vote_accuracy"]
    return points if job.job_id in points else {}
