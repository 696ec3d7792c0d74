"""What a job's designs take of FPGAs and how fast they are, for its report and for comparisons."""

from typing import Any

from src.jobs.files import read_hardware
from src.jobs.folders import Job, hardware_path

HEADER = ["design", "family", "LUTs", "registers", "block RAMs", "placed on", "MHz", "latency, ns"]
HEADER += ["events/s", "frames/s", "how full"]


def results_of(job: Job, step: int | None) -> list[dict[str, Any]]:
    """Return the results in a job's hardware.json, the newest last; none if they are another model's.

    Args:
        job: the job.
        step: the training step of the model; None: any.
    """
    found = read_hardware(hardware_path(job))
    return found["results"] if found is not None and step in (None, found["step"]) else []


def hardware_rows(job: Job, step: int) -> list[list[str]]:
    """Return a row per design and family, by HEADER."""
    return [
        [
            result["top"],
            result["family"],
            *(f"{result[name]:,}" for name in ("luts", "registers", "block_rams")),
            result.get("device", "-"),
            *(_number(result.get(name), digits) for name, digits in (("fmax_mhz", 1), ("latency_ns", 1))),
            *(_number(result.get(name), 0) for name in ("events_per_second", "frames_per_second")),
            how_full(result["full"]),
        ]
        for result in results_of(job, step)
    ]


def how_full(full: dict[str, float]) -> str:
    """Return the devices that hold a design, at most three, with how full they are."""
    fitting = [f"{device} {100 * share:.0f} %" for device, share in full.items() if share <= 1]
    return ", ".join(fitting[:3]) or "no device holds it"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
