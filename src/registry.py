"""Everything that a config or a command chooses by name, and where its code is.

To add one, write a new file and add a line here. Code is imported when its name is chosen, and not before: reading a
config must not take the seconds that PyTorch's import takes.
"""

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Registry:
    """Names, in the order in which messages list them, each with the place of its code, "module:attribute"."""

    entries: dict[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def load(self, name: str) -> Any:
        """Import and return what `name` stands for; KeyError if it is not registered."""
        return _load(self.entries[name])


@functools.cache
def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


# Datasets: instances of `Dataset` in src/events/datasets/dataset.py. data.name chooses one.
DATASETS = Registry(
    {
        "NMNIST": "src.events.datasets.nmnist:NMNIST",
        "CIFAR10DVS": "src.events.datasets.cifar10dvs:CIFAR10DVS",
        "DVSGESTURE": "src.events.datasets.dvsgesture:DVSGESTURE",
        "NCALTECH101": "src.events.datasets.ncaltech101:NCALTECH101",
        "ASLDVS": "src.events.datasets.asldvs:ASLDVS",
        "NCARS": "src.events.datasets.ncars:NCARS",
        "POKERDVS": "src.events.datasets.pokerdvs:POKERDVS",
        "DEMO": "src.events.datasets.demo:DEMO",
        "FOLDER": "src.events.datasets.folder:FOLDER",
    }
)

# File formats: instances of `Format` in src/events/formats/format.py. The first one that recognises a file reads it.
FILE_FORMATS = Registry(
    {
        "AEDAT 4": "src.events.formats.aedat4:FORMAT",
        "AEDAT 3.1": "src.events.formats.aedat3:FORMAT",
        "AEDAT 2.0": "src.events.formats.aedat2:FORMAT",
        "Event Stream": "src.events.formats.event_stream:FORMAT",
        "EVT 3.0": "src.events.formats.evt3:FORMAT",
        "EVT 2.1": "src.events.formats.evt21:FORMAT",
        "EVT 2.0": "src.events.formats.evt2:FORMAT",
        "DAT": "src.events.formats.dat:FORMAT",
        "HDF5": "src.events.formats.hdf5:FORMAT",
        "NumPy's .npy": "src.events.formats.npy:FORMAT",
        "NumPy's .npz": "src.events.formats.npz:FORMAT",
        "N-MNIST's .bin": "src.events.formats.nmnist_bin:FORMAT",
        "text": "src.events.formats.text:FORMAT",
    }
)

# Whose timestamps EVT 3.0 files get: instances of `Format`. data.evt3_clock chooses one for the user's own recordings.
EVT3_CLOCKS = Registry(
    {
        "expelliarmus": "src.events.formats.evt3:FORMAT",
        "metavision": "src.events.formats.evt3:METAVISION_FORMAT",
    }
)

# Model types: subclasses of `FrameModel` in src/models/frame_model.py. model.model_type chooses one.
MODEL_TYPES = Registry(
    {
        "difflogic": "src.models.difflogic:DiffLogic",
        "cnn": "src.models.cnn:CNN",
        "mlp": "src.models.mlp:MLP",
    }
)

# How a gate's weights become a gate: subclasses of `Parametrisation` in src/logic/parametrisation.py.
# model.difflogic.parametrisation chooses one.
PARAMETRISATIONS = Registry(
    {
        "softmax": "src.logic.parametrisations.softmax:Softmax",
        "light": "src.logic.parametrisations.light:Light",
        "walsh": "src.logic.parametrisations.walsh:Walsh",
    }
)

# How the neurons of dense layers are connected: subclasses of `ConnectionScheme` in src/logic/connection_schemes.py.
# model.difflogic.connections chooses one.
CONNECTIONS = Registry(
    {
        "random": "src.logic.connection_schemes:Random",
        "unique": "src.logic.connection_schemes:Unique",
        "local": "src.logic.connection_schemes:Local",
        "learned": "src.logic.connection_schemes:Learned",
    }
)

# What computes logic layers: instances of `Backend` in src/logic/backends/backend.py. model.difflogic.implementation
# chooses one, and "auto" takes the first that suits. numba comes before Triton, whose interpreter takes CPU tensors.
BACKENDS = Registry(
    {
        "numba": "src.logic.backends.numba:NUMBA",
        "triton": "src.logic.backends.triton:TRITON",
        "torch": "src.logic.backends.torch:TORCH",
        "difflogic": "src.logic.backends.difflogic:DIFFLOGIC",
    }
)

# What `job.sh export --to` can write: functions ExportedModel -> Export, see src/export/exported.py.
EXPORT_TARGETS = Registry(
    {
        "c": "src.export.c99:export",
        "verilog": "src.export.verilog:export",
        "rtl": "src.export.rtl.export:export",
        "blif": "src.export.blif_export:export",
        "onnx": "src.export.onnx:export",
        "json": "src.export.circuit_json:export",
    }
)

# Where a run's numbers go besides metrics.csv: subclasses of `Logger` in src/training/loggers/logger.py. Each
# decides from the config whether it is active.
LOGGERS = Registry(
    {
        "tensorboard": "src.training.loggers.tensorboard:TensorBoard",
        "wandb": "src.training.loggers.wandb:WeightsAndBiases",
    }
)
