"""Drawing by matplotlib that looks the same for everybody, and the colours of events in every picture."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Okabe and Ito's colours, which colour-blind readers can tell apart too.
ON, OFF, BOTH = "#0072B2", "#D55E00", "#4D4D4D"
EMPTY = "#F4F4F2"  # a pixel without events


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


def coloured(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a frame [P, H, W] as RGB [H, W, 3]: a colour per polarity, another for both, paler for low counts."""
    from matplotlib.colors import to_rgb

    events = frame.astype(float)
    strength = np.sqrt(events.sum(0) / max(events.sum(0).max(), 1.0)) if frame.max(initial=0) > 1 else events.max(0)
    colour = np.empty((*frame.shape[1:], 3))
    colour[:] = to_rgb(BOTH)
    if len(frame) == 2:
        colour[(frame[1] > 0) & (frame[0] == 0)] = to_rgb(ON)
        colour[(frame[0] > 0) & (frame[1] == 0)] = to_rgb(OFF)
    return strength[..., None] * colour + (1 - strength[..., None]) * np.array(to_rgb(EMPTY))
