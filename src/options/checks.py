"""Check options against each other: which have no effect, which break a limit that another sets, and paths."""

import dataclasses
import operator
from collections.abc import Iterable
from typing import Any

from src.command_line import UserError
from src.io_funcs import expand_path
from src.options.machine import Need, options_of, plain, value_of


def all_needs(config: Any, key: str) -> list[Need]:
    """Return what an option needs, beginning with what the sections need that it is in."""
    needs: list[Need] = []
    for name in key.split("."):
        field = next(field for field in dataclasses.fields(config) if field.name == name)
        needs += field.metadata.get("needs", ())
        config = getattr(config, name)
    return needs


def reason_unused(config: Any, key: str) -> str | None:
    """Return why an option has no effect, such as "train.scheduler = constant"; None if it has one."""
    for need in all_needs(config, key):
        if (reason := reason_unused(config, need.key)) is not None:
            return reason
        value = value_of(config, need.key)
        if not need.is_met(value):
            return f"{need.key} = {plain(value)}"
    return None


def unused_lines(config: Any, keys: Iterable[str], where: str) -> list[str]:
    """Return a line for each reason why some of these options have no effect; it names the options and `where`."""
    unused: dict[str, list[str]] = {}
    for key in keys:
        if (reason := reason_unused(config, key)) is not None:
            unused.setdefault(reason, []).append(key)
    return [unused_line(found, reason, where) for reason, found in unused.items()]


def unused_line(keys: list[str], reason: str, where: str) -> str:
    """Return the line which says that options, set in the place `where`, have no effect for this reason."""
    names = " and ".join(filter(None, [", ".join(keys[:-1]), keys[-1]]))
    return f"{where}: {names} {'is' if len(keys) == 1 else 'are'} not used, since {reason}"


def limit_errors(config: Any) -> list[str]:
    """Return a line for each option that is not within the limit that another option sets."""
    errors = []
    for key, field, value in options_of(config):
        for limit, breaks, words in (("most", operator.gt, "not be above"), ("below", operator.ge, "be less than")):
            other = field.metadata.get(limit)
            if isinstance(other, str) and breaks(value, value_of(config, other)):
                errors.append(f"{key} = {value} must {words} {other} = {value_of(config, other)}")
    return errors


def path_errors(config: Any) -> list[str]:
    """Return a line for each path that cannot be expanded."""
    errors = []
    for key, field, value in options_of(config):
        if field.metadata.get("path") and value is not None:
            try:
                expand_path(value, key)
            except UserError as error:
                errors.append(str(error))
    return errors
