"""What lies in a folder of recordings, by kind, in natural order."""

import os
import re
from pathlib import Path

from src.command_line import UserError
from src.events.datasets.dataset import is_hidden
from src.helpers import printable


def entries_of(folder: Path) -> dict[str, list[str]]:
    """Return the names in a folder that are not hidden by kind, sorted naturally; links to nowhere are left out."""
    names: dict[str, list[str]] = {"folder": [], "file": [], "other": [], "": []}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_hidden(entry.name):
                    names[_kind(entry)].append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return names
    except OSError as error:
        raise UserError(f"{printable(str(folder))}: cannot list this folder: {error.strerror}") from error
    return {kind: sorted(found, key=natural_order) for kind, found in names.items()}


def _kind(entry: "os.DirEntry[str]") -> str:
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link to itself
        return ""
    return "" if entry.is_symlink() else "other"


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts "class 2" before "class 10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part] + [
        (2, 0, name)
    ]
