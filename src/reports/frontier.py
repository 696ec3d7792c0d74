"""Accuracy against size: which jobs' networks are the best of their size."""

from collections.abc import Mapping

from src.jobs.files import JobFiles, read_job
from src.jobs.find import find_jobs
from src.jobs.folders import Job
from src.reports import plots

SIZES = ("gates", "luts", "depth")  # of a circuit: LUTs of six inputs, estimated
Points = Mapping[str, tuple[int, float]]  # LUTs and accuracy of recordings by vote, by job


def tested_of(files: JobFiles) -> dict[str, float]:
    """Return a job's accuracies on test, the best model's if there is one; {} if it has not been tested."""
    result = files.result or {}
    tested: dict[str, float] = result.get("best_test") or result.get("test") or {}
    return tested


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
    title, x_label = "Accuracy of recordings by vote", "LUTs of six inputs, estimated"
    return plots.frontier_chart("frontier", title, x_label, "%", percents, best_of_their_size(points), own)


def point_of(files: JobFiles) -> tuple[int, float] | None:
    """Return a job's LUTs and accuracy by vote; None if one of them is not known."""
    size, tested = size_of(files), tested_of(files)
    return (size["luts"], tested["vote_accuracy"]) if size and "vote_accuracy" in tested else None


def jobs_beside(job: Job, own: JobFiles) -> Points:
    """Return the points of a job and of all others on its dataset; {}, and no other job is read, if it has none."""
    own_point = point_of(own)
    if own_point is None:
        return {}
    points = {job.job_id: own_point}
    for job_id in find_jobs():
        if job_id not in points:
            files = read_job(Job(job_id))
            point = point_of(files)
            if point is not None and files.config.dataset == own.config.dataset:
                points[job_id] = point
    return points
