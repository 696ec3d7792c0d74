"""The size of a program on a microcontroller, as its compiler makes it."""

import subprocess
import tempfile
from pathlib import Path

from src.helpers import LOG

COMPILER = "arm-none-eabi-gcc"  # Debian: gcc-arm-none-eabi, with libnewlib-arm-none-eabi
CORE = "Cortex-M4"
_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-Os", "-std=c99")
_TIMEOUT = 300.0  # seconds


def measured_size(name: str, files: dict[str, str]) -> dict[str, int] | None:
    """Compile NAME_stream.c for CORE; return its size in bytes: `flash`, and `ram`, that of a state.

    Args:
        name: of the network.
        files: texts by file name, NAME_stream.h and NAME_stream.c among them.

    Returns:
        None if COMPILER is not on PATH, or, after a warning, if it fails.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for suffix in "hc":
            (folder / f"{name}_stream.{suffix}").write_text(files[f"{name}_stream.{suffix}"])
        (folder / "state.c").write_text(f'#include "{name}_stream.h"\n{name}_state state;\n')
        try:
            code, state = (_section_sizes(folder, source) for source in (f"{name}_stream.c", "state.c"))
        except FileNotFoundError:
            return None
        except (subprocess.SubprocessError, ValueError) as error:
            output = getattr(error, "stderr", None) or str(error)
            LOG.warning("no size on a %s: %s failed: %s", CORE, COMPILER, " ".join(output.split())[-300:])
            return None
    return {"flash": code["text"] + code["data"], "ram": code["data"] + code["bss"] + state["bss"]}


def size_text(size: dict[str, int]) -> str:
    """Return a size for people."""
    flash, ram = (f"{size[name] / 1024:,.1f} KiB" for name in ("flash", "ram"))
    return f"{CORE}, of the program that takes events: {flash} of flash, {ram} of RAM"


def _section_sizes(folder: Path, source: str) -> dict[str, int]:
    """Compile a file; return the bytes of the sections `text`, `data` and `bss`."""
    size = COMPILER.replace("gcc", "size")
    for words in ([COMPILER, *_FLAGS, "-c", source, "-o", "object.o"], [size, "object.o"]):
        done = subprocess.run(
            words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    names, values = done.stdout.splitlines()[:2]
    return {name: int(value) for name, value in zip(names.split()[:3], values.split()[:3], strict=True)}
