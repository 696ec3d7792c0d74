"""Exit 0 if the running Python has the packages that pyproject.toml asks for; else say which lack.

The argument `test` adds the packages of the tests. `--import` imports them too, which takes seconds.
"""

import importlib
import re
import sys
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.split("+")[0])[:3])


def _why_not_imported(name: str) -> str | None:
    """Return the error of importing a distribution's packages; None if there is none."""
    packages = {file.parts[0] for file in files(name) or [] if len(file.parts) == 2 and file.name == "__init__.py"}
    try:
        for package in sorted(packages):
            importlib.import_module(package)
    except Exception as error:
        return f"{name} cannot be imported: {type(error).__name__}: {error}"
    return None


def main() -> int:
    """Compare installed versions with the ranges."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever python3 there is runs this
        print("Python 3.11 or newer is needed", file=sys.stderr)
        return 1
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lacking = []
    requirements = project["dependencies"]
    for extra in [word for word in sys.argv[1:] if word != "--import"]:
        requirements += project["optional-dependencies"][extra]
    for requirement in requirements:
        name, least = re.fullmatch(r"([\w-]+)(?:>=([\d.]+))?(?:;.*)?", requirement.strip()).groups()  # type: ignore[union-attr]
        if "Linux" in requirement and sys.platform != "linux":
            continue
        try:
            if least and _numbers(version(name)) < _numbers(least):
                lacking.append(requirement)
            elif "--import" in sys.argv and (reason := _why_not_imported(name)):
                lacking.append(reason)
        except PackageNotFoundError:
            lacking.append(requirement)
    if lacking:
        print("lacking: " + ", ".join(lacking), file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
