"""Check an image: each package of a lock file is there in its version, and each of its top-level modules imports.

Run by the definition's %test as `check_image.py LOCK [NAME==VERSION ...]`; it needs the standard library only.
"""

import importlib
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path


def locked_requirements(lock: Path) -> list[tuple[str, str]]:
    """Return (name, version) of each line `NAME==VERSION [; marker]` of a lock file and of those that it names by `-r`.

    Markers are ignored.
    """
    found = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        requirement = line.split("#")[0].split(";")[0].strip()
        if requirement.startswith("-r "):
            found += locked_requirements(lock.parent / requirement.removeprefix("-r ").strip())
        elif requirement:
            found.append(name_and_version(requirement))
    return found


def name_and_version(requirement: str) -> tuple[str, str]:
    """Split `NAME==VERSION`."""
    name, _, version = requirement.partition("==")
    return name, version


def module_names(package: Distribution) -> list[str]:
    """Return the top-level modules that a distribution installed; none if it holds only stubs or programs."""
    names = set()
    for file in package.files or []:
        if file.suffix in (".py", ".so"):
            name = file.parts[0] if len(file.parts) > 1 else file.name.partition(".")[0]
            names.add(name)
    return sorted(name for name in names if name.isidentifier())


def problems(requirements: list[tuple[str, str]]) -> list[str]:
    """Return a line for each wrong package; a local version such as 2.13.0+cu126 is as good as 2.13.0."""
    found = []
    for name, version in requirements:
        try:
            package = distribution(name)
        except PackageNotFoundError:
            found.append(f"{name}=={version} is not installed")
            continue
        if re.sub(r"\+.*", "", package.version) != version:
            found.append(f"{name}=={version} is locked, {package.version} is installed")
        for module in module_names(package):
            try:
                importlib.import_module(module)
            except Exception as error:
                found.append(f"{name}: import {module}: {type(error).__name__}: {error}")
    return found


def main() -> int:
    """Check the lock file and the requirements of the command line; print what is wrong."""
    lock, *more = sys.argv[1:]
    requirements = [*locked_requirements(Path(lock)), *map(name_and_version, more)]
    found = problems(requirements)
    print("\n".join(found) or f"{len(requirements)} packages are there, and all of their modules import")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
