"""Who imports whom, read from the syntax tree of every file: floors, no cycles, packages that stand alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import registry
from src.registry import Registry
from tests.small_job import REPOSITORY

# A file or folder of src imports from its own floor and from lower ones.
FLOORS = {
    "helpers": 1,
    "command_line": 1,
    "io_funcs": 1,
    "options": 1,
    "frame_modes": 1,
    "registry": 1,
    "config": 1,
    "compiling": 1,
    "kernel_cache": 1,
    "triton_cache": 1,
    "triton_common": 1,
    "drawing": 1,
    "bits": 2,
    "jobs": 2,
    "events": 2,
    "logic": 2,
    "circuit": 2,
    "export": 3,
    "frame_cache": 3,
    "data": 3,
    "model": 3,
    "models": 3,
    "checkpoint": 3,
    "training": 3,
    "distributed": 3,
    "evaluation": 3,
    "reports": 3,
    "needed_paths": 4,
    "miniature": 4,
    "sweeps": 4,
    "train": 4,
    "cli": 5,
}
# What a package that can be used by itself may import from the rest of src.
STANDING_ALONE = {
    "events": {"bits", "command_line", "frame_modes", "helpers", "io_funcs", "kernel_cache", "registry"},
    "logic": {"bits", "command_line", "helpers", "kernel_cache", "registry", "triton_cache", "triton_common"},
    "circuit": {"bits", "command_line", "helpers", "kernel_cache", "logic.gates", "triton_cache", "triton_common"},
}


def module_name(path: Path) -> str:
    words = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


MODULES = {module_name(path): path for path in sorted(REPOSITORY.glob("src/**/*.py"))}


def imports_of(path: Path, top: str = "src") -> Iterator[str]:
    """The modules of `top` that a file imports anywhere, in functions too."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


GRAPH = {
    name: {other for other in imports_of(path) if other.split(".")[0] == "src"} - {name}
    for name, path in MODULES.items()
}


def place(module: str) -> str:
    """The file or folder of src that holds a module."""
    return module.split(".")[1]


def importing(modules: list[str]) -> list[tuple[str, str]]:
    return [(name, other) for name in modules for other in sorted(GRAPH[name]) if "." in other]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A path from a module back to itself; empty if there is none."""
    done: set[str] = set()

    def search(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        found = next((way for other in sorted(graph[module]) if (way := search(other, [*path, module]))), [])
        done.add(module)
        return found

    return next((way for module in sorted(graph) if (way := search(module, []))), [])


def test_every_file_and_folder_of_src_has_a_floor():
    assert {place(name) for name in MODULES if "." in name} == set(FLOORS)


def test_a_module_imports_only_from_its_floor_or_below():
    upward = [
        f"{name} (floor {FLOORS[place(name)]}) imports {other} (floor {FLOORS[place(other)]})"
        for name, other in importing([name for name in MODULES if "." in name])
        if FLOORS[place(other)] > FLOORS[place(name)]
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_cycle():
    assert cycle(GRAPH) == []


def test_a_cycle_through_a_function_s_import_is_seen(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    from src.data import b\n")
    assert list(imports_of(tmp_path / "a.py")) == ["src.data"]
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("package", STANDING_ALONE)
def test_a_package_that_stands_alone_imports_neither_config_nor_storage(package):
    allowed = STANDING_ALONE[package]
    others = [
        f"{name} imports {other}"
        for name, other in importing([name for name in MODULES if name.startswith(f"src.{package}")])
        if place(other) != package and not {place(other), other.removeprefix("src.")} & allowed
    ]
    assert others == []


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "docs"])
def test_tests_benchmarks_and_docs_do_not_import_each_other(folder):
    others = {"tests", "benchmarks", "docs"} - {folder}
    found = [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        if "others" not in path.parts  # the peers that benchmarks install
        for name in imports_of(path)
        if name.split(".")[0] in others
    ]
    assert found == []


def test_src_imports_nothing_from_outside_of_it_that_is_ours():
    ours = {"tests", "benchmarks", "docs", "helper_scripts", "main", "prepare_data", "check_and_sync_data"}
    found = [f"{name} imports {other}" for name, path in MODULES.items() for other in imports_of(path)]
    assert [line for line in found if line.split()[-1].split(".")[0] in ours] == []


@pytest.mark.parametrize("name", [name for name in vars(registry) if isinstance(getattr(registry, name), Registry)])
def test_every_entry_of_a_registry_is_there(name):
    for entry in getattr(registry, name):
        assert getattr(registry, name).load(entry) is not None
