"""Drawing by matplotlib that looks the same for everybody; colours of events and names of classes in every picture."""

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.helpers import printable

# Okabe and Ito's colours, which colour-blind readers can tell apart too.
ON, OFF, BOTH = "#0072B2", "#D55E00", "#4D4D4D"
EMPTY = "#F4F4F2"  # a pixel without events
LABEL_BEGIN, LABEL_END = 12, 7  # characters that stay of a longer name, so that names with one beginning differ
FONT = "DejaVu Sans"  # comes with matplotlib


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

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box stands for it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def label(name: str) -> str:
    """Return a name, such as a class's, as it stands beside a picture: in one line, its middle left out if long."""
    name = printable(name)
    return name if len(name) <= LABEL_BEGIN + 1 + LABEL_END else f"{name[:LABEL_BEGIN]}…{name[-LABEL_END:]}"


def fonts_for(names: Iterable[str]) -> tuple[list[str], set[str]]:
    """Return the families of fonts that draw these names, and the characters that no font has; call it in `drawing`.

    The first family is FONT; installed ones follow for what it lacks, such as Chinese.
    """
    from matplotlib import font_manager

    families, lacking = [FONT], {ord(character) for name in names for character in name}
    lacking -= font_manager.get_font(font_manager.findfont(FONT)).get_charmap().keys()
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if lacking and font.name not in families and not font.name.startswith("Last Resort"):  # it has boxes only
            with contextlib.suppress(OSError, RuntimeError):  # removed, or damaged
                found = lacking & font_manager.get_font(font.fname).get_charmap().keys()
                if found:
                    families.append(font.name)
                    lacking -= found
    return families, set(map(chr, lacking))


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
