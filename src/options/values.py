"""Turn what a YAML text holds into a value of an option's type, within the option's limits."""

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from src.helpers import match_choice
from src.options.yaml_text import YamlError, parse_yaml

_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}  # words of YAML 1.1; the reader knows true and false
_EXPECTED = {
    bool: "true or false",
    str: "text (quote it if it looks like a number)",
    int: "a whole number",
    float: "a finite number",
}
_WORDS = {"least": ">=", "above": ">", "most": "<=", "below": "<"}  # of limits
_BREAKS = {
    "least": lambda value, bound: value < bound,
    "above": lambda value, bound: value <= bound,
    "most": lambda value, bound: value > bound,
    "below": lambda value, bound: value >= bound,
}


def choose(value: Any, choices: Iterable[str]) -> str:
    """Return the one of the choices that a value names, whatever its case; ValueError says which there are."""
    choices = list(choices)
    choice = match_choice(str(value), choices)
    if choice is None:
        spellings = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(str(value).lower(), spellings, n=1)
        raise ValueError(f"allowed: {', '.join(choices)}{f'; did you mean {spellings[near[0]]}?' if near else ''}")
    return choice


def convert(value: Any, kind: Any) -> Any:
    """Return a value as an option's type; text may hold a number. ValueError says what was expected."""
    if isinstance(kind, types.UnionType):  # X | None, where int | float keeps whole numbers whole
        if value is None:
            return None
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        if float not in members:
            return convert(value, members[0])
        number = convert(value, float)
        return int(number) if number.is_integer() else number
    if kind == tuple[int, ...]:  # one number is a list of one entry
        try:
            entries = tuple(convert(entry, int) for entry in (value if isinstance(value, list | tuple) else [value]))
        except ValueError:
            entries = ()
        if not entries:
            raise ValueError("expected whole numbers in brackets: [32,128]")
        return entries
    if kind is Any or (kind is bool and isinstance(value, bool)):
        return value
    if kind is bool and str(value).lower() in _BOOLEANS:
        return _BOOLEANS[str(value).lower()]
    if kind is str and isinstance(value, str):
        if "\0" in value:
            raise ValueError("expected text without NUL characters")
        return value
    if kind in (int, float) and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is float:
                if math.isfinite(number):
                    return number
            elif isinstance(value, int):
                return value
            elif number.is_integer():
                return int(value) if isinstance(value, str) and value.lstrip("+-").isdigit() else int(number)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f"expected {_EXPECTED[kind]}")


def limit(value: Any, facts: Mapping[str, Any]) -> Any:
    """Return a value in its one spelling; ValueError if it is not within the limits of the option's facts."""
    if value is None:  # an optional option that is not set
        return None
    if isinstance(value, tuple):
        if len(value) != facts.get("length", len(value)):
            raise ValueError(f"expected {facts['length']} numbers")
        return tuple(limit(entry, facts) for entry in value)
    if "spelling" in facts:
        return facts["spelling"](value)
    bounds = {name: facts[name] for name in _WORDS if not isinstance(facts.get(name), str | None)}
    if any(_BREAKS[name](value, bound) for name, bound in bounds.items()):
        raise ValueError("must be " + " and ".join(f"{_WORDS[name]} {bound}" for name, bound in bounds.items()))
    return value


def parse_override(text: str, kind: Any) -> Any:
    """Return an override's text as YAML would read it; if the option is text, as it stands (a job id 007 stays 007)."""
    if kind is str or (isinstance(kind, types.UnionType) and str in typing.get_args(kind)):
        return None if text in ("null", "~") and kind is not str else text
    try:
        return parse_yaml(text)
    except YamlError:
        return text
