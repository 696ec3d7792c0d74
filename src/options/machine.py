"""The machine behind configs: options are fields of frozen dataclasses, read from YAML and overrides, and checked."""

import contextlib
import dataclasses
import difflib
import functools
import re
import shlex
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from src.command_line import UserError, ended_by_signals
from src.io_funcs import REPOSITORY
from src.options.values import choose, convert, limit, parse_override
from src.options.yaml_text import MOST_BYTES, YamlError, decode, parse_yaml

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST_SHOWN = 80  # characters of a value in a message

Section = TypeVar("Section", bound="DataclassInstance")  # frozen; its fields are options or further sections
Field = dataclasses.Field[Any]

# Declaring


@dataclass(frozen=True)
class Need:
    """What another option must be for an option to have an effect.

    Attributes:
        key: the other option, such as train.scheduler.
        is_met: whether a value of it is enough.
        words: the requirement as messages say it, such as `train.scheduler = step`.
    """

    key: str
    is_met: Callable[[Any], bool]
    words: str


def when(key: str, *values: Any) -> Need:
    """Need an option to be one of these values."""
    return Need(key, lambda value: value in values, f"{key} = {' or '.join(map(plain, values))}")


def when_not(key: str, value: Any) -> Need:
    """Need an option to be anything but this value."""
    return Need(key, lambda other: other != value, f"{key} other than {plain(value)}")


def when_above(key: str, bound: float) -> Need:
    """Need an option to be a number above this one."""
    return Need(key, lambda value: value > bound, f"{key} > {bound}")


def when_set(key: str) -> Need:
    """Need an option not to be null."""
    return Need(key, lambda value: value is not None, f"{key}")


@dataclass(frozen=True)
class AutoOr:
    """`auto` and the names of a registry, read when they are needed, since names can be added."""

    registry: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        yield "auto"
        yield from self.registry


def option(
    default: Any,
    help_text: str,
    *,
    unit: str | None = None,
    least: float | None = None,
    most: float | str | None = None,
    above: float | None = None,
    below: float | str | None = None,
    length: int | None = None,
    choices: Iterable[str] | None = None,
    spelling: Callable[[str], str] | None = None,
    path: bool = False,
    may_change: bool = False,
    needs: Sequence[Need] = (),
) -> Any:
    """Return a dataclass's field that is an option.

    Args:
        default: its value if nobody gives another.
        help_text: a phrase that says what it is or does.
        unit: what a number counts.
        least, most: the smallest and the largest number allowed.
        above, below: limits that are not allowed themselves. `most` and `below` may be another option's key.
        length: how many numbers a list has; None: one or more.
        choices: the allowed names, in any case, or whole numbers as text; those of a registry are looked up when they
            are needed.
        spelling: turns a text that can be written in several ways into one of them.
        path: `expand_path` reads it.
        may_change: a job may be resumed with another value.
        needs: what other options must be for it to have an effect.
    """
    facts = {name: value for name, value in locals().items() if name != "default" and value is not None}
    return dataclasses.field(default=default, metadata=facts)


def section(kind: type[Section], needs: Sequence[Need] = ()) -> Section:
    """Return a dataclass's field that is a section of options; `needs` apply to every option in it."""
    return dataclasses.field(default_factory=kind, metadata={"needs": needs})


def is_section(value: Any) -> bool:
    """Return whether a field's value is a section of options."""
    return dataclasses.is_dataclass(value)


def options_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Field, Any]]:
    """Yield key, field and value of each option, those of sections within sections included."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if is_section(value):
            yield from options_of(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field, value


def value_of(config: Any, key: str) -> Any:
    """Return the value of an option, or a section, such as train.epochs."""
    return functools.reduce(getattr, key.split("."), config)


def with_option(config: Section, key: str, value: Any) -> Section:
    """Return a copy of a config, or of a section, in which one option has another value, which is not checked."""
    name, _, rest = key.partition(".")
    return dataclasses.replace(config, **{name: with_option(getattr(config, name), rest, value) if rest else value})


def to_dict(config: Any) -> dict[str, Any]:
    """Return nested plain dicts and lists, in the order of the fields."""
    tree = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if is_section(value):
            value = to_dict(value)
        tree[field.name] = list(value) if isinstance(value, tuple) else value
    return tree


def differing_keys(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return key, old and new value of every option in which two configs' dicts differ."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differing_keys(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append((prefix + name, a, b))
    return found


# Reading


def read_config(path: Path) -> bytes:
    """Return the bytes of a YAML file, which may be a pipe; UserError if it cannot be read or is too large."""
    # Nobody may ever write to a pipe; signals must end the wait.
    waiting = contextlib.nullcontext() if path.is_file() else ended_by_signals()
    try:
        with waiting, path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        decode(content)
    except OSError as error:
        shipped = [(f"configs/{p.name}", p) for p in (REPOSITORY / "configs").glob("*.yaml")]
        beside = [(p.name, p) for p in path.parent.glob("*.yaml")]
        names = {name: shown for shown, p in [*shipped, *beside] for name in (p.stem, p.name)}
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"; did you mean {names[near[0]]}?" if near else ""
        raise UserError(f"{path}: cannot read the config: {error.strerror}{hint}") from error
    except YamlError as error:
        raise UserError(f"{path}: {error}") from error
    return content


def tree_of(content: bytes, path: Path, expected: Any) -> dict[str, Any]:
    """Return the mapping of a YAML file whose top is like `expected`, a config.

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


class Reader:
    """Fills configs and collects every mistake, not only the first.

    Attributes:
        errors: a line for each mistake.
        given: the keys of all options that were set, in the order in which they were.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.given: dict[str, None] = {}

    def fill(self, config: Section, tree: Mapping[Any, Any], where: str, prefix: str = "") -> Section:
        """Return the config, or the section with this prefix, with the values of a mapping from the place `where`."""
        fields = {field.name: field for field in dataclasses.fields(config)}
        changes = {}
        for name, value in tree.items():
            key = f"{prefix}{name}"
            if name not in fields:
                self.errors.append(f"{where}: {_unknown(name, config, prefix)}")
                continue
            current: Any = getattr(config, name)
            if not is_section(current):
                changes[name] = self._checked(config, fields[name], key, value, where)
            elif isinstance(value, dict):
                changes[name] = self.fill(current, value, where, f"{key}.")
            elif value is not None:  # a section with nothing under it keeps its defaults
                self.errors.append(f"{where}: {key} is a section ({_names(current)}), got {shown(value)}")
        return dataclasses.replace(config, **changes)

    def override(self, config: Section, texts: Sequence[str], where: str) -> Section:
        """Return the config with overrides such as "train.epochs=10 train.learning_rate=1e-3"."""
        for key, text in self._pairs(config, texts):
            try:
                found, field = find_option(config, key)
            except UserError as error:
                self.errors.append(f"{where}: {error}")
                continue
            value = self._checked(found, field, key, parse_override(text, option_type(found, field)), where)
            config = with_option(config, key, value)
        return config

    def forget_defaults(self, config: Any) -> None:
        """Keep in `given` only what differs from the defaults, if a file gives all options, as a job's does."""
        defaults = {key: field.default for key, field, _ in options_of(config)}
        if len(self.given) == len(defaults):
            self.given = {key: None for key in self.given if value_of(config, key) != defaults[key]}

    def _checked(self, config: Any, field: Field, key: str, value: Any, where: str) -> Any:
        """Return an option's new value, or the one that it had if the new one is not valid."""
        self.given[key] = None
        try:
            if "choices" in field.metadata:
                chosen = choose(value, field.metadata["choices"])
                return int(chosen) if option_type(config, field) is int else chosen
            return limit(convert(value, option_type(config, field)), field.metadata)
        except ValueError as error:
            self.errors.append(f"{where}: {key} = {shown(value)}: {error}")
            return getattr(config, field.name)

    def _pairs(self, config: Any, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield key and value of overrides. Spaces separate them, but not within quotes and brackets."""
        for text in texts:
            try:
                words = split_overrides(text)
            except ValueError as error:
                self.errors.append(f"--override {shown(text)}: {error}")
                continue
            if not words:
                self.errors.append(f"--override {shown(text)}: expected key=value, such as train.epochs=10")
            while words:
                word = words.pop(0)
                while words and _is_open(word):
                    word += f" {words.pop(0)}"
                if words and (words[0].startswith("=") or (word.endswith("=") and "=" not in words[0])):
                    self.errors.append(
                        f"--override {shown(text)}: leave out the spaces around =, as in train.epochs=10"
                    )
                    break
                key, equals, value = word.partition("=")
                if equals and key:
                    yield key, value
                    continue
                while words and "=" not in words[0]:  # all that are not understood make one error
                    word += f" {words.pop(0)}"
                self.errors.append(f"--override {shown(word)}: {_how_to_write(word, config)}")


def split_overrides(text: str) -> list[str]:
    """Return the words of overrides as a shell divides them, but with backslashes that a regular expression needs.

    Before a blank, a quote or another backslash, a backslash takes their meaning away.

    Raises:
        ValueError: for a quote that is not closed.
    """
    return shlex.split(re.sub(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\(?=[^\s'"\\])""", _kept, text))


def _kept(match: re.Match[str]) -> str:
    return match[0] * 2 if match[0] == "\\" else match[0]


def _is_open(word: str) -> bool:
    """Return whether the value of an override is a list or a mapping whose end is still to come."""
    value = word.partition("=")[2]
    return value[:1] in ("[", "{") and sum(map(value.count, "[{")) > sum(map(value.count, "]}"))


def _how_to_write(words: str, config: Any) -> str:
    """Say how an override without = is written: the one that is meant, if it is an option and a value."""
    key, blank, value = words.partition(" ")
    key = key.removesuffix(":")
    if blank and any(key == name for name, _, _ in options_of(config)):
        return f"write {shlex.quote(f'{key}={value}')}"
    return "expected key=value, such as train.epochs=10; quote a value that has blanks"


def find_option(config: Any, key: str) -> tuple[Any, Field]:
    """Return the section and the field of the option `key`, such as train.epochs.

    Raises:
        UserError: if there is none; it names the nearest one.
    """
    found = find(config, key)
    if isinstance(found, tuple):
        return found
    raise UserError(f"{key} is a section; override one of its keys: {_names(found)}")


def find(config: Any, key: str) -> Any:
    """Return the section `key`, or the section and the field of the option `key`.

    Raises:
        UserError: if there is neither; it names the nearest one.
    """
    prefix = ""
    for name in key.split("."):
        field = next((field for field in dataclasses.fields(config) if field.name == name), None)
        if field is None:
            raise UserError(_unknown(name, config, prefix))
        if not is_section(getattr(config, name)):
            if prefix + name != key:
                raise UserError(_unknown(name, config, prefix))
            return config, field
        config, prefix = getattr(config, name), f"{prefix}{name}."
    return config


def plain(value: Any) -> str:
    """Return a value as YAML has it, without quotes."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value) if isinstance(value, tuple) else value)


def shown(value: Any) -> str:
    """Return a value as messages show it: its repr, but null for None, and cut if it is long."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def option_type(config: Any, field: Field) -> Any:
    """Return the type of an option of this section, such as int | None."""
    return typing.get_type_hints(type(config))[field.name]


def _names(config: Any) -> str:
    return ", ".join(field.name for field in dataclasses.fields(config))


def _unknown(name: Any, config: Any, prefix: str) -> str:
    """Say that a section has no such key, and which one may be meant."""
    name = str(name)[:MOST_SHOWN]
    if below := [key for key, _, _ in options_of(config, prefix) if key.endswith(f".{name}") and key != prefix + name]:
        return f"unknown key {prefix}{name}; did you mean {' or '.join(below)}?"
    near = difflib.get_close_matches(name, [field.name for field in dataclasses.fields(config)], n=1, cutoff=0.5)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {_names(config)}"
    return f"unknown key {prefix}{name}; {hint}"
