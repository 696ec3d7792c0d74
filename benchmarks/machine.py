"""What a benchmark ran on: a line for its output."""

import platform

from src.helpers import available_cores
from src.reports.provenance import package_versions, processor_name


def describe_machine() -> str:
    """Return processor, cores, Python and the versions of the packages that matter."""
    versions = package_versions(("torch", "numba", "numpy", "tonic", "triton"))
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    return f"{processor_name()}, {available_cores()} cores, Python {platform.python_version()}, {packages}"
