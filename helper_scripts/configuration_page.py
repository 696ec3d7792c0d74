"""Write docs/configuration.md, the reference of all options: python -m helper_scripts.configuration_page."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from src.config import Config
from src.options.checks import all_needs
from src.options.explain import (
    describe,
    limits,
    may_be_null,
    needs_in_words,
    purpose,
    type_in_words,
    yaml_value,
)
from src.options.machine import find, options_of, value_of

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGINNING = """# Configuration

<!-- Written by `python -m helper_scripts.configuration_page` from src/config.py: change that file, not this one. -->

A config gives what differs from these defaults. `--override "train.epochs=10 model.difflogic.tau=20"` changes it on the
command line. An option's key is its section and its name, such as `train.epochs`. `./train.sh --explain` prints all
options with their help, and `./train.sh --explain KEY` prints a section or an option.

- A key that does not exist is an error that names the nearest one.
- An option that is set and has no effect is named in a warning.
- Names that are chosen from a list ignore case.
- Numbers are those of YAML 1.2: `010` is 10.
- In paths, a leading `~` is your home folder, and `$NAME` and `${NAME}` come from the environment.
- A job may be resumed with another value only of options that say so.
"""


# What teaches the options of a section.
GUIDES = {
    "base": "[Train](training.md)",
    "data": "[Prepare data](data.md)",
    "train": "[Learning rate and optimizer](training.md#learning-rate-and-optimizer)",
    "train.dataloader": "[Train](training.md)",
    "train.augmentation": "[Augmentation](training.md#augmentation)",
    "train.teacher": "[A teacher](training.md#a-teacher)",
    "model": "[Models](models.md)",
    "model.difflogic": "[Logic gate networks](models.md#logic-gate-networks)",
    "model.difflogic.convolution": "[Convolutions](models.md#convolutions)",
    "model.cnn": "[CNN and MLP](models.md#cnn-and-mlp)",
    "model.mlp": "[CNN and MLP](models.md#cnn-and-mlp)",
}
HEAD = ["| option | default | type | unit | limits | meaning |", "|---|---|---|---|---|---|"]


def page() -> str:
    """Return the page's text: for each section that has options, what it is for, what teaches it, and a table."""
    config = Config()
    keys = [key for key, _, _ in options_of(config)]
    parts = [BEGINNING]
    for section in dict.fromkeys(key.rpartition(".")[0] for key in keys):
        known = {need.words for need in all_needs(config, section)}
        words = [purpose(value_of(config, section)), *needs_in_words(config, section), f"Guide: {GUIDES[section]}."]
        rows = [_row(config, key, known) for key in keys if key.rpartition(".")[0] == section]
        parts += ["\n".join([f"## {section}", "", " ".join(words), "", *HEAD, *rows, ""])]
    return "\n".join(parts)


def _row(config: Any, key: str, known: Collection[str]) -> str:
    """Return an option's row; what its whole section needs is not said again."""
    section, field = find(config, key)
    help_text, _, *others = describe(config, key, known)
    choices = field.metadata.get("choices")
    kind = type_in_words(section, field) if choices is None else "name"
    cells = [
        f"`{field.name}`",
        yaml_value(getattr(section, field.name)),
        f"{kind} or null" if may_be_null(section, field) else kind,
        field.metadata.get("unit", ""),
        ", ".join(limits(field) if choices is None else choices),
        " ".join([help_text, *others]).replace("<", "&lt;"),
    ]
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
