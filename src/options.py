"""Read options, which are fields of dataclasses, from YAML and from overrides: types, limits, and hints at mistakes."""

import contextlib
import dataclasses
import difflib
import math
import shlex
import types
import typing
from pathlib import Path
from typing import Any

from src.command_line import UserError, ended_by_signals
from src.helpers import match_choice
from src.io_funcs import expand_path
from src.yaml_text import MOST_BYTES, YamlError, decode, parse_yaml

MOST_SHOWN = 80  # characters of a value in a message


def option(default: Any, **metadata: Any) -> Any:
    """Return a field of a dataclass that is an option.

    least, most (inclusive), above and below (exclusive) limit numbers. Text is one of `choices`, whatever its case, or
    gets its one spelling by the function `spelling`. `path` says that `expand_path` reads it.
    `may_change` says that a job may be resumed with another value.
    """
    return dataclasses.field(default=default, metadata=metadata)


def differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(key, old value, new value) of every leaf in which two `Config.to_dict()` differ."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_keys(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append((prefix + name, a, b))
    return found


def path_errors(section: Any, prefix: str = "") -> list[str]:
    """What of the paths cannot be expanded, one line each."""
    errors = []
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            errors += path_errors(value, f"{prefix}{field.name}.")
        elif field.metadata.get("path") and value is not None:
            try:
                expand_path(value, f"{prefix}{field.name}")
            except UserError as error:
                errors.append(str(error))
    return errors


def read_config(path: Path) -> bytes:
    """Return the bytes of a YAML file, which may be a pipe; UserError if it cannot be read or is too large."""
    # Whatever writes to a pipe may never do so.
    waiting = contextlib.nullcontext() if path.is_file() else ended_by_signals()
    try:
        with waiting, path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        decode(content)
    except OSError as error:
        near = difflib.get_close_matches(path.name, (p.name for p in path.parent.glob("*.yaml")), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{path}: cannot read the config: {error.strerror}{hint}") from error
    except YamlError as error:
        raise UserError(f"{path}: {error}") from error
    return content


def tree_of(content: bytes, path: Path, expected: Any) -> dict[str, Any]:
    """Return the mapping of a YAML file whose top is like `expected`, a dataclass's instance.

    Raises:
        UserError: if there is none; it names `path`, where the content comes from.
    """
    try:
        tree = parse_yaml(decode(content))
    except YamlError as error:
        raise UserError(f"{path}: {error}") from error
    if tree is None:
        raise UserError(f"{path}: the config is empty; expected the sections {_names(expected)}")
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected the sections {_names(expected)} at the top, got a {type(tree).__name__}")
    return tree


def shown(value: Any) -> str:
    """Return a value as a message shows it: as Python writes it, but null, and cut if it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _names(section: Any) -> str:
    return ", ".join(f.name for f in dataclasses.fields(section))


def _unknown(name: Any, section: Any, prefix: str) -> str:
    name = str(name)[:MOST_SHOWN]
    known = [f.name for f in dataclasses.fields(section)]
    if below := [key for key in _keys_below(section) if key.endswith(f".{name}")]:
        return f"unknown key {prefix}{name}; did you mean {prefix}{f' or {prefix}'.join(below)}?"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
    return f"unknown key {prefix}{name}; {hint}"


def _keys_below(section: Any) -> list[str]:
    """All keys of a section and of the sections in it, such as difflogic.tau of model."""
    keys = []
    for f in dataclasses.fields(section):
        value = getattr(section, f.name)
        keys += [f"{f.name}.{key}" for key in _keys_below(value)] if dataclasses.is_dataclass(value) else [f.name]
    return keys


def fill_section(section: Any, tree: dict[Any, Any], prefix: str, where: str, errors: list[str]) -> None:
    """Set the fields of a section from a mapping, collecting errors."""
    known = {f.name: f for f in dataclasses.fields(section)}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in known:
            errors.append(f"{where}: {_unknown(name, section, prefix)}")
        elif dataclasses.is_dataclass(current := getattr(section, name)):
            if isinstance(value, dict):
                fill_section(current, value, f"{key}.", where, errors)
            elif value is not None:  # a section with nothing under it keeps its defaults
                errors.append(f"{where}: {key} is a section ({_names(current)}), got {shown(value)}")
        else:
            _set(section, known[name], key, value, where, errors)


def _set(section: Any, field: dataclasses.Field[Any], key: str, value: Any, where: str, errors: list[str]) -> None:
    kind = typing.get_type_hints(type(section))[field.name]
    try:
        if "choices" in field.metadata:
            setattr(section, field.name, _chosen(value, field.metadata["choices"]))
        else:
            setattr(section, field.name, _checked(_converted(value, kind), field.metadata))
    except ValueError as error:
        errors.append(f"{where}: {key} = {shown(value)}: {error}")


def _chosen(value: Any, choices: tuple[str, ...]) -> str:
    choice = match_choice(str(value), choices)
    if choice is None:
        near = difflib.get_close_matches(str(value).lower(), choices, n=1)
        raise ValueError(f"allowed: {', '.join(choices)}{f'; did you mean {near[0]}?' if near else ''}")
    return choice


_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}  # words of YAML 1.1; the reader knows true and false


def _converted(value: Any, kind: Any) -> Any:
    """Return `value` as the field's type; ValueError says what was expected. Text may hold a number."""
    if isinstance(kind, types.UnionType):  # X | None, where int | float keeps whole numbers whole
        if value is None:
            return None
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        if float not in members:
            return _converted(value, members[0])
        number = _converted(value, float)
        return int(number) if number.is_integer() else number
    if kind == list[int]:  # one number is a list of one entry
        try:
            entries = [_converted(entry, int) for entry in (value if isinstance(value, list) else [value])]
        except ValueError:
            entries = []
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
    expected = {
        bool: "true or false",
        str: "text (quote it if it looks like a number)",
        int: "a whole number",
        float: "a finite number",
    }
    raise ValueError(f"expected {expected[kind]}")


def _checked(value: Any, limits: typing.Mapping[str, Any]) -> Any:
    if value is None:  # an optional option that is not set
        return None
    if isinstance(value, list):
        return [_checked(entry, limits) for entry in value]
    if "spelling" in limits:
        return limits["spelling"](value)
    words = {"least": ">=", "above": ">", "most": "<=", "below": "<"}
    bounds = [(limit, limits[limit]) for limit in words if limit in limits]
    broken = {
        "least": lambda bound: value < bound,
        "above": lambda bound: value <= bound,
        "most": lambda bound: value > bound,
        "below": lambda bound: value >= bound,
    }
    if any(broken[limit](bound) for limit, bound in bounds):
        raise ValueError("must be " + " and ".join(f"{words[limit]} {bound}" for limit, bound in bounds))
    return value


def split_overrides(overrides: typing.Sequence[str], errors: list[str]) -> list[tuple[str, str]]:
    """Each override text holds key=value once or more, apart by spaces; quotes and brackets keep spaces in a value."""
    pairs = []
    for text in overrides:
        try:
            words = shlex.split(text)
        except ValueError as error:
            errors.append(f"--override {shown(text)}: {error}")
            continue
        if not words:
            errors.append(f"--override {shown(text)}: expected key=value, such as train.epochs=10")
        while words:
            word = words.pop(0)
            while words and "=[" in word and "]" not in word:
                word += f" {words.pop(0)}"
            if words and (words[0].startswith("=") or (word.endswith("=") and "=" not in words[0])):
                errors.append(f"--override {shown(text)}: leave out the blanks around =, as in train.epochs=10")
                break
            key, equals, value = word.partition("=")
            if equals and key:
                pairs.append((key, value))
            else:
                errors.append(f"--override {shown(word)}: expected key=value, such as train.epochs=10")
    return pairs


def find_option(config: Any, key: str, where: str, errors: list[str]) -> tuple[Any, dataclasses.Field[Any], Any] | None:
    """The section, the field and the type of the option `key`, such as train.epochs; None, and an error, without it."""
    section: Any = config
    *path, last = key.split(".")
    prefix = ""
    for name in path:
        inner = getattr(section, name, None) if name in {f.name for f in dataclasses.fields(section)} else None
        if not dataclasses.is_dataclass(inner):
            errors.append(f"{where}: {_unknown(name, section, prefix)}")
            return None
        section, prefix = inner, f"{prefix}{name}."
    field = next((f for f in dataclasses.fields(section) if f.name == last), None)
    if field is None:
        errors.append(f"{where}: {_unknown(last, section, prefix)}")
    elif dataclasses.is_dataclass(inner := getattr(section, last)):
        errors.append(f"{where}: {key} is a section; override one of its keys: {_names(inner)}")
    else:
        return section, field, typing.get_type_hints(type(section))[last]
    return None


def override(config: Any, key: str, text: str, where: str, errors: list[str]) -> None:
    """Set one option from a text, collecting errors."""
    if found := find_option(config, key, where, errors):
        section, field, kind = found
        _set(section, field, key, _override_value(text, kind), where, errors)


def _override_value(text: str, kind: Any) -> Any:
    """The text as YAML would read it; where the option is text, as it stands (a job id 007 stays 007)."""
    if kind is str or (isinstance(kind, types.UnionType) and str in typing.get_args(kind)):
        return None if text in ("null", "~") and kind is not str else text
    try:
        return parse_yaml(text)
    except YamlError:
        return text
