"""Drawing by matplotlib that looks the same for everybody, whatever the user's own settings of matplotlib are."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def drawing(settings: Mapping[Any, Any]) -> Iterator[None]:
    """Draw under matplotlib's defaults and these settings, whatever MPLBACKEND and the user's matplotlibrc say.

    matplotlib is imported here and not before, which takes half a second. Import it only within this block.
    """
    os.environ["MPLBACKEND"] = "agg"  # the import fails if a backend of a notebook is not installed
    package = importlib.util.find_spec("matplotlib")
    if package is not None and package.origin is not None:
        os.environ["MATPLOTLIBRC"] = str(Path(package.origin).with_name("mpl-data") / "matplotlibrc")
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
