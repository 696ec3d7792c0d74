"""difflogic's and torchlogix's own Python source, fetched with pip into benchmarks/others/, to compare with.

Neither can be installed beside this project: difflogic's set-up needs CUDA, torchlogix brings another PyTorch.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "others"
DIFFLOGIC = "difflogic==0.1.0"
TORCHLOGIX = "torchlogix==0.2.2"

# What difflogic's setup.py imports only to build its CUDA extension; fetching the source must not need it.
STAND_IN = """
from setuptools import Extension
from setuptools.command.build_ext import build_ext as BuildExtension


def CUDAExtension(name, sources, **options):
    return Extension(name, [])
"""


def difflogic(folder: Path = FOLDER) -> Any:
    """Return the package difflogic; its Python implementation works without CUDA."""
    source = folder / DIFFLOGIC.replace("==", "-")
    if not source.exists():
        stand_in = folder / "stand_in" / "torch" / "utils"
        stand_in.mkdir(parents=True, exist_ok=True)
        (stand_in / "cpp_extension.py").write_text(STAND_IN)
        for package in (stand_in.parent, stand_in):
            (package / "__init__.py").touch()
        tools = folder / "build_tools"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools), "setuptools", "wheel"]
        subprocess.run(command, check=True)
        options = ["--no-build-isolation", "--no-binary", ":all:"]
        _pip_download(folder, DIFFLOGIC, *options, PYTHONPATH=os.pathsep.join([str(stand_in.parents[1]), str(tools)]))
        with tarfile.open(next(folder.glob("difflogic-*.tar.gz"))) as archive:
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python knows it from 3.11.4 on
            archive.extractall(folder)
    if "difflogic" not in sys.modules:
        sys.path.insert(0, str(source))
        if importlib.util.find_spec("difflogic_cuda") is None:
            sys.modules["difflogic_cuda"] = types.ModuleType("difflogic_cuda")  # only for its import of it
            importlib.import_module("difflogic")
            del sys.modules["difflogic_cuda"]
    return importlib.import_module("difflogic")


def torchlogix_dense(folder: Path = FOLDER) -> Any:
    """Return torchlogix's class LogicDense."""
    return _torchlogix("dense", folder).LogicDense


def torchlogix_convolution(folder: Path = FOLDER) -> tuple[Any, Any]:
    """Return torchlogix's classes LogicConv2d and OrPooling2d."""
    return _torchlogix("conv", folder).LogicConv2d, _torchlogix("pool", folder).OrPooling2d


def _torchlogix(module: str, folder: Path) -> Any:
    """Return a module of torchlogix's layers, imported without the package's __init__, which needs Python 3.12."""
    source = folder / "torchlogix"
    if not source.exists():
        _pip_download(folder, TORCHLOGIX)
        with zipfile.ZipFile(next(folder.glob("torchlogix-*.whl"))) as archive:
            archive.extractall(folder)
    for name, path in (("torchlogix", source), ("torchlogix.layers", source / "layers")):
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
    return importlib.import_module(f"torchlogix.layers.{module}")


def _pip_download(folder: Path, requirement: str, *options: str, **variables: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "-d",
        str(folder),
        *options,
        requirement,
    ]
    subprocess.run(command, check=True, env={**os.environ, **variables})
