"""Explain options in words, and print them as YAML with comments."""

import textwrap
from collections.abc import Collection
from typing import Any

from src.options.checks import all_needs
from src.options.machine import Field, find, is_section, option_type, plain
from src.options.yaml_text import dump_yaml

WIDTH = 100  # characters of a line


def explain(config: Any, key: str | None = None) -> str:
    """Return a config's options, or one section or option, as YAML in which comments say what each is.

    Raises:
        UserError: if there is no such key; it names the nearest one.
    """
    if key is not None:
        find(config, key)
    lines: list[str] = []
    _explain(config, config, "", key, frozenset(), lines)
    return "\n".join(lines)


def _explain(root: Any, section: Any, prefix: str, wanted: str | None, known: frozenset[str], lines: list[str]) -> None:
    """Add the lines of a section; `known` is what the sections around it have said that they need."""
    indent = "  " * prefix.count(".")
    for name, value in vars(section).items():
        key = prefix + name
        inside = wanted is None or f"{key}.".startswith(f"{wanted}.")  # what is wanted, or a part of it
        if not inside and not f"{wanted}.".startswith(f"{key}."):
            continue
        if is_section(value):
            comment = [purpose(value), *needs_in_words(root, key, known)] if inside else []
        else:
            comment = describe(root, key, known)
        lines += textwrap.wrap(" ".join(comment), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if is_section(value):
            lines.append(f"{indent}{name}:")
            said = known | {need.words for need in all_needs(root, key)} if inside else known
            _explain(root, value, f"{key}.", wanted, said, lines)
        else:
            lines.append(f"{indent}{name}: {yaml_value(value)}")


def describe(config: Any, key: str, known: Collection[str] = ()) -> list[str]:
    """Return sentences that say what an option is, which values it takes and when it counts, but for known needs."""
    section, field = find(config, key)
    help_text = field.metadata["help_text"]
    sentences = [
        f"{help_text[0].upper()}{help_text[1:]}.",
        f"{values(section, field)}.",
        *needs_in_words(config, key, known),
    ]
    if field.metadata["may_change"]:
        sentences.append("May change on resume.")
    return sentences


def purpose(section: Any) -> str:
    """Return what a section is for: the first line of its docstring."""
    return (type(section).__doc__ or "").split("\n")[0]


def needs_in_words(config: Any, key: str, known: Collection[str] = ()) -> list[str]:
    """Return a sentence that says what an option, or a section, needs to count beside what is known, if anything."""
    needs = dict.fromkeys(need.words for need in all_needs(config, key) if need.words not in known)
    return [f"Only with {' and '.join(needs)}."] if needs else []


def values(section: Any, field: Field) -> str:
    """Return which values an option takes: names, or its type, unit and limits."""
    facts = field.metadata
    if facts.get("choices") is not None:
        return f"One of {', '.join(facts['choices'])}"
    words = type_in_words(section, field)
    if facts.get("unit"):
        words += f" of {facts['unit']}"
    words = ", ".join([words[0].upper() + words[1:], *limits(field)]) if words != "true or false" else words
    return f"{words}; or null" if may_be_null(section, field) else words


def type_in_words(section: Any, field: Field) -> str:
    """Return what kind of value an option takes, null aside."""
    kind = str(option_type(section, field))
    if "tuple" in kind:
        return "whole numbers in brackets"
    if "bool" in kind:
        return "true or false"
    if "float" in kind:
        return "number"
    if "int" in kind:
        return "whole number"
    return "path" if field.metadata["path"] else "text"


def may_be_null(section: Any, field: Field) -> bool:
    """Return whether an option may be null."""
    return "None" in str(option_type(section, field))


def limits(field: Field) -> list[str]:
    """Return the limits of a number in words, the lower one first."""
    signs = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    return [f"{sign} {_number(field.metadata[name])}" for name, sign in signs.items() if name in field.metadata]


def _number(limit: Any) -> str:
    if isinstance(limit, str):
        return limit
    return f"{int(limit) if limit == int(limit) else limit:,}"


def yaml_value(value: Any) -> str:
    """Return a default as YAML has it, on one line."""
    if isinstance(value, tuple):
        return plain(value)
    return dump_yaml(value).removesuffix("...\n").strip()
