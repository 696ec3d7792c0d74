"""Configs for tests, which are frozen: a changed one is a copy."""

import functools
from typing import Any

from src.options import with_option


def changed(config: Any, options: dict[str, Any]) -> Any:
    """Return a copy of a config, or of a section, in which options such as train.epochs have these values."""
    return functools.reduce(lambda config, option: with_option(config, *option), options.items(), config)
